//! The process: what it works with, what stands around every route, and how it ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use copilot_shared::id::TurnId;
use copilot_shared::lifecycle::Lifecycle;
use copilot_shared::ops::{self, OpsError, Readiness};
use copilot_shared::queue::Publisher;
use copilot_shared::reconciler::Reconciler;
use copilot_shared::store::{Store, StoreError};
use copilot_shared::stream::StreamError;
use poem::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use poem::listener::TcpAcceptor;
use poem::middleware::{Compression, Cors};
use poem::{Endpoint, EndpointExt, IntoResponse, Request, Response, Route, Server, get};
use poem_openapi::error::{AuthorizationError, ParseParamError, ParsePathError, ParseRequestPayloadError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Settings};
use crate::config::{ApiConfig, DEVELOPMENT_KEY, MigrateConfig, Role, TokenRequest};
use crate::openapi::{self, AllowedMethods};
use crate::problem::Problem;
use crate::relay::Relay;
use crate::routes;
use crate::routes::playground::{DevelopmentToken, playground};
use crate::token::{self, KeyError, Verifier};

/// Why the API could not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// `DATABASE_URL` is no address, or the migration failed.
    #[error("DATABASE_URL")]
    Store(#[from] StoreError),
    /// `REDIS_URL` is no address.
    #[error("REDIS_URL")]
    Stream(#[from] StreamError),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Everybody knows the development key.
    #[error("JWT_VERIFY_KEY must be set to serve on {0}: the development key is known to everyone")]
    DevelopmentKey(SocketAddr),
    /// The ops server cannot be started.
    #[error("API_OPS_LISTEN")]
    Ops(#[from] OpsError),
    /// The port cannot be had, or the server broke.
    #[error("API_LISTEN: cannot serve on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
}

/// Brings the schema up to date.
pub async fn migrate(config: &MigrateConfig) -> Result<(), ServeError> {
    let store = config.servers.store(&config.turns)?;
    store.migrate().await?;
    store.close().await;
    Ok(())
}

/// Serves until SIGTERM.
pub async fn serve(config: ApiConfig) -> Result<(), ServeError> {
    let develops = config.jwt.jwt_verify_key == DEVELOPMENT_KEY;
    if develops && !config.api_listen.ip().is_loopback() {
        return Err(ServeError::DevelopmentKey(config.api_listen));
    }
    let lifecycle = Lifecycle::on_signals().map_err(|error| ServeError::Listen(config.api_listen, error))?;
    let stop = lifecycle.stop.clone();
    let store = config.servers.store(&config.turns)?;
    let streams = config.servers.streams(&config.turns)?;
    let publisher = Publisher::new(config.servers.broker("copilot-api"));
    let (published, published_turns) = mpsc::channel(8192);
    let app = App {
        relay: Relay::new(streams.clone(), store.clone(), stop.clone())?,
        verifier: Arc::new(Verifier::new(&config.jwt)?),
        settings: Settings {
            allow_anonymous: config.allow_anonymous_sessions,
            stream_ttl: Duration::from_secs(config.turns.chat_stream_ttl),
        },
        store: store.clone(),
        streams: streams.clone(),
        publisher: publisher.clone(),
        published,
    };
    ops::serve(config.api_ops_listen, readiness(&app, stop.clone()), CancellationToken::new()).await?;
    let reconciler = Reconciler {
        store: store.clone(),
        streams: streams.clone(),
        publisher: publisher.clone(),
        longest_wait: config.turns.longest_wait(),
    };
    lifecycle.tasks.spawn(reconciler.run(stop.clone()));
    lifecycle.tasks.spawn(note_published(store.clone(), published_turns, stop.clone()));

    let token = develops.then(|| development_token(&config)).transpose()?;
    let listener = listen(config.api_listen).map_err(|error| ServeError::Listen(config.api_listen, error))?;
    let address = listener.local_addr().map_err(|error| ServeError::Listen(config.api_listen, error))?;
    let acceptor = TcpAcceptor::from_tokio(listener).map_err(|error| ServeError::Listen(config.api_listen, error))?;
    tracing::info!(%address, "serving");
    // Streams are cut at once; other requests get the grace.
    let grace = config.turns.grace().max(Duration::from_secs(1));
    Server::new_with_acceptor(acceptor)
        .run_with_graceful_shutdown(endpoint(app, token, &config.api_cors_origins), stop.cancelled_owned(), Some(grace))
        .await
        .map_err(|error| ServeError::Listen(address, error))?;
    lifecycle.tasks.close();
    lifecycle.tasks.wait().await;
    publisher.close().await;
    streams.close().await;
    store.close().await;
    Ok(())
}

/// A listener whose accepted sockets send each frame at once: they inherit `TCP_NODELAY`.
fn listen(address: SocketAddr) -> std::io::Result<tokio::net::TcpListener> {
    let socket = if address.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    socket.listen(4096)
}

fn readiness(app: &App, stop: CancellationToken) -> Readiness {
    let (store, schema, streams) = (app.store.clone(), app.store.clone(), app.streams.clone());
    let publisher = app.publisher.clone();
    Readiness::default()
        .with("postgres", move || {
            let store = store.clone();
            async move { store.ping().await.is_ok() }
        })
        .with("schema", move || {
            let store = schema.clone();
            async move { store.is_migrated().await.unwrap_or(false) }
        })
        .with("redis", move || {
            let streams = streams.clone();
            async move { streams.ping().await.is_ok() }
        })
        .with("rabbitmq", move || {
            let publisher = publisher.clone();
            async move { publisher.is_connected().await }
        })
        .with_state("relay", app.relay.connected())
        .with("serving", move || std::future::ready(!stop.is_cancelled()))
}

/// What everyone may hold who can reach a development server, the person of the printed example.
fn development_token(config: &ApiConfig) -> Result<String, KeyError> {
    token::issue(&TokenRequest {
        user: "3e53486c-cf57-477e-ba2a-cb02dc828e1a".into(),
        role: Some(Role::User),
        ttl: 30 * 86_400,
        jwt: config.jwt.clone(),
    })
}

/// The routes, and what stands around each.
fn endpoint(app: App, token: Option<String>, origins: &[String]) -> impl Endpoint + 'static {
    let service = routes::service();
    let document = openapi::document();
    let allowed = AllowedMethods::of(&document);
    let docs = service.swagger_ui_html();
    let routes = Route::new()
        .at("/", get(playground.data(DevelopmentToken(token))))
        .at(
            "/openapi.json",
            get(poem::endpoint::make_sync(move |_| document.clone().with_content_type("application/json"))),
        )
        .at(
            "/docs",
            get(poem::endpoint::make_sync(move |_| docs.clone().with_content_type("text/html; charset=utf-8"))),
        )
        .nest("/", service);
    routes
        .data(app)
        .around(move |endpoint, request| {
            let allowed = allowed.clone();
            async move { answer(&endpoint, request, &allowed).await }
        })
        .around(compress)
        .with(cors(origins))
}

/// Calls a route; turns what the framework refuses into our own errors; adds the headers that
/// every response has (`usage-tools.md` §4.3).
async fn answer<E: Endpoint>(endpoint: &E, request: Request, allowed: &AllowedMethods) -> poem::Result<Response> {
    let path = request.uri().path().to_owned();
    let mut response = match endpoint.call(request).await {
        Ok(response) => response.into_response(),
        Err(error) if error.is_from_response() => error.into_response(),
        Err(error) => refused(&error, allowed.at(&path)).into_response(),
    };
    let is_stream = response.content_type().is_some_and(|kind| kind.starts_with("text/event-stream"));
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if path.starts_with("/api/") && !is_stream {
        for (name, value) in NO_STORE_HEADERS {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
    }
    Ok(response)
}

const SECURITY_HEADERS: [(&str, &str); 4] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("x-xss-protection", "1; mode=block"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
];
const NO_STORE_HEADERS: [(&str, &str); 3] =
    [("cache-control", "no-store, no-cache, must-revalidate, private"), ("pragma", "no-cache"), ("expires", "0")];

/// What the framework refused before a route was reached.
fn refused(error: &poem::Error, allowed: Option<String>) -> Problem {
    if let Some(error) = error.downcast_ref::<ParseParamError>() {
        return Problem::field(&["query", error.name], "value_error", error.reason.clone());
    }
    if let Some(error) = error.downcast_ref::<ParsePathError>() {
        return Problem::field(&["path", error.name], "value_error", error.reason.clone());
    }
    if let Some(error) = error.downcast_ref::<ParseRequestPayloadError>() {
        return Problem::field(&["body"], "value_error", error.reason.clone());
    }
    if error.is::<AuthorizationError>() {
        return Problem::unauthorized("Authorization header is missing");
    }
    match error.status() {
        StatusCode::NOT_FOUND => Problem::new(StatusCode::NOT_FOUND, "not_found", "Not Found"),
        StatusCode::METHOD_NOT_ALLOWED => {
            let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method Not Allowed");
            problem.allow(allowed.unwrap_or_else(|| "GET".into()))
        }
        status if status.is_client_error() => {
            Problem::new(status, "bad_request", status.canonical_reason().unwrap_or("Bad Request"))
        }
        _ => Problem::internal(&std::io::Error::other(error.to_string())),
    }
}

/// Below this, compression costs more than it saves (`usage-tools.md` §4.3).
const COMPRESSED_FROM_BYTES: usize = 50_000;

/// Compresses large bodies of known length. A stream has none, and is never touched.
async fn compress<E: Endpoint>(endpoint: E, request: Request) -> poem::Result<Response>
where
    E: Clone,
{
    let accepts = request.headers().get(header::ACCEPT_ENCODING).cloned();
    let mut response = endpoint.call(request).await?.into_response();
    let is_stream = response.content_type().is_some_and(|kind| kind.starts_with("text/event-stream"));
    let Some(accepts) = accepts.filter(|_| !is_stream) else { return Ok(response) };
    let body = response.take_body().into_bytes().await.map_err(|error| Problem::internal(&error))?;
    if body.len() < COMPRESSED_FROM_BYTES {
        response.set_body(body);
        return Ok(response);
    }
    response.set_body(body);
    let (parts, body) = response.into_parts();
    let whole = std::sync::Mutex::new(Some(Response::from_parts(parts, body)));
    let once = poem::endpoint::make_sync(move |_| {
        let mut whole = whole.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        whole.take().unwrap_or_default()
    });
    let request = Request::builder().header(header::ACCEPT_ENCODING, accepts).finish();
    once.with(Compression::new()).call(request).await.map(IntoResponse::into_response)
}

fn cors(origins: &[String]) -> Cors {
    let origins: Vec<&str> = origins.iter().map(|origin| origin.trim()).filter(|origin| !origin.is_empty()).collect();
    let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    let cors = Cors::new().allow_methods(methods).allow_credentials(true);
    if origins.is_empty() {
        // The middleware takes an empty list for everyone.
        return cors.allow_origins_fn(|_| false);
    }
    cors.allow_origins(origins).expose_headers(["x-vercel-ai-ui-message-stream", "retry-after"])
}

/// Notes confirmed publications together, twice a second.
async fn note_published(store: Store, mut turns: mpsc::Receiver<TurnId>, stop: CancellationToken) {
    loop {
        let last_time = stop.is_cancelled();
        let mut batch = Vec::new();
        while let Ok(turn) = turns.try_recv() {
            batch.push(turn);
        }
        if !batch.is_empty()
            && let Err(error) = store.note_published(&batch).await
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "publications could not be noted; they may be repeated"
            );
        }
        if last_time {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
    }
}
