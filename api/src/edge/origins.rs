//! Pages of other origins that may call the API (Fetch standard, CORS protocol).
//!
//! poem's own middleware refuses a request whose origin is not listed, and so also one from a page
//! of ours: browsers name the origin with every POST.

use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use poem::{Request, Response};

/// What a page may read of an answer beside its body.
const READABLE: &str = "retry-after, x-request-id, x-vercel-ai-ui-message-stream, content-disposition, \
    x-has-more-messages, x-oldest-sequence";
const METHODS: &str = "GET, POST, PUT, PATCH, DELETE";
/// For how many seconds a browser need not ask again.
const REMEMBER: u32 = 600;

/// The listed origins.
pub(super) struct Origins(Vec<HeaderValue>);

impl Origins {
    pub(super) fn new(origins: Vec<String>) -> Self {
        Self(origins.into_iter().filter_map(|origin| HeaderValue::from_str(&origin).ok()).collect())
    }

    /// The request's origin, if it is listed.
    pub(super) fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        headers.get(header::ORIGIN).filter(|origin| self.0.contains(origin)).cloned()
    }

    /// The answer to the question whether a request may be made.
    pub(super) fn preflight(&self, request: &Request) -> Option<Response> {
        let asks = request.method() == Method::OPTIONS
            && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if !asks {
            return None;
        }
        self.allowed(request.headers())?;
        let wanted = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        let mut response = Response::builder()
            .status(StatusCode::NO_CONTENT)
            .header(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS)
            .header(header::ACCESS_CONTROL_MAX_AGE, REMEMBER)
            .finish();
        if let Some(wanted) = wanted {
            // A wildcard does not count for requests with credentials, so the wish is repeated.
            response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted);
        }
        Some(response)
    }

    /// Lets the page read the answer.
    pub(super) fn mark(headers: &mut HeaderMap, origin: HeaderValue) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(READABLE));
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
}
