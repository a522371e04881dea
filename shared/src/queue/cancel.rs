//! Hearing every cancel: one exclusive queue per worker process on the fanout exchange.

use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, Consumer};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::intake::close;
use super::{Broker, CancelTurn, Pause, QueueError};
use crate::id::{TurnId, WorkerId};

/// Keeps a worker's cancel queue alive over every loss of the broker. Cancels that are missed in
/// the meantime are found at the next lease renewal.
#[derive(Debug)]
pub struct CancelListener {
    broker: Broker,
    worker: WorkerId,
    connected: watch::Sender<bool>,
}

impl CancelListener {
    /// A listener for one worker.
    pub fn new(broker: Broker, worker: WorkerId) -> Self {
        Self { broker, worker, connected: watch::Sender::new(false) }
    }

    /// Tells whether the queue is there.
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.connected.subscribe()
    }

    /// Hands over the turns that are to stop, until `stop`.
    pub async fn run(self, cancels: mpsc::Sender<TurnId>, stop: CancellationToken) {
        let mut pause = Pause::new();
        while !stop.is_cancelled() {
            match self.open().await {
                Ok((connection, consumer)) => {
                    pause.reset();
                    self.connected.send_replace(true);
                    listen(consumer, &cancels, &stop).await;
                    self.connected.send_replace(false);
                    if stop.is_cancelled() {
                        close(&connection).await;
                        return;
                    }
                }
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "no cancel queue; trying again"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = pause.wait() => {}
            }
        }
    }

    async fn open(&self) -> Result<(Connection, Consumer), QueueError> {
        let (connection, channel) = self.broker.connect().await?;
        let topology = self.broker.topology();
        let name = topology.cancel_queue(self.worker);
        // Exclusive: it dies with this connection, and a new one declares it again.
        let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(name.as_str().into(), options, FieldTable::default()).await?;
        channel
            .queue_bind(
                name.as_str().into(),
                topology.cancel().into(),
                "".into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
        let no_ack = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consumer = channel.basic_consume(name.into(), "".into(), no_ack, FieldTable::default()).await?;
        Ok((connection, consumer))
    }
}

async fn listen(mut consumer: Consumer, cancels: &mpsc::Sender<TurnId>, stop: &CancellationToken) {
    loop {
        let delivery = tokio::select! {
            () = stop.cancelled() => return,
            delivery = consumer.next() => delivery,
        };
        let body = match delivery {
            Some(Ok(delivery)) => delivery.data,
            Some(Err(error)) => {
                tracing::warn!(%error, "the cancel queue was lost");
                return;
            }
            None => return,
        };
        match CancelTurn::parse(&body).map(|cancel| cancel.turn_id).or_else(|error| error.turn_id.ok_or(error)) {
            Ok(turn) => {
                if cancels.send(turn).await.is_err() {
                    return;
                }
            }
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "a cancel cannot be read"),
        }
    }
}
