//! The routes: thin methods that translate between HTTP and the use cases.

use std::sync::Arc;

use poem::endpoint::make_sync;
use poem::http::header;
use poem::{Endpoint, EndpointExt, Response, Route};
use poem_openapi::{LicenseObject, OpenApi, OpenApiService, Tags};

use crate::app::App;
use crate::auth::{Gate, Tickets};
use crate::edge::{self, AllowTable, Edge};
use crate::openapi::{self, DocumentError};
use crate::web::Web;

mod admin;
mod aliases;
mod credits;
mod files;
mod messages;
mod models;
mod moment;
mod nullable;
mod playground;
mod queue;
mod service;
mod sessions;
mod streams;
mod submission;
mod submission_schema;
mod turns;
mod ui_messages;
mod understanding;
mod usage;

pub use moment::Moment;
pub use nullable::Nullable;

/// Groups of operations.
#[derive(Tags)]
pub enum Tag {
    /// Conversations: made, listed, read, named, claimed, deleted.
    Sessions,
    /// Submitting messages, and following and stopping the turns that answer them.
    Streams,
    /// Records of turns.
    Turns,
    /// Messages that wait behind a running turn.
    Queue,
    /// What is known of the caller, and what they might ask.
    Understanding,
    /// Usage limits.
    Usage,
    /// What the caller has and spent, in cents.
    Credits,
    /// The caller's files.
    Workspace,
    /// Health, settings, and schemas for code generation.
    Service,
    /// For admins: everybody's turns, limits and credits. Every call is written down.
    Admin,
}

/// What the whole site works with.
pub struct Site {
    /// The use cases.
    pub app: Arc<App>,
    /// Who may call.
    pub gate: Arc<Gate>,
    /// Origins whose pages may call.
    pub origins: Vec<String>,
    /// Everybody may make tokens, so the playground does.
    pub development_key: bool,
    /// The playground, if it was built.
    pub web: Option<Web>,
}

/// The documented operations.
pub(crate) fn service() -> OpenApiService<impl OpenApi, ()> {
    let groups = (
        sessions::SessionRoutes,
        streams::StreamRoutes,
        aliases::AliasRoutes,
        turns::TurnRoutes,
        queue::QueueRoutes,
        understanding::UnderstandingRoutes,
        usage::UsageRoutes,
        credits::CreditRoutes,
        files::FileRoutes,
        service::ServiceRoutes,
        admin::turns::AdminTurnRoutes,
        admin::credits::AdminCreditRoutes,
        admin::dead_letters::DeadLetterRoutes,
        admin::rate_limit::RateLimitRoutes,
    );
    let licence = LicenseObject::new("MIT").url("https://opensource.org/license/mit");
    OpenApiService::new(groups, "Copilot", env!("CARGO_PKG_VERSION")).license(licence).description(
        "A durable AI chat backend. Messages are answered by turns that survive restarts. Their chunks are streamed in \
             the dialect of the AI SDK's UI message stream v1, and can be resumed from any event id.",
    )
}

/// Everything that the API serves.
pub fn endpoint(site: Site) -> Result<impl Endpoint<Output = Response>, DocumentError> {
    let service = service();
    let document = openapi::document()?;
    let allow = AllowTable::of(&document)?;
    let tickets = Arc::new(Tickets::new(site.app.store().clone(), site.gate.ticket_secret()));
    let docs = service.swagger_ui_html().replace(&service.spec(), &document);
    let routes = Route::new()
        .nest_no_strip("/api", service)
        .at("/openapi.json", poem::get(json(document)))
        .at("/openapi-3.2.json", poem::get(json(openapi::newest_document()?)))
        .at("/docs", poem::get(page(docs, DOCS_POLICY)));
    let routes =
        playground::routes(routes, site.web, site.development_key).data(site.app).data(site.gate).data(tickets);
    Ok(edge::guarded(routes, Edge::new(site.origins, allow)))
}

/// The docs bring their scripts and styles along and call the API itself only.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";

fn json(text: String) -> impl Endpoint {
    make_sync(move |_| Response::builder().content_type("application/json").body(text.clone()))
}

fn page(html: String, policy: &'static str) -> impl Endpoint {
    make_sync(move |_| {
        Response::builder()
            .content_type("text/html; charset=utf-8")
            .header(header::CONTENT_SECURITY_POLICY, policy)
            .body(html.clone())
    })
}
