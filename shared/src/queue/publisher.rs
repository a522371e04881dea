//! Publishing with confirms, on one channel that is made anew when it breaks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection};
use serde::Serialize;
use tokio::sync::Mutex;

use super::dead::REASON;
use super::{Broker, CancelTurn, PATIENCE, QueueError, RunTurn};
use crate::dead_letter::DeadLetter;
use crate::id::{DeadLetterId, TurnId};
use crate::telemetry::TraceContext;

/// After a failed connection, calls fail at once for this long instead of each trying anew.
const REST: Duration = Duration::from_millis(250);

/// Publishes turns and cancels. Cheap to clone; all clones share one channel.
#[derive(Clone)]
pub struct Publisher {
    broker: Broker,
    link: Arc<Mutex<Link>>,
}

#[derive(Default)]
struct Link {
    open: Option<(Arc<Connection>, Channel)>,
    failed_at: Option<Instant>,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("broker", &self.broker).finish_non_exhaustive()
    }
}

/// Where a message goes and how much it matters.
struct Destination {
    exchange: String,
    routing_key: String,
    /// An unroutable message is an error.
    mandatory: bool,
    properties: BasicProperties,
}

/// Survives a restart of the broker (AMQP 0-9-1, delivery-mode).
const PERSISTENT: u8 = 2;

impl Publisher {
    /// A publisher; connects when it is first used.
    pub fn new(broker: Broker) -> Self {
        Self { broker, link: Arc::default() }
    }

    /// Says that a turn may be run. Returns once the broker has it safe.
    pub async fn publish_turn(&self, turn: TurnId) -> Result<(), QueueError> {
        let topology = self.broker.topology();
        let destination = Destination {
            exchange: topology.turns(),
            routing_key: topology.run(),
            mandatory: true,
            properties: BasicProperties::default()
                .with_delivery_mode(PERSISTENT)
                .with_content_type("application/json".into())
                .with_message_id(turn.to_string().into()),
        };
        self.publish(destination, &body(&RunTurn::new(turn))).await
    }

    /// Tells every worker to stop a turn.
    pub async fn publish_cancel(&self, turn: TurnId) -> Result<(), QueueError> {
        let destination = Destination {
            exchange: self.broker.topology().cancel(),
            routing_key: String::new(),
            mandatory: false,
            properties: BasicProperties::default().with_content_type("application/json".into()),
        };
        self.publish(destination, &body(&CancelTurn::new(turn))).await
    }

    /// Puts a message that nobody can handle among the dead letters, with the reason.
    pub async fn publish_dead(&self, letter: &DeadLetter) -> Result<(), QueueError> {
        let mut headers = FieldTable::default();
        headers.insert(REASON.into(), AMQPValue::LongString(letter.reason.as_str().into()));
        let destination = Destination {
            exchange: self.broker.topology().dead(),
            routing_key: String::new(),
            mandatory: true,
            properties: BasicProperties::default()
                .with_delivery_mode(PERSISTENT)
                .with_message_id(letter.id.to_string().into())
                .with_timestamp(u64::try_from(letter.at.timestamp()).unwrap_or(0))
                .with_headers(headers),
        };
        self.publish(destination, &letter.body).await
    }

    /// Puts the body of a dead letter back into the queue of turns, as it was.
    pub async fn replay(&self, id: DeadLetterId, body: &[u8]) -> Result<(), QueueError> {
        let topology = self.broker.topology();
        let destination = Destination {
            exchange: topology.turns(),
            routing_key: topology.run(),
            mandatory: true,
            properties: BasicProperties::default()
                .with_delivery_mode(PERSISTENT)
                .with_content_type("application/json".into())
                .with_message_id(id.to_string().into()),
        };
        self.publish(destination, body).await
    }

    /// Is there a channel that works, as far as one can know without using it?
    pub async fn is_connected(&self) -> bool {
        self.channel().await.is_ok()
    }

    /// Closes the connection in good order.
    pub async fn close(&self) {
        if let Some((connection, _)) = self.link.lock().await.open.take()
            && let Err(error) = connection.close(200, "bye".into()).await
        {
            tracing::debug!(%error, "the publisher's connection did not close in good order");
        }
    }

    async fn publish(&self, destination: Destination, body: &[u8]) -> Result<(), QueueError> {
        let properties = traced(destination.properties);
        let channel = self.channel().await?;
        let sent = async {
            channel
                .basic_publish(
                    destination.exchange.as_str().into(),
                    destination.routing_key.as_str().into(),
                    BasicPublishOptions { mandatory: destination.mandatory, ..BasicPublishOptions::default() },
                    body,
                    properties.clone(),
                )
                .await?
                .await
        };
        let confirmation = match tokio::time::timeout(PATIENCE, sent).await {
            Ok(Ok(confirmation)) => confirmation,
            Ok(Err(error)) => {
                self.drop_link().await;
                return Err(error.into());
            }
            Err(_elapsed) => {
                self.drop_link().await;
                return Err(QueueError::TimedOut);
            }
        };
        let accepted = confirmation.is_ack();
        let unroutable = destination.mandatory && confirmation.take_message().is_some();
        if unroutable {
            // Somebody deleted the queue: the next connection declares it again.
            self.drop_link().await;
        }
        if unroutable || !accepted { Err(QueueError::Refused) } else { Ok(()) }
    }

    async fn channel(&self) -> Result<Channel, QueueError> {
        let mut link = self.link.lock().await;
        if let Some((connection, channel)) = &link.open
            && connection.status().connected()
            && channel.status().connected()
        {
            return Ok(channel.clone());
        }
        link.open = None;
        if link.failed_at.is_some_and(|at| at.elapsed() < REST) {
            return Err(QueueError::Resting);
        }
        match self.open().await {
            Ok((connection, channel)) => {
                link.failed_at = None;
                link.open = Some((Arc::new(connection), channel.clone()));
                Ok(channel)
            }
            Err(error) => {
                link.failed_at = Some(Instant::now());
                Err(error)
            }
        }
    }

    async fn open(&self) -> Result<(Connection, Channel), QueueError> {
        let (connection, channel) = self.broker.connect().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok((connection, channel))
    }

    async fn drop_link(&self) {
        self.link.lock().await.open = None;
    }
}

/// Adds the trace that the message belongs to.
fn traced(properties: BasicProperties) -> BasicProperties {
    let mut headers = properties.headers().clone().unwrap_or_default();
    for (name, value) in TraceContext::current().headers() {
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    properties.with_headers(headers)
}

fn body(message: &impl Serialize) -> Vec<u8> {
    // Ids and numbers always serialise.
    serde_json::to_vec(message).unwrap_or_default()
}
