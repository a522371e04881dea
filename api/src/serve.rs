//! The process: what it is made of, how it starts and how it stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use copilot_shared::analytics::PostHogError;
use copilot_shared::blobs::BlobError;
use copilot_shared::config::{AddressError, FlagsError};
use copilot_shared::lifecycle::{Lifecycle, farewell};
use copilot_shared::ops::{self, OpsError, Readiness};
use copilot_shared::payment::Payments;
use copilot_shared::queue::Publisher;
use copilot_shared::reconciler::Reconciler;
use copilot_shared::store::{Store, StoreError};
use copilot_shared::stream::{StreamError, Streams};
use copilot_shared::telemetry::{self, TelemetryError};
use tokio_util::sync::CancellationToken;

use crate::app::read_usage::Usage;
use crate::app::{App, Foundations};
use crate::config::{ConfigError, ServeConfig};
use crate::openapi::DocumentError;
use crate::relay::Relay;
use crate::routes::{self, Site};
use crate::server::{self, Patience};
use crate::web::{Web, WebError};

/// How long requests in flight have after the streams were cut.
const LAST_REQUESTS: Duration = Duration::from_secs(8);

/// Why the API does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The settings make no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A server has no address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The process cannot speak of itself.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The signals cannot be heard.
    #[error("signals cannot be handled")]
    Signals(#[source] std::io::Error),
    /// `DATABASE_URL` is no address.
    #[error("DATABASE_URL")]
    Store(#[source] StoreError),
    /// `REDIS_URL` is no address.
    #[error("REDIS_URL")]
    Streams(#[source] StreamError),
    /// Users' files have no place.
    #[error("WORKSPACE_DIR, or the object store")]
    Workspace(#[source] BlobError),
    /// Analytics events cannot be sent.
    #[error(transparent)]
    Analytics(#[from] PostHogError),
    /// The feature flags cannot be had.
    #[error(transparent)]
    Flags(#[from] FlagsError),
    /// The ops server cannot start.
    #[error("API_OPS_LISTEN")]
    Ops(#[from] OpsError),
    /// The port cannot be had.
    #[error("API_LISTEN: cannot listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// The OpenAPI document cannot be made.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The playground cannot be read.
    #[error("API_WEB_DIR")]
    Web(#[from] WebError),
    /// The server broke.
    #[error("the server broke")]
    Server(#[source] std::io::Error),
}

/// Serves until SIGTERM or SIGINT, and then until every request is answered.
pub async fn serve(config: ServeConfig) -> Result<(), ServeError> {
    let traces = telemetry::init(&config.logs, "copilot-api")?;
    let lifecycle = Lifecycle::on_signals().map_err(ServeError::Signals)?;
    let ended = serve_until(config, lifecycle).await;
    traces.close().await;
    ended
}

/// Serves until `lifecycle.stop`.
pub async fn serve_until(config: ServeConfig, lifecycle: Lifecycle) -> Result<(), ServeError> {
    config.servers.check()?;
    let gate = Arc::new(config.gate()?);
    let origins = config.origins()?;
    let store = config.servers.store(&config.turns).map_err(ServeError::Store)?;
    let streams = config.servers.streams(&config.turns).map_err(ServeError::Streams)?;
    let publisher = Publisher::new(config.servers.broker("copilot-api"));
    let stop = lifecycle.stop.clone();
    let relay = Relay::new(streams.clone(), store.clone(), stop.clone()).map_err(ServeError::Streams)?;

    // The ops server outlives the others: readiness must be seen to be red while they stop.
    let ops_stop = CancellationToken::new();
    let readiness = readiness(&store, &streams, &publisher, &relay, &stop);
    ops::serve(config.api_ops_listen, readiness, ops_stop.clone()).await?;

    let reconciler = Reconciler {
        store: store.clone(),
        streams: streams.clone(),
        publisher: publisher.clone(),
        longest_wait: config.turns.longest_wait(),
    };
    lifecycle.tasks.spawn(reconciler.run(stop.clone()));
    if let Some(keys) = gate.key_ring() {
        lifecycle.tasks.spawn(keys.clone().keep_fresh(stop.clone()));
    }

    let workspaces = config.workspace.workspaces(store.clone()).map_err(ServeError::Workspace)?;
    lifecycle.tasks.spawn(workspaces.clone().keep_swept(stop.clone()));
    let (analytics, events) = config.analytics.start()?;
    let foundations = Foundations {
        store: store.clone(),
        streams: streams.clone(),
        publisher: publisher.clone(),
        relay,
        ledger: config.credits.ledger(store.clone()),
        payments: Payments::default(),
        workspaces,
        analytics,
        usage: Usage { meter: config.usage.meter(&store, &streams)?, reset: config.reset.terms() },
    };
    let app = App::new(foundations, stop.clone(), lifecycle.tasks.clone());
    let web = Web::load(&config.api_web_dir)?;
    if web.is_none() {
        tracing::info!(directory = %config.api_web_dir.display(), "the playground is not built");
    }
    let site = Site { app: Arc::new(app), gate, origins, development_key: config.tokens.is_development(), web };
    let listener = server::listen(config.api_listen).map_err(|error| ServeError::Listen(config.api_listen, error))?;
    let address = listener.local_addr().map_err(|error| ServeError::Listen(config.api_listen, error))?;
    tracing::info!(%address, "the API listens");
    let endpoint = routes::endpoint(site)?;
    let patience = Patience { unread: Duration::from_secs(config.api_unread_seconds), last_requests: LAST_REQUESTS };
    server::serve(listener, endpoint, stop, patience).await.map_err(ServeError::Server)?;

    lifecycle.tasks.close();
    if tokio::time::timeout(LAST_REQUESTS, lifecycle.tasks.wait()).await.is_err() {
        tracing::warn!("some tasks did not end in time");
    }
    farewell("analytics", events.close()).await;
    farewell("RabbitMQ", publisher.close()).await;
    farewell("Redis", streams.close()).await;
    farewell("PostgreSQL", store.close()).await;
    ops_stop.cancel();
    tracing::info!("stopped");
    Ok(())
}

fn readiness(
    store: &Store,
    streams: &Streams,
    publisher: &Publisher,
    relay: &Relay,
    stop: &CancellationToken,
) -> Readiness {
    let (ping, schema, redis) = (store.clone(), store.clone(), streams.clone());
    let (rabbitmq, stop) = (publisher.clone(), stop.clone());
    Readiness::default()
        .with("postgres", move || {
            let store = ping.clone();
            async move { store.ping().await.is_ok() }
        })
        .with("schema", move || {
            let store = schema.clone();
            async move { store.is_migrated().await.unwrap_or(false) }
        })
        .with("redis", move || {
            let streams = redis.clone();
            async move { streams.ping().await.is_ok() }
        })
        .with("rabbitmq", move || {
            let publisher = rabbitmq.clone();
            async move { publisher.is_connected().await }
        })
        .with_state("relay", relay.connected())
        .with("stopping", move || std::future::ready(!stop.is_cancelled()))
}
