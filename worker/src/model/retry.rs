//! Asks a provider again while nothing of its answer has been passed on.

use std::sync::Arc;
use std::time::Duration;

use async_stream::stream;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures_util::StreamExt;
use tokio::time::sleep;

use super::{Model, ModelError, ModelEvent, ModelRequest, ModelStream};

/// How often and how patiently to ask.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Calls in all, the first one included.
    pub attempts: usize,
    /// The wait before the second call; it doubles with each further one.
    pub base: Duration,
    /// The longest wait, before jitter.
    pub max: Duration,
    /// The longest wait that a provider may ask for.
    pub max_retry_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 4,
            base: Duration::from_millis(500),
            max: Duration::from_secs(8),
            max_retry_after: Duration::from_secs(30),
        }
    }
}

impl RetryPolicy {
    /// The waits, one per further call. Jitter keeps workers from asking all at once.
    fn waits(&self) -> ExponentialBackoff {
        ExponentialBuilder::default()
            .with_min_delay(self.base)
            .with_max_delay(self.max)
            .with_max_times(self.attempts.saturating_sub(1))
            .with_jitter()
            .build()
    }

    /// How long to wait after `error`; `None` to give up.
    fn wait_after(&self, error: &ModelError, waits: &mut ExponentialBackoff) -> Option<Duration> {
        match error {
            ModelError::Transient { retry_after, .. } => {
                let asked = retry_after.unwrap_or_default().min(self.max_retry_after);
                Some(waits.next()?.max(asked))
            }
            ModelError::ContextTooLong | ModelError::Fatal(_) => None,
        }
    }
}

/// A model that is asked again after transient errors.
#[derive(Debug)]
pub struct Retrying<M> {
    inner: Arc<M>,
    policy: RetryPolicy,
}

impl<M> Retrying<M> {
    /// Wraps a model.
    pub fn new(inner: M, policy: RetryPolicy) -> Self {
        Self { inner: Arc::new(inner), policy }
    }
}

impl<M: Model> Model for Retrying<M> {
    fn stream(&self, request: ModelRequest) -> ModelStream {
        let inner = Arc::clone(&self.inner);
        let policy = self.policy;
        Box::pin(stream! {
            let mut waits = policy.waits();
            let mut failures = 0;
            loop {
                let mut events = inner.stream_retry(request.clone(), failures);
                let mut spoken = false;
                let error = loop {
                    match events.next().await {
                        Some(Ok(event)) => {
                            spoken |= !matches!(event, ModelEvent::Usage(_));
                            yield Ok(event);
                        }
                        Some(Err(error)) => break error,
                        None => return,
                    }
                };
                drop(events);
                // What was passed on cannot be taken back, and a second answer would not continue it.
                let wait = if spoken { None } else { policy.wait_after(&error, &mut waits) };
                let Some(wait) = wait else {
                    yield Err(error);
                    return;
                };
                failures += 1;
                tracing::warn!(%error, failures, ?wait, "the model provider is asked again");
                sleep(wait).await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    use copilot_shared::turn::FinishReason;
    use copilot_shared::usage::TokenUsage;
    use futures_util::stream;
    use tokio::time::Instant;

    type Events = Vec<Outcome>;

    /// Plays one list of events per call and notes how many failures each call was told of.
    struct Scripted(Mutex<(Vec<Events>, Vec<u32>)>);

    impl Model for Scripted {
        fn stream(&self, request: ModelRequest) -> ModelStream {
            self.stream_retry(request, 0)
        }

        fn stream_retry(&self, _request: ModelRequest, failures: u32) -> ModelStream {
            let mut state = self.0.lock().unwrap();
            state.1.push(failures);
            stream::iter(state.0.remove(0)).boxed()
        }
    }

    type Outcome = Result<ModelEvent, ModelError>;

    fn transient(retry_after: Option<u64>) -> Outcome {
        Err(ModelError::Transient { message: "busy".into(), retry_after: retry_after.map(Duration::from_secs) })
    }

    fn text() -> ModelEvent {
        ModelEvent::Text("hi".into())
    }

    fn finish() -> ModelEvent {
        ModelEvent::Finish(FinishReason::Stop)
    }

    /// What came out, what each call was told, and how long it took.
    async fn run(calls: Vec<Events>) -> (Events, Vec<u32>, Duration) {
        let model = Retrying::new(Scripted(Mutex::new((calls, Vec::new()))), RetryPolicy::default());
        let request = ModelRequest {
            model: "m".into(),
            system: String::new(),
            messages: Vec::new(),
            files: Arc::default(),
            tools: Vec::new().into(),
            max_output_tokens: None,
            user: None,
        };
        let begin = Instant::now();
        let events = model.stream(request).collect().await;
        let told = model.inner.0.lock().unwrap().1.clone();
        (events, told, begin.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_before_the_first_word_is_not_seen() {
        let (events, told, took) =
            run(vec![vec![transient(None)], vec![transient(None)], vec![Ok(text()), Ok(finish())]]).await;
        assert_eq!(events, [Ok(text()), Ok(finish())]);
        assert_eq!(told, [0, 1, 2]);
        assert!(took >= Duration::from_millis(1500) && took <= Duration::from_millis(3100), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn figures_alone_do_not_hinder_a_second_call() {
        let usage = || Ok(ModelEvent::Usage(TokenUsage { prompt: 3, ..TokenUsage::default() }));
        let (events, told, _) = run(vec![vec![usage(), transient(None)], vec![Ok(text()), Ok(finish())]]).await;
        assert_eq!(events, [usage(), Ok(text()), Ok(finish())]);
        assert_eq!(told, [0, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_after_the_first_word_passes_through() {
        let (events, told, _) = run(vec![vec![Ok(text()), transient(None)]]).await;
        assert_eq!(events, [Ok(text()), transient(None)]);
        assert_eq!(told, [0]);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_after_four_calls() {
        let (events, told, _) = run((0..4).map(|_| vec![transient(None)]).collect()).await;
        assert_eq!(events, [transient(None)]);
        assert_eq!(told.len(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn the_providers_own_wait_counts_up_to_a_bound() {
        let (_, _, took) = run(vec![vec![transient(Some(12))], vec![Ok(finish())]]).await;
        assert!(took >= Duration::from_secs(12) && took < Duration::from_secs(13), "{took:?}");
        let (_, _, took) = run(vec![vec![transient(Some(3600))], vec![Ok(finish())]]).await;
        assert!(took >= Duration::from_secs(30) && took < Duration::from_secs(31), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_asking_again_will_not_help_is_told_at_once() {
        for error in [ModelError::ContextTooLong, ModelError::Fatal("no".into())] {
            let (events, told, took) = run(vec![vec![Err(error.clone())]]).await;
            assert_eq!(events, [Err(error)]);
            assert_eq!((told.len(), took), (1, Duration::ZERO));
        }
    }
}
