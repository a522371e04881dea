//! The playground: a page that loads nothing from elsewhere, and what it is made of.

use std::collections::BTreeMap;
use std::sync::Arc;

use copilot_shared::id::UserId;
use poem::endpoint::make_sync;
use poem::http::{StatusCode, header};
use poem::web::{Data, Path};
use poem::{EndpointExt, Response, Route, handler};

use crate::auth::{DEVELOPMENT_KEY, SignAlgorithm, UserRole, sign};
use crate::web::{Asset, Web};

/// What there is to see where nobody has built the playground.
const WITHOUT: &str = include_str!("playground/without.html");

/// What the page may do: run its own scripts and styles, show what the user attaches, and call the
/// API that it came from.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page has a token in it and names assets of one build: it is asked for anew each time.
const ASK_AGAIN: &str = "no-cache";

/// What has a hash of its content in its name is the same for ever.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// What the build leaves for the token.
const TOKEN: &str = "{{TOKEN}}";

/// The user of the page where everybody may make tokens: the reference's development user.
const DEVELOPER: &str = "3e53486c-cf57-477e-ba2a-cb02dc828e1a";

/// For how many seconds the page's token is valid.
const A_DAY: u64 = 86_400;

/// The page and its assets; with the development key the page has a token.
pub(super) fn routes(route: Route, web: Option<Web>, development_key: bool) -> Route {
    let Some(Web { page, assets }) = web else {
        return route.at("/", poem::get(make_sync(|_| html(WITHOUT.to_owned()))));
    };
    let index = make_sync(move |_| {
        let token = if development_key { development_token() } else { String::new() };
        html(page.replace(TOKEN, &token))
    });
    let files = poem::get(asset).data(Arc::new(assets));
    route.at("/", poem::get(index)).at("/assets/:name", files)
}

/// By name.
type Assets = Arc<BTreeMap<String, Asset>>;

#[handler]
fn asset(Path(name): Path<String>, Data(assets): Data<&Assets>) -> poem::Result<Response> {
    let Some(Asset { content_type, body }) = assets.get(&name) else {
        return Err(StatusCode::NOT_FOUND.into());
    };
    let response = Response::builder().content_type(content_type).header(header::CACHE_CONTROL, FOR_EVER);
    Ok(response.body(body.clone()))
}

fn html(page: String) -> Response {
    Response::builder()
        .content_type("text/html; charset=utf-8")
        .header(header::CONTENT_SECURITY_POLICY, POLICY)
        .header(header::CACHE_CONTROL, ASK_AGAIN)
        .body(page)
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
