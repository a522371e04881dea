//! What operators ask a process: is it alive, is it ready, how is it doing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use poem::http::StatusCode;
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::web::{Data, Json};
use poem::{EndpointExt, IntoResponse, Response, Route, Server, get, handler};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A part of the process that readiness depends on.
type Check = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// Is the process able to serve? Asked anew each time, so that it tells the truth.
#[derive(Clone, Default)]
pub struct Readiness {
    checks: Vec<(&'static str, Check)>,
}

impl std::fmt::Debug for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.checks.iter().map(|(name, _)| name)).finish()
    }
}

/// A check that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(2);

impl Readiness {
    /// Adds a question to be asked.
    #[must_use]
    pub fn with<F>(mut self, name: &'static str, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        self.checks.push((name, Arc::new(move || Box::pin(check()))));
        self
    }

    /// Adds a state to be looked at.
    #[must_use]
    pub fn with_state(self, name: &'static str, state: watch::Receiver<bool>) -> Self {
        self.with(name, move || {
            let up = *state.borrow();
            std::future::ready(up)
        })
    }

    /// The parts that are down.
    pub async fn down(&self) -> Vec<&'static str> {
        let asked = self.checks.iter().map(|(name, check)| async move {
            let up = tokio::time::timeout(PATIENCE, check()).await.unwrap_or(false);
            (!up).then_some(*name)
        });
        join_all(asked).await.into_iter().flatten().collect()
    }
}

/// Why the ops server does not run.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// The metrics could not be set up.
    #[error("metrics cannot be recorded")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// The port cannot be had.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
}

#[handler]
fn live() -> &'static str {
    "ok"
}

#[handler]
async fn ready(Data(readiness): Data<&Readiness>) -> Response {
    let down = readiness.down().await;
    let status = if down.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Json(serde_json::json!({ "ready": down.is_empty(), "down": down })).with_status(status).into_response()
}

#[handler]
fn render_metrics(Data(metrics): Data<&PrometheusHandle>) -> Response {
    metrics.render().with_content_type("text/plain; version=0.0.4").into_response()
}

/// Serves `/health/live`, `/health/ready` and `/metrics` until `stop`. Returns once it listens.
pub async fn serve(address: SocketAddr, readiness: Readiness, stop: CancellationToken) -> Result<(), OpsError> {
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let listener = TcpListener::bind(address.to_string());
    let acceptor = listener.into_acceptor().await.map_err(|error| OpsError::Listen(address, error))?;
    if let Some(bound) = acceptor.local_addr().first() {
        tracing::info!(address = %bound, "ops server listens");
    }
    let upkeep = metrics.clone();
    let routes = Route::new()
        .at("/health/live", get(live))
        .at("/health/ready", get(ready))
        .at("/metrics", get(render_metrics))
        .data(readiness)
        .data(metrics);
    let stopped = stop.clone();
    tokio::spawn(async move {
        let server = Server::new_with_acceptor(acceptor).run_with_graceful_shutdown(
            routes,
            stopped.cancelled_owned(),
            Some(Duration::from_secs(1)),
        );
        if let Err(error) = server.await {
            tracing::error!(%error, "the ops server broke");
        }
    });
    tokio::spawn(stop.run_until_cancelled_owned(async move {
        let mut tick = tokio::time::interval(Duration::from_secs(5));
        loop {
            tick.tick().await;
            upkeep.run_upkeep();
        }
    }));
    Ok(())
}
