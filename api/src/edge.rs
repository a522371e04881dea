//! What surrounds every request: bounds, errors in one shape, headers, origins, compression, logs.

use std::sync::Arc;
use std::time::Instant;

use copilot_shared::telemetry::TraceContext;
use futures_util::FutureExt;
use poem::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use poem::web::{Compress, CompressionAlgo};
use poem::{Endpoint, EndpointExt, IntoResponse, Request, Response};
use poem_openapi::OperationId;
use tracing::Instrument;
use uuid::Uuid;

use crate::problem::{Code, FieldError, Problem, problem_of};

mod allow;
mod origins;

pub use allow::AllowTable;
use origins::Origins;

/// The longest headers of a request, in bytes, names included.
const HEADERS: usize = 32 * 1024;

/// Smaller answers are not worth the time to compress them.
const WORTH_COMPRESSING: usize = 50 * 1024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Headers that routes read as text: one that is none would look like one that is not there, and a
/// submit would not be the same as its repetition.
const TEXTS: [HeaderName; 2] = [HeaderName::from_static("idempotency-key"), HeaderName::from_static("last-event-id")];

/// What the edge decides by.
pub struct Edge {
    origins: Origins,
    allow: AllowTable,
}

impl Edge {
    /// An edge for these origins and methods.
    pub fn new(origins: Vec<String>, allow: AllowTable) -> Self {
        Self { origins: Origins::new(origins), allow }
    }

    async fn answer<E: Endpoint>(&self, inner: &E, request: Request) -> Response {
        let path = request.uri().path().to_owned();
        let origin = self.origins.allowed(request.headers());
        let gzip = accepts_gzip(request.headers());
        let mut response = match self.origins.preflight(&request) {
            Some(preflight) => preflight,
            None => self.call(inner, request, &path).await,
        };
        if gzip {
            response = compress(response).await;
        }
        protect(response.headers_mut(), &path);
        if let Some(origin) = origin {
            Origins::mark(response.headers_mut(), origin);
        }
        response
    }

    async fn call<E: Endpoint>(&self, inner: &E, request: Request, path: &str) -> Response {
        if size_of_headers(request.headers()) > HEADERS {
            let detail = "The headers of the request are too large.";
            return Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Code::HeadersTooLarge, detail)
                .into_response();
        }
        if let Some(name) = TEXTS.iter().find(|name| has_strange_bytes(request.headers(), name)) {
            let why = "must be visible ASCII characters";
            return Problem::invalid(FieldError::at("header", name.as_str(), "value_error", why)).into_response();
        }
        let called = std::panic::AssertUnwindSafe(inner.call(request)).catch_unwind().await;
        let error = match called {
            Ok(Ok(response)) => return response.into_response(),
            Ok(Err(error)) => error,
            Err(_) => {
                tracing::error!("a request panicked");
                return Problem::internal().into_response();
            }
        };
        let operation = error.data::<OperationId>().copied();
        let mut response = if error.is_from_response() {
            error.into_response()
        } else {
            let problem = problem_of(&error);
            if problem.status().is_server_error() {
                tracing::error!(error = %error, "a request failed");
            }
            problem.into_response()
        };
        if response.status() == StatusCode::METHOD_NOT_ALLOWED
            && let Some(methods) = self.allow.methods(path)
        {
            response.headers_mut().insert(header::ALLOW, methods);
        }
        if let Some(operation) = operation {
            response.set_data(operation);
        }
        response
    }
}

fn has_strange_bytes(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(name).iter().any(|value| value.to_str().is_err())
}

/// Puts the edge around an endpoint.
pub fn guarded(inner: impl Endpoint + 'static, edge: Edge) -> impl Endpoint<Output = Response> {
    let edge = Arc::new(edge);
    inner.around(move |inner, request| {
        let edge = Arc::clone(&edge);
        async move {
            let id = request_id(&request);
            let method = request.method().clone();
            let span = tracing::info_span!("request", %id, %method, path = request.uri().path());
            TraceContext::received(|name| request.header(name)).adopt(&span);
            let began = Instant::now();
            let mut response = edge.answer(&inner, request).instrument(span.clone()).await;
            response.headers_mut().insert(REQUEST_ID, id_header(&id));
            span.in_scope(|| note(&method, &response, began));
            Ok(response)
        }
    })
}

fn note(method: &Method, response: &Response, began: Instant) {
    let operation = response.data::<OperationId>().map_or("other", |operation| operation.0);
    let labels = [
        ("operation", operation.to_owned()),
        ("method", method.as_str().to_owned()),
        ("status", response.status().as_str().to_owned()),
    ];
    metrics::counter!("copilot_http_requests_total", &labels).increment(1);
    metrics::histogram!("copilot_http_response_seconds", "operation" => operation).record(began.elapsed());
    tracing::debug!(operation, status = response.status().as_u16(), "answered");
}

/// The caller's own id, if it is one that can stand in a log; else a fresh one.
fn request_id(request: &Request) -> String {
    let plain = |id: &&str| {
        (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    request.header(REQUEST_ID).filter(plain).map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

fn id_header(id: &str) -> HeaderValue {
    HeaderValue::from_str(id).unwrap_or(HeaderValue::from_static("unknown"))
}

fn size_of_headers(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// The reference's security headers (`usage-tools.md` §4.3). An event stream keeps its own word
/// about caches.
fn protect(headers: &mut HeaderMap, path: &str) {
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_XSS_PROTECTION, "1; mode=block"),
        (header::REFERRER_POLICY, "strict-origin-when-cross-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if path.starts_with("/api/") && !headers.contains_key(header::CACHE_CONTROL) {
        let never = "no-store, no-cache, must-revalidate, private";
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(never));
        headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
        headers.insert(header::EXPIRES, HeaderValue::from_static("0"));
    }
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let wanted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    wanted.split(',').any(|coding| {
        let mut words = coding.split(';').map(str::trim);
        words.next() == Some("gzip") && !words.any(|word| matches!(word, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// Compresses a long answer in JSON, and the playground's scripts and styles. Event streams are never touched: a compressor would hold their
/// frames back.
async fn compress(mut response: Response) -> Response {
    const KINDS: [&str; 3] = ["application/json", "text/javascript", "text/css"];
    if !response.content_type().is_some_and(|kind| KINDS.iter().any(|known| kind.starts_with(known))) {
        return response;
    }
    // A file is sent as it is and as it comes, whatever its type: its ranges are those of its bytes.
    if response.headers().contains_key(header::ACCEPT_RANGES) {
        return response;
    }
    let body = match response.take_body().into_bytes().await {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(%error, "an answer broke off");
            return Problem::internal().into_response();
        }
    };
    let worth_it = body.len() > WORTH_COMPRESSING;
    response.set_body(body);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if worth_it { Compress::new(response, CompressionAlgo::GZIP).into_response() } else { response }
}

#[cfg(test)]
mod tests;
