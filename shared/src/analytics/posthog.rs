//! Events on their way to PostHog: gathered, sent in batches, sent again while it is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use reqwest::{Client, StatusCode, Url, redirect};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Analytics, Fate, Occurrence, Sink};

/// Where this deployment runs, as the events say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Environment {
    /// A developer's machine.
    Local,
    /// Where changes are tried.
    Dev,
    /// Where users are.
    Prod,
}

impl Environment {
    fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Dev => "dev",
            Self::Prod => "prod",
        }
    }
}

/// How much, how often and how long.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Events that may wait; what comes then is dropped.
    pub waiting: usize,
    /// Events of one batch at most.
    pub batch: usize,
    /// How long the first event of a batch waits for others.
    pub gather: Duration,
    /// How long a request may take.
    pub request: Duration,
    /// How often a batch is sent again.
    pub retries: usize,
    /// The pause before it is sent again the first time; each later one is twice as long.
    pub pause: Duration,
    /// How long the rest may take at the end of the process.
    pub flush: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            waiting: 10_000,
            batch: 100,
            gather: Duration::from_secs(5),
            request: Duration::from_secs(10),
            retries: 6,
            pause: Duration::from_millis(500),
            flush: Duration::from_secs(3),
        }
    }
}

/// A project of PostHog.
pub struct PostHog {
    /// Where it is.
    pub host: Url,
    /// The project's key.
    pub api_key: String,
    /// What the events say of where they come from.
    pub environment: Environment,
    /// How much, how often and how long.
    pub pace: Pace,
}

impl std::fmt::Debug for PostHog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is nobody's business.
        f.debug_struct("PostHog").field("environment", &self.environment).finish_non_exhaustive()
    }
}

/// Events cannot be sent there.
#[derive(Debug, thiserror::Error)]
pub enum PostHogError {
    /// The address is no address.
    #[error("POSTHOG_HOST is no address such as https://eu.i.posthog.com")]
    Host,
    /// The client cannot be made.
    #[error("POSTHOG_HOST: the client cannot be made")]
    Client(#[source] reqwest::Error),
}

/// The way to PostHog, to be closed when the process ends.
#[derive(Debug)]
pub struct Delivery {
    stop: CancellationToken,
    /// None where events are only logged.
    task: Option<JoinHandle<()>>,
}

impl Delivery {
    /// No way anywhere: events are only logged.
    pub fn none() -> Self {
        Self { stop: CancellationToken::new(), task: None }
    }

    /// Sends what waits, within [`Pace::flush`]; what is told from now on is dropped.
    pub async fn close(self) {
        self.stop.cancel();
        if let Some(task) = self.task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the delivery of analytics events broke");
        }
    }
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
enum Undelivered {
    #[error("no answer")]
    Transport(#[source] reqwest::Error),
    #[error("status {0}")]
    Status(StatusCode),
}

impl Undelivered {
    /// The same batch may be taken later.
    fn is_passing(&self) -> bool {
        match self {
            Self::Transport(_) => true,
            Self::Status(status) => {
                status.is_server_error()
                    || *status == StatusCode::TOO_MANY_REQUESTS
                    || *status == StatusCode::REQUEST_TIMEOUT
            }
        }
    }
}

impl Analytics {
    /// Events go to a project of PostHog.
    pub fn posted(project: PostHog) -> Result<(Self, Delivery), PostHogError> {
        let pace = project.pace;
        let (queue, queued) = mpsc::channel(pace.waiting);
        let waiting = Arc::new(AtomicU64::new(0));
        let post = Post::new(project, Arc::clone(&waiting))?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(deliver_until(post, queued, stop.clone()));
        Ok((Self { sink: Sink::PostHog { queue, waiting } }, Delivery { stop, task: Some(task) }))
    }
}

/// Delivers until `stop`, and then what is left for as long as there is time.
async fn deliver_until(post: Post, queued: mpsc::Receiver<Occurrence>, stop: CancellationToken) {
    let (waiting, flush) = (Arc::clone(&post.waiting), post.project.pace.flush);
    let out_of_time = async {
        stop.cancelled().await;
        tokio::time::sleep(flush).await;
    };
    tokio::select! {
        () = post.deliver(queued, &stop) => {}
        () = out_of_time => {}
    }
    let left = waiting.load(Ordering::Relaxed);
    if left > 0 {
        tracing::warn!(events = left, "analytics events were not delivered before the end");
        Fate::Dropped.count(left);
    }
}

struct Post {
    client: Client,
    url: Url,
    project: PostHog,
    /// Events that have no fate yet.
    waiting: Arc<AtomicU64>,
}

impl Post {
    fn new(project: PostHog, waiting: Arc<AtomicU64>) -> Result<Self, PostHogError> {
        // The client looks for a TLS provider when it is made; a second one changes nothing.
        if rustls::crypto::ring::default_provider().install_default().is_err() {
            tracing::debug!("a TLS provider was installed before");
        }
        let client = Client::builder()
            .timeout(project.pace.request)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(PostHogError::Client)?;
        let url = project.host.join("/batch/").map_err(|_| PostHogError::Host)?;
        Ok(Self { client, url, project, waiting })
    }

    async fn deliver(&self, mut queued: mpsc::Receiver<Occurrence>, stop: &CancellationToken) {
        loop {
            let batch = self.gather(&mut queued, stop).await;
            if batch.is_empty() {
                return;
            }
            let fate = self.send_repeatedly(&batch).await;
            let events = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            self.waiting.fetch_sub(events, Ordering::Relaxed);
            fate.count(events);
        }
    }

    /// The next events, as soon as there are enough or the first has waited long enough. Empty once
    /// the process stops and nothing is left.
    async fn gather(&self, queued: &mut mpsc::Receiver<Occurrence>, stop: &CancellationToken) -> Vec<Occurrence> {
        let Pace { batch: most, gather, .. } = self.project.pace;
        let mut batch = Vec::new();
        if stop.run_until_cancelled(queued.recv_many(&mut batch, most)).await.is_some() {
            let others = async {
                let mut room = most.saturating_sub(batch.len());
                // Nothing comes any more once everybody who could tell of something is gone.
                while room > 0 && queued.recv_many(&mut batch, room).await > 0 {
                    room = most.saturating_sub(batch.len());
                }
            };
            // Whichever comes first, there is a batch now.
            let _enough = tokio::time::timeout(gather, stop.run_until_cancelled(others)).await;
        }
        if stop.is_cancelled() {
            queued.close();
            let room = most.saturating_sub(batch.len());
            queued.recv_many(&mut batch, room).await;
        }
        batch
    }

    async fn send_repeatedly(&self, batch: &[Occurrence]) -> Fate {
        let Pace { pause, retries, .. } = self.project.pace;
        let body = self.body(batch).to_string();
        let again = ExponentialBuilder::default()
            .with_min_delay(pause)
            .with_max_delay(Duration::from_secs(30).max(pause))
            .with_max_times(retries)
            .with_jitter();
        let sent = (|| self.send(body.clone()))
            .retry(again)
            .when(Undelivered::is_passing)
            .notify(|error, pause| {
                tracing::debug!(error = error as &dyn std::error::Error, ?pause, "analytics events are sent again");
            })
            .await;
        let Err(error) = sent else { return Fate::Delivered };
        tracing::warn!(
            events = batch.len(),
            error = &error as &dyn std::error::Error,
            "analytics events were not taken"
        );
        if error.is_passing() { Fate::Unreachable } else { Fate::Refused }
    }

    async fn send(&self, body: String) -> Result<(), Undelivered> {
        let request = self.client.post(self.url.clone()).header("content-type", "application/json").body(body);
        let status = request.send().await.map_err(Undelivered::Transport)?.status();
        if status.is_success() { Ok(()) } else { Err(Undelivered::Status(status)) }
    }

    /// A batch as PostHog takes it. It knows an event that it has seen by its `uuid`.
    fn body(&self, batch: &[Occurrence]) -> Value {
        let events: Vec<Value> = batch.iter().map(|occurrence| self.event(occurrence)).collect();
        json!({ "api_key": self.project.api_key, "batch": events })
    }

    fn event(&self, occurrence: &Occurrence) -> Value {
        let mut properties = occurrence.event.properties();
        if let Some(fields) = properties.as_object_mut() {
            fields.insert("session_id".into(), json!(occurrence.session));
            fields.insert("environment".into(), json!(self.project.environment.as_str()));
            fields.insert("source".into(), json!("chat_copilot"));
        }
        json!({
            "uuid": occurrence.event.id(),
            "event": occurrence.event.name(),
            "distinct_id": occurrence.distinct_id(),
            "timestamp": occurrence.at,
            "properties": properties,
        })
    }
}
