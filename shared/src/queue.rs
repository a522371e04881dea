//! RabbitMQ: moves work. A message says "this turn may be run", and can be lost or delivered
//! twice without harm: the row decides.

use std::sync::Arc;
use std::time::Duration;

use lapin::{Channel, Connection, ConnectionProperties};

mod cancel;
mod dead;
mod intake;
mod message;
mod publisher;
mod topology;

pub use cancel::CancelListener;
pub use dead::{DeadLetterDelivery, DeadLetterIntake};
pub use intake::{Intake, LONGEST_UNACKNOWLEDGED, TurnDelivery};
pub use message::{CancelTurn, MessageError, RunTurn};
pub use publisher::Publisher;
pub use topology::Topology;

/// RabbitMQ could not be asked, or did not take a message.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// None of the nodes can be reached, or the connection broke.
    #[error("the message broker is not available")]
    Unavailable(#[source] Box<lapin::Error>),
    /// No node could be reached a moment ago; this call did not try again.
    #[error("the message broker is not available yet")]
    Resting,
    /// No answer in time.
    #[error("the message broker did not answer in time")]
    TimedOut,
    /// The broker refused to take responsibility for the message.
    #[error("the message broker did not accept the message")]
    Refused,
}

impl From<lapin::Error> for QueueError {
    fn from(error: lapin::Error) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

/// How long a connection or a confirm may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the broker is, and what its exchanges and queues are called.
#[derive(Clone)]
pub struct Broker {
    nodes: Arc<[String]>,
    topology: Topology,
    name: Arc<str>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The addresses hold passwords.
        f.debug_struct("Broker").field("topology", &self.topology).finish_non_exhaustive()
    }
}

impl Broker {
    /// A broker of one or more nodes, comma separated; `name` shows in the broker's lists.
    pub fn new(urls: &str, topology: Topology, name: &str) -> Self {
        let nodes = urls.split(',').map(|url| with_heartbeat(url.trim())).collect();
        Self { nodes, topology, name: name.into() }
    }

    /// What its exchanges and queues are called.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Deletes what was declared: for tests, which leave nothing behind.
    #[cfg(feature = "testing")]
    pub async fn delete_all(&self) -> Result<(), QueueError> {
        let (connection, channel) = self.connect().await?;
        for queue in [self.topology.run(), self.topology.dead()] {
            channel.queue_delete(queue.into(), lapin::options::QueueDeleteOptions::default()).await?;
        }
        for exchange in [self.topology.turns(), self.topology.dead(), self.topology.cancel()] {
            channel.exchange_delete(exchange.into(), lapin::options::ExchangeDeleteOptions::default()).await?;
        }
        intake::close(&connection).await;
        Ok(())
    }

    /// Takes the way to the dead letters' queue away, until somebody connects: for tests.
    #[cfg(feature = "testing")]
    pub async fn block_dead_letters(&self) -> Result<(), QueueError> {
        let (connection, channel) = self.connect().await?;
        let dead = self.topology.dead();
        channel
            .queue_unbind(dead.as_str().into(), dead.as_str().into(), "".into(), lapin::types::FieldTable::default())
            .await?;
        intake::close(&connection).await;
        Ok(())
    }

    /// Connects to the first node that answers and declares the topology.
    async fn connect(&self) -> Result<(Connection, Channel), QueueError> {
        let mut last = QueueError::TimedOut;
        for node in &*self.nodes {
            let properties = ConnectionProperties::default().with_connection_name(self.name.to_string().into());
            match tokio::time::timeout(PATIENCE, Connection::connect(node, properties)).await {
                Err(_elapsed) => last = QueueError::TimedOut,
                Ok(Err(error)) => last = error.into(),
                Ok(Ok(connection)) => {
                    let channel = connection.create_channel().await?;
                    self.topology.declare(&channel).await?;
                    return Ok((connection, channel));
                }
            }
        }
        Err(last)
    }
}

/// Heartbeats tell a dead broker from a silent one within 20 s (RabbitMQ documentation,
/// "Detecting Dead TCP Connections with Heartbeats").
fn with_heartbeat(url: &str) -> String {
    if url.contains("heartbeat=") {
        return url.to_owned();
    }
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}heartbeat=10")
}

/// Waits before another attempt to connect: 100 ms to 2 s.
struct Pause(Duration);

impl Pause {
    fn new() -> Self {
        Self(Duration::from_millis(100))
    }

    fn reset(&mut self) {
        *self = Self::new();
    }

    async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(Duration::from_secs(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_asked_for_unless_the_url_says_otherwise() {
        assert_eq!(with_heartbeat("amqp://h/%2f"), "amqp://h/%2f?heartbeat=10");
        assert_eq!(with_heartbeat("amqp://h/%2f?frame_max=9"), "amqp://h/%2f?frame_max=9&heartbeat=10");
        assert_eq!(with_heartbeat("amqp://h/%2f?heartbeat=3"), "amqp://h/%2f?heartbeat=3");
    }
}
