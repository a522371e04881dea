//! The requests of the MCP SDK, by the guarded way out, and bounded.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use rmcp::model::{ClientJsonRpcMessage, JsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
};
use sse_stream::{Sse, SseStream};
use tokio::time::Instant;

use super::McpError;
use crate::outbound::{Outbound, OutboundError, Request, body};

/// What all answers of a connection may have together, in bytes: as values they take many times as much.
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// What one answer may take, once it has begun.
const BODY_PATIENCE: Duration = Duration::from_mins(1);

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const ACCEPTED: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

type Failure = StreamableHttpError<HttpError>;

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    #[error(transparent)]
    Body(#[from] body::BodyError),
    #[error("the server answered with status {0}")]
    Status(StatusCode),
    #[error("the server's answer is too large")]
    TooLarge,
    #[error("a header cannot be sent")]
    Header,
}

/// What HTTP said no with: the SDK hands errors on in wrappings that change.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusals(Arc<Mutex<Option<McpError>>>);

impl Refusals {
    pub(super) fn take(&self) -> Option<McpError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, error: &HttpError) {
        let refusal = match error {
            HttpError::Outbound(OutboundError::Blocked(blocked)) => McpError::Blocked(blocked.clone()),
            HttpError::Status(status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)) => {
                McpError::Unauthorized(status.as_u16())
            }
            HttpError::Status(status) => McpError::Http(status.as_u16()),
            HttpError::Outbound(_) | HttpError::Body(_) | HttpError::TooLarge | HttpError::Header => return,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
    }
}

/// What a connection may still be told, in bytes.
#[derive(Debug, Clone)]
struct Budget(Arc<AtomicUsize>);

impl Budget {
    fn left(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// False if there is less than that left.
    fn spend(&self, bytes: usize) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

/// HTTP for the SDK.
#[derive(Clone)]
pub(super) struct Http {
    outbound: Outbound,
    refusals: Refusals,
    budget: Budget,
}

/// What the SDK wants every request to carry.
struct Envelope {
    session: Option<Arc<str>>,
    token: Option<String>,
    custom: HashMap<HeaderName, HeaderValue>,
}

impl Http {
    pub(super) fn new(outbound: Outbound, refusals: Refusals) -> Self {
        Self { outbound, refusals, budget: Budget(Arc::new(AtomicUsize::new(MAX_BYTES))) }
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        envelope: Envelope,
        body: Option<Bytes>,
    ) -> Result<Response, HttpError> {
        let url = self.outbound.address(url).map_err(OutboundError::Blocked)?;
        let mut headers: HeaderMap = envelope.custom.into_iter().collect();
        headers.insert(ACCEPT, ACCEPTED);
        headers.insert(CONTENT_TYPE, JSON);
        if let Some(token) = envelope.token {
            let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| HttpError::Header)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        if let Some(session) = envelope.session {
            headers.insert(SESSION, HeaderValue::from_str(&session).map_err(|_| HttpError::Header)?);
        }
        Ok(self.outbound.send(Request { method, url, headers, body }).await?)
    }

    async fn post(
        &self,
        url: &str,
        message: &ClientJsonRpcMessage,
        envelope: Envelope,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        let had_session = envelope.session.is_some();
        let body = serde_json::to_vec(message)?;
        let response = self.send(Method::POST, url, envelope, Some(body.into())).await.map_err(|e| self.failed(e))?;
        let status = response.status();
        if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        if status == StatusCode::NOT_FOUND && had_session {
            return Err(StreamableHttpError::SessionExpired);
        }
        let session = header(&response, &SESSION);
        let kind = header(&response, &CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
        if status.is_success() && kind.starts_with("text/event-stream") {
            return Ok(StreamableHttpPostResponse::Sse(events(response, self.budget.clone()), session));
        }
        let text = read(response, &self.budget).await.map_err(|error| self.failed(error))?;
        // A notification needs no answer, and some servers say so with 200.
        if status.is_success() && text.is_empty() && matches!(message, JsonRpcMessage::Notification(_)) {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        match serde_json::from_slice::<ServerJsonRpcMessage>(&text) {
            Ok(answer) if status.is_success() => Ok(StreamableHttpPostResponse::Json(answer, session)),
            Ok(answer @ JsonRpcMessage::Error(_)) if !matches!(status.as_u16(), 401 | 403) => {
                Ok(StreamableHttpPostResponse::Json(answer, session))
            }
            Ok(_) | Err(_) if !status.is_success() => Err(self.failed(HttpError::Status(status))),
            Ok(_) => Err(StreamableHttpError::UnexpectedServerResponse("no answer".into())),
            Err(error) => Err(StreamableHttpError::Deserialize(error)),
        }
    }

    fn failed(&self, error: HttpError) -> Failure {
        self.refusals.note(&error);
        StreamableHttpError::Client(error)
    }
}

impl StreamableHttpClient for Http {
    type Error = HttpError;

    async fn post_message(
        &self,
        url: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        token: Option<String>,
        custom: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        self.post(&url, &message, Envelope { session, token, custom }).await
    }

    async fn delete_session(
        &self,
        url: Arc<str>,
        session: Arc<str>,
        token: Option<String>,
        custom: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Failure> {
        let envelope = Envelope { session: Some(session), token, custom };
        self.send(Method::DELETE, &url, envelope, None).await.map(drop).map_err(StreamableHttpError::Client)
    }

    /// What a server says unasked is for nobody here.
    async fn get_stream(
        &self,
        _: Arc<str>,
        _: Option<Arc<str>>,
        _: Option<String>,
        _: Option<String>,
        _: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Failure> {
        Err(StreamableHttpError::ServerDoesNotSupportSse)
    }
}

fn header(response: &Response, name: &HeaderName) -> Option<String> {
    response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

async fn read(response: Response, budget: &Budget) -> Result<Vec<u8>, HttpError> {
    let read = body::beginning(response, budget.left(), Instant::now() + BODY_PATIENCE).await?;
    if read.is_cut || !budget.spend(read.bytes.len()) { Err(HttpError::TooLarge) } else { Ok(read.bytes) }
}

/// The events of an answer, as far as the budget goes.
fn events(response: Response, budget: Budget) -> BoxStream<'static, Result<Sse, SseError>> {
    let bounded = response.bytes_stream().map(move |piece| match piece {
        Err(error) => Err(std::io::Error::other(error)),
        Ok(piece) if !budget.spend(piece.len()) => Err(std::io::Error::other(HttpError::TooLarge)),
        Ok(piece) => Ok(piece),
    });
    SseStream::from_bytes_stream(bounded).boxed()
}
