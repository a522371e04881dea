//! The page at `/` on which Copilot can be tried.

use poem::http::header;
use poem::web::Data;
use poem::{IntoResponse, Response, handler};

const PAGE: &str = include_str!("../playground.html");
/// Where the page expects a development token.
const TOKEN_MARK: &str = "__DEVELOPMENT_TOKEN__";

/// The token that the page knows, where the development key is in use.
#[derive(Debug, Clone)]
pub struct DevelopmentToken(pub Option<String>);

/// Nothing may be loaded from elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
     img-src 'self' data:; form-action 'none'; frame-ancestors 'none'; base-uri 'none'";

/// Serves the page.
#[handler]
pub(crate) fn playground(token: Data<&DevelopmentToken>) -> Response {
    let page = PAGE.replace(TOKEN_MARK, token.0.0.as_deref().unwrap_or_default());
    page.with_content_type("text/html; charset=utf-8")
        .with_header(header::CONTENT_SECURITY_POLICY, POLICY)
        .into_response()
}
