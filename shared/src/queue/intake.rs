//! Taking turns from the queue that all workers share.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::Acker;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, Consumer};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{Broker, MessageError, Pause, QueueError, RunTurn};
use crate::telemetry::TraceContext;

/// Before this, a running turn's message stays unacknowledged, so that the death of its worker
/// redelivers it at once. After it the lease alone guards the turn: the broker closes the channel
/// of a consumer that holds a message for 30 minutes (RabbitMQ documentation, "Consumers",
/// Delivery Acknowledgement Timeout).
pub const LONGEST_UNACKNOWLEDGED: Duration = Duration::from_mins(15);

/// A message that must be settled once. Dropped unsettled it stays with the broker, which
/// redelivers it when the connection ends.
#[derive(Debug)]
#[must_use = "a delivery must be settled"]
pub struct TurnDelivery {
    /// What it says.
    pub message: Result<RunTurn, MessageError>,
    /// The broker gave it out before.
    pub redelivered: bool,
    /// When it arrived.
    pub received_at: Instant,
    /// The body, for the dead letters.
    pub body: Vec<u8>,
    /// The trace that it belongs to.
    pub trace: TraceContext,
    acker: Acker,
}

impl TurnDelivery {
    fn new(delivery: Delivery) -> Self {
        Self {
            message: RunTurn::parse(&delivery.data),
            trace: trace_of(&delivery),
            redelivered: delivery.redelivered,
            received_at: Instant::now(),
            body: delivery.data,
            acker: delivery.acker,
        }
    }

    /// It is dealt with. If the connection is gone, the broker redelivers it, and whoever gets it
    /// finds in the row that there is nothing to do.
    pub async fn ack(self) {
        if let Err(error) = self.acker.ack(BasicAckOptions::default()).await {
            tracing::debug!(%error, "a delivery could not be acknowledged; it will come again");
        }
    }

    /// Somebody else should try.
    pub async fn requeue(self) {
        let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
        if let Err(error) = self.acker.nack(options).await {
            tracing::debug!(%error, "a delivery could not be requeued; it will come again");
        }
    }
}

fn trace_of(delivery: &Delivery) -> TraceContext {
    let headers = delivery.properties.headers().as_ref();
    TraceContext::received(|name| match headers?.inner().get(name)? {
        AMQPValue::LongString(value) => std::str::from_utf8(value.as_bytes()).ok(),
        _ => None,
    })
}

/// Keeps a consumer alive over every loss of the broker.
#[derive(Debug)]
pub struct Intake {
    broker: Broker,
    prefetch: u16,
    connected: watch::Sender<bool>,
}

impl Intake {
    /// An intake of at most `prefetch` unsettled messages.
    pub fn new(broker: Broker, prefetch: u16) -> Self {
        Self { broker, prefetch, connected: watch::Sender::new(false) }
    }

    /// Tells whether the consumer is there.
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.connected.subscribe()
    }

    /// Hands deliveries over until `stop`; then cancels the consumer, and keeps the connection
    /// for the last acknowledgements until `settled`.
    pub async fn run(
        self,
        deliveries: mpsc::Sender<TurnDelivery>,
        stop: CancellationToken,
        settled: CancellationToken,
    ) {
        let mut pause = Pause::new();
        while !stop.is_cancelled() {
            match self.open().await {
                Ok((connection, channel, consumer)) => {
                    pause.reset();
                    self.connected.send_replace(true);
                    self.consume(&channel, consumer, &deliveries, &stop).await;
                    self.connected.send_replace(false);
                    if stop.is_cancelled() {
                        drop(deliveries);
                        settled.cancelled().await;
                        close(&connection).await;
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "no consumer of turns; trying again");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = pause.wait() => {}
            }
        }
    }

    async fn open(&self) -> Result<(Connection, Channel, Consumer), QueueError> {
        let (connection, channel) = self.broker.connect().await?;
        channel.basic_qos(self.prefetch, BasicQosOptions::default()).await?;
        let consumer = channel
            .basic_consume(
                self.broker.topology().run().into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        Ok((connection, channel, consumer))
    }

    async fn consume(
        &self,
        channel: &Channel,
        mut consumer: Consumer,
        deliveries: &mpsc::Sender<TurnDelivery>,
        stop: &CancellationToken,
    ) {
        loop {
            let delivery = tokio::select! {
                () = stop.cancelled() => {
                    let tag = consumer.tag();
                    if let Err(error) = channel.basic_cancel(tag, BasicCancelOptions::default()).await {
                        tracing::debug!(%error, "the consumer could not be cancelled");
                    }
                    return;
                }
                delivery = consumer.next() => delivery,
            };
            match delivery {
                Some(Ok(delivery)) => {
                    if deliveries.send(TurnDelivery::new(delivery)).await.is_err() {
                        return;
                    }
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "the consumer of turns was lost");
                    return;
                }
                None => return,
            }
        }
    }
}

pub(super) async fn close(connection: &Connection) {
    if let Err(error) = connection.close(200, "bye".into()).await {
        tracing::debug!(%error, "a connection did not close in good order");
    }
}
