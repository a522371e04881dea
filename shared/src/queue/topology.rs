//! Exchanges and queues, each declared by whoever connects: declaring again changes nothing.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

use crate::id::WorkerId;

/// The names, all of which begin with one prefix so that deployments can share a broker.
#[derive(Debug, Clone)]
pub struct Topology {
    prefix: String,
}

/// How often the broker redelivers a message whose consumer vanished before it moves it to the
/// dead letters. Well above the attempts that a turn may lose, so that the row decides first.
const DELIVERY_LIMIT: i64 = 20;

impl Topology {
    /// Names that begin with `prefix`.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The direct exchange of turns.
    pub fn turns(&self) -> String {
        format!("{}.turns", self.prefix)
    }

    /// The queue that workers share, and its routing key.
    pub fn run(&self) -> String {
        format!("{}.turns.run", self.prefix)
    }

    /// The exchange and queue of messages that nobody could handle.
    pub fn dead(&self) -> String {
        format!("{}.turns.dead", self.prefix)
    }

    /// The fanout exchange of cancels.
    pub fn cancel(&self) -> String {
        format!("{}.cancel", self.prefix)
    }

    /// The queue of one worker's cancels: a shared one would lose most of them.
    pub fn cancel_queue(&self, worker: WorkerId) -> String {
        format!("{}.cancel.{worker}", self.prefix)
    }

    pub(super) async fn declare(&self, channel: &Channel) -> Result<(), lapin::Error> {
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        for (name, kind) in [
            (self.turns(), ExchangeKind::Direct),
            (self.dead(), ExchangeKind::Fanout),
            (self.cancel(), ExchangeKind::Fanout),
        ] {
            channel.exchange_declare(name.into(), kind, durable, FieldTable::default()).await?;
        }
        channel.queue_declare(self.run().into(), QueueDeclareOptions::durable(), self.run_arguments()).await?;
        channel.queue_declare(self.dead().into(), QueueDeclareOptions::durable(), quorum()).await?;
        let bind = QueueBindOptions::default();
        channel
            .queue_bind(self.run().into(), self.turns().into(), self.run().into(), bind, FieldTable::default())
            .await?;
        channel.queue_bind(self.dead().into(), self.dead().into(), "".into(), bind, FieldTable::default()).await
    }

    fn run_arguments(&self) -> FieldTable {
        let mut arguments = quorum();
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
        arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString(self.dead().into()));
        arguments
    }
}

/// Quorum queues survive the loss of a node and count deliveries (RabbitMQ documentation,
/// "Quorum Queues", Poison Message Handling).
fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments
}
