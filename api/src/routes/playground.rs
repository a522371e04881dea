//! The playground: one static page that loads nothing from elsewhere.

use copilot_shared::id::UserId;
use poem::endpoint::make_sync;
use poem::http::header;
use poem::{Endpoint, Response};

use crate::auth::{DEVELOPMENT_KEY, SignAlgorithm, UserRole, sign};

const PAGE: &str = include_str!("../playground.html");

/// What the page may do: run its own script and style, and call the API that it came from.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The user of the page where everybody may make tokens: the reference's development user.
const DEVELOPER: &str = "3e53486c-cf57-477e-ba2a-cb02dc828e1a";

/// For how many seconds the page's token is valid.
const A_DAY: u64 = 86_400;

/// The page; with the development key it has a token.
pub(super) fn endpoint(development_key: bool) -> impl Endpoint {
    make_sync(move |_| {
        let token = if development_key { development_token() } else { String::new() };
        Response::builder()
            .content_type("text/html; charset=utf-8")
            .header(header::CONTENT_SECURITY_POLICY, POLICY)
            .header(header::CACHE_CONTROL, "no-store")
            .body(PAGE.replace("{{TOKEN}}", &token))
    })
}

fn development_token() -> String {
    let made =
        UserId::parse(DEVELOPER).map(|user| sign(SignAlgorithm::Hs256, DEVELOPMENT_KEY, &user, UserRole::User, A_DAY));
    match made {
        Some(Ok(token)) => token,
        Some(Err(error)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the playground has no token");
            String::new()
        }
        None => String::new(),
    }
}
