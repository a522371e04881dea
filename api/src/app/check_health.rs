//! Is every part able to do its work? Asked by doing some of it.

use std::time::Duration;

use super::App;

/// A part that takes longer is down.
const PATIENCE: Duration = Duration::from_secs(3);

impl App {
    /// The parts that are down, by name.
    pub async fn check_health(&self) -> Vec<&'static str> {
        let postgres = tokio::time::timeout(PATIENCE, self.store.probe());
        let redis = tokio::time::timeout(PATIENCE, self.streams.probe());
        let rabbitmq = tokio::time::timeout(PATIENCE, self.publisher.is_connected());
        let (postgres, redis, rabbitmq) = tokio::join!(postgres, redis, rabbitmq);
        let up = [
            ("postgres", matches!(postgres, Ok(Ok(())))),
            ("redis", matches!(redis, Ok(Ok(())))),
            ("rabbitmq", matches!(rabbitmq, Ok(true))),
        ];
        up.into_iter().filter(|(_, up)| !up).map(|(name, _)| name).collect()
    }
}
