//! Is everything there? Asked by doing what requests do.

use std::time::Duration;

use super::App;

/// A part that takes longer is down.
const PATIENCE: Duration = Duration::from_secs(3);

/// Parts that do not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not available: {}", .0.join(", "))]
pub struct Down(pub Vec<&'static str>);

impl App {
    /// Writes and reads through every server; leaves nothing behind.
    pub async fn check_health(&self) -> Result<(), Down> {
        let (postgres, redis, rabbitmq) = tokio::join!(
            within(async { self.store.probe().await.is_ok() }),
            within(async { self.streams.probe().await.is_ok() }),
            within(self.publisher.is_connected()),
        );
        let parts = [("postgres", postgres), ("redis", redis), ("rabbitmq", rabbitmq)];
        let down: Vec<_> = parts.into_iter().filter(|(_, up)| !up).map(|(name, _)| name).collect();
        if down.is_empty() { Ok(()) } else { Err(Down(down)) }
    }

    /// How long an ended turn stays replayable.
    pub fn stream_ttl(&self) -> Duration {
        self.streams.ttl()
    }
}

async fn within(check: impl Future<Output = bool>) -> bool {
    tokio::time::timeout(PATIENCE, check).await.unwrap_or(false)
}
