//! One model call over HTTP: the request out, the events of its answer in, for any provider.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_stream::try_stream;
use bytes::Bytes;
use chrono::Utc;
use copilot_shared::id::UserId;
use copilot_shared::turn::FinishReason;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Response, Url, redirect};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use super::failure::{self, Report};
use super::sse::SseDecoder;
use super::{ModelError, ModelEvent, ModelStream};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle connections are kept for the next step of a turn, which comes after its tools.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// How long to read an error's body: its status alone says enough.
const ERROR_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for the usage figures after the model said that it is done.
const TAIL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for the end of the body after the last event. A connection whose body was not
/// read to its end cannot serve the next call.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(50);

/// Where a provider listens, and what it wants in every request.
#[derive(Debug)]
pub(super) struct Endpoint {
    client: Client,
    url: Url,
    headers: HeaderMap,
    /// Struck out of whatever the provider says.
    secret: String,
}

/// A client for model calls. `silence` bounds the wait for the headers and for each piece of body.
///
/// HTTP/1.1 only: over HTTP/2 all turns of a worker would share one connection and wait for each
/// other at its limit of streams, and a dropped call would not end at once.
pub(super) fn client(silence: Duration) -> Result<Client, reqwest::Error> {
    Client::builder()
        .http1_only()
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(silence)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .redirect(redirect::Policy::none())
        .user_agent(concat!("copilot/", env!("CARGO_PKG_VERSION")))
        .build()
}

impl Endpoint {
    pub(super) fn new(client: Client, url: Url, headers: HeaderMap, secret: String) -> Self {
        Self { client, url, headers, secret }
    }

    async fn post(&self, body: Vec<u8>) -> Result<Response, ModelError> {
        let json = HeaderValue::from_static("application/json");
        let request = self.client.post(self.url.clone()).headers(self.headers.clone()).header(CONTENT_TYPE, json);
        let response = request.body(body).send().await.map_err(|error| failure::from_transport(&error))?;
        let status = response.status();
        if !status.is_success() {
            let retry_after = failure::retry_after(response.headers(), Utc::now());
            let report = Report::read(&read_bounded(response).await);
            let error = failure::from_status(status.as_u16(), &report, retry_after, &self.secret);
            tracing::warn!(status = status.as_u16(), %error, "the model provider refused a call");
            return Err(error);
        }
        self.expect_events(response).await
    }

    async fn expect_events(&self, response: Response) -> Result<Response, ModelError> {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.starts_with("text/html") {
            return Err(failure::nonsense());
        }
        if kind.starts_with("application/json") {
            let body = read_bounded(response).await;
            return Err(match serde_json::from_slice::<HasError<'_>>(&body) {
                Ok(HasError { error: Some(_) }) => self.reported(&body),
                Ok(HasError { error: None }) | Err(_) => failure::nonsense(),
            });
        }
        Ok(response)
    }

    fn reported(&self, data: &[u8]) -> ModelError {
        failure::from_report(&Report::read(data), &self.secret)
    }
}

#[derive(Deserialize)]
struct HasError<'a> {
    #[serde(borrow)]
    error: Option<&'a serde_json::value::RawValue>,
}

/// As much of an error's body as explains it; a body that breaks off explains what it can.
async fn read_bounded(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    let read = async {
        while body.len() < MAX_ERROR_BYTES {
            match response.chunk().await {
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                Ok(None) => return,
                Err(error) => return tracing::debug!(%error, "the body of an error broke off"),
            }
        }
    };
    if timeout(ERROR_TIMEOUT, read).await.is_err() {
        tracing::debug!("the body of an error takes too long");
    }
    body.truncate(MAX_ERROR_BYTES);
    body
}

/// How far an answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// The model still speaks.
    Open,
    /// It has stopped; figures may follow.
    Stopped,
    /// Nothing follows.
    Done,
    /// The event tells of an error.
    Failed,
}

/// Reads the events of one provider's answer.
pub(super) trait Decoder: Send + 'static {
    /// Reads the data of one event and adds what it says to `said`.
    fn read(&mut self, data: &[u8], said: &mut Vec<ModelEvent>) -> Result<Progress, ModelError>;

    /// Closes the answer when nothing follows, or when the connection ended.
    fn finish(&mut self, said: &mut Vec<ModelEvent>) -> Result<FinishReason, ModelError>;
}

/// Makes the call when it is first polled.
pub(super) fn call(
    endpoint: Arc<Endpoint>,
    body: Result<Vec<u8>, ModelError>,
    mut decoder: impl Decoder,
) -> ModelStream {
    Box::pin(try_stream! {
        let mut body = Body::new(endpoint.post(body?).await?);
        let mut said = Vec::new();
        while let Some(data) = body.next_event().await? {
            let progress = decoder.read(&data, &mut said)?;
            for event in said.drain(..) {
                yield event;
            }
            match progress {
                Progress::Open => {}
                Progress::Failed => Err(endpoint.reported(&data))?,
                Progress::Stopped => body.expect_end(),
                Progress::Done => {
                    body.drain().await;
                    break;
                }
            }
        }
        let reason = decoder.finish(&mut said)?;
        for event in said.drain(..) {
            yield event;
        }
        yield ModelEvent::Finish(reason);
    })
}

/// An answer's body as events.
struct Body {
    response: Response,
    segments: SseDecoder,
    /// Until when to wait for what follows after the model has stopped.
    end: Option<Instant>,
}

impl Body {
    fn new(response: Response) -> Self {
        Self { response, segments: SseDecoder::new(MAX_EVENT_BYTES), end: None }
    }

    /// The data of the next event; `None` when the answer is over.
    async fn next_event(&mut self) -> Result<Option<Bytes>, ModelError> {
        loop {
            if let Some(data) = self.segments.next_event()? {
                return Ok(Some(data));
            }
            let Some(segment) = self.next_segment().await? else {
                self.segments.end()?;
                return Ok(None);
            };
            self.segments.push(&segment);
        }
    }

    /// Once the model has stopped, what breaks or stays away is not missed.
    async fn next_segment(&mut self) -> Result<Option<Bytes>, ModelError> {
        let Some(end) = self.end else {
            return self.response.chunk().await.map_err(|error| failure::from_transport(&error));
        };
        match timeout_at(end, self.response.chunk()).await {
            Ok(Ok(segment)) => Ok(segment),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the connection broke after the answer was complete");
                Ok(None)
            }
            Err(_) => Ok(None),
        }
    }

    fn expect_end(&mut self) {
        self.end.get_or_insert_with(|| Instant::now() + TAIL_TIMEOUT);
    }

    /// Reads to the end of the body, if it is near.
    async fn drain(&mut self) {
        let rest = async { while let Ok(Some(_)) = self.response.chunk().await {} };
        if timeout(DRAIN_TIMEOUT, rest).await.is_err() {
            tracing::debug!("the model provider keeps the connection open after its answer");
        }
    }
}

/// JSON text that is taken from the event without a copy where it holds no escapes.
#[derive(Debug, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl Text<'_> {
    /// The text if there is any: many servers send empty strings where they mean nothing.
    pub(super) fn filled(text: Option<&Self>) -> Option<&str> {
        text.map(|text| text.0.as_ref()).filter(|text| !text.is_empty())
    }
}

/// The body of a request.
pub(super) fn encode(body: &impl Serialize) -> Result<Vec<u8>, ModelError> {
    serde_json::to_vec(body).map_err(|error| {
        tracing::error!(%error, "a model request has no JSON form");
        ModelError::Fatal("The request to the model provider could not be made.".into())
    })
}

/// A stable name for a user that tells a provider nothing about them.
pub(super) fn pseudonym(user: &UserId) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, user.as_str().as_bytes()).to_string()
}
