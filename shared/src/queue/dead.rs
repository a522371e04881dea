//! Taking dead letters out of their queue, to be kept where they can be read.

use chrono::{DateTime, TimeZone, Utc};
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Acker, Connection, Consumer};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::intake::close;
use super::message::turn_in;
use super::{Broker, Pause, QueueError};
use crate::dead_letter::DeadLetter;
use crate::id::DeadLetterId;

/// Where we say why we gave a message up.
pub(super) const REASON: &str = "x-copilot-reason";
/// Where the broker says why it did.
const DEATHS: &str = "x-death";

/// Letters that are given out and not kept yet.
const PREFETCH: u16 = 16;

/// A dead letter that must be acknowledged once it is kept. Dropped before, it stays with the broker.
#[derive(Debug)]
#[must_use = "a letter must be kept and acknowledged"]
pub struct DeadLetterDelivery {
    /// The letter.
    pub letter: DeadLetter,
    acker: Acker,
}

impl DeadLetterDelivery {
    /// It is kept. If the connection is gone it comes again, under the same id.
    pub async fn ack(self) {
        if let Err(error) = self.acker.ack(BasicAckOptions::default()).await {
            tracing::debug!(%error, "a dead letter could not be acknowledged; it will come again");
        }
    }
}

/// Keeps a consumer of dead letters alive over every loss of the broker.
#[derive(Debug)]
pub struct DeadLetterIntake {
    broker: Broker,
}

impl DeadLetterIntake {
    /// An intake.
    pub fn new(broker: Broker) -> Self {
        Self { broker }
    }

    /// Hands letters over until `stop`.
    pub async fn run(self, letters: mpsc::Sender<DeadLetterDelivery>, stop: CancellationToken) {
        let mut pause = Pause::new();
        while !stop.is_cancelled() {
            match self.open().await {
                Ok((connection, consumer)) => {
                    pause.reset();
                    consume(consumer, &letters, &stop).await;
                    if stop.is_cancelled() {
                        // What is still being kept comes again under the same id.
                        close(&connection).await;
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "no consumer of dead letters; trying again"
                    );
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = pause.wait() => {}
            }
        }
    }

    async fn open(&self) -> Result<(Connection, Consumer), QueueError> {
        let (connection, channel) = self.broker.connect().await?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let queue = self.broker.topology().dead();
        let consumer = channel
            .basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
            .await?;
        Ok((connection, consumer))
    }
}

async fn consume(mut consumer: Consumer, letters: &mpsc::Sender<DeadLetterDelivery>, stop: &CancellationToken) {
    loop {
        let delivery = tokio::select! {
            () = stop.cancelled() => return,
            delivery = consumer.next() => delivery,
        };
        match delivery {
            Some(Ok(delivery)) => {
                let letter = letter_of(&delivery);
                let delivery = DeadLetterDelivery { letter, acker: delivery.acker };
                if letters.send(delivery).await.is_err() {
                    return;
                }
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "the consumer of dead letters was lost");
                return;
            }
            None => return,
        }
    }
}

/// What the broker notes when it moves a message to the dead letters itself.
#[derive(Debug, Default, PartialEq, Eq)]
struct Death {
    reason: Option<String>,
    at: Option<u64>,
}

fn letter_of(delivery: &Delivery) -> DeadLetter {
    let message_id = delivery.properties.message_id().as_ref().map(lapin::types::ShortString::as_str);
    let headers = delivery.properties.headers().clone().unwrap_or_default();
    let ours = headers.inner().get(REASON).and_then(text);
    let death = death_in(&headers);
    let seconds = delivery.properties.timestamp().or(death.as_ref().and_then(|death| death.at));
    DeadLetter {
        id: id_of(message_id, ours.is_some(), death.as_ref(), &delivery.data),
        turn_id: turn_in(&delivery.data),
        at: seconds.and_then(time).unwrap_or_else(Utc::now),
        reason: ours.or(death.and_then(|death| death.reason)).unwrap_or_else(|| "unknown".into()),
        body: delivery.data.clone(),
    }
}

/// The letter's id, which must be the same when the broker gives the letter out again. Ours carry
/// it; one that the broker made is known by its message and the time of its death. A message that
/// has neither was put there by hand: it may then be kept twice, and is never lost.
fn id_of(message_id: Option<&str>, is_ours: bool, death: Option<&Death>, body: &[u8]) -> DeadLetterId {
    if is_ours && let Some(id) = message_id.and_then(|id| id.parse().ok()) {
        return DeadLetterId(id);
    }
    let Some(Death { at: Some(at), .. }) = death else { return DeadLetterId::generate() };
    let name = [message_id.unwrap_or_default().as_bytes(), &at.to_be_bytes(), body].concat();
    DeadLetterId(Uuid::new_v5(&Uuid::NAMESPACE_OID, &name))
}

/// The last death in the header that the broker writes, which is its first entry (RabbitMQ
/// documentation, "Dead Letter Exchanges", Effects on Messages).
fn death_in(headers: &FieldTable) -> Option<Death> {
    let AMQPValue::FieldArray(deaths) = headers.inner().get(DEATHS)? else { return None };
    let AMQPValue::FieldTable(last) = deaths.as_slice().first()? else { return None };
    let at = match last.inner().get("time") {
        Some(AMQPValue::Timestamp(seconds)) => Some(*seconds),
        _ => None,
    };
    Some(Death { reason: last.inner().get("reason").and_then(text), at })
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(value) => Some(String::from_utf8_lossy(value.as_bytes()).into_owned()),
        AMQPValue::ShortString(value) => Some(value.as_str().to_owned()),
        _ => None,
    }
}

fn time(seconds: u64) -> Option<DateTime<Utc>> {
    Utc.timestamp_opt(i64::try_from(seconds).ok()?, 0).single()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_that_comes_again_has_the_same_id() {
        let ours = Uuid::now_v7().to_string();
        assert_eq!(id_of(Some(&ours), true, None, b"a").to_string(), ours);
        let death = Death { reason: Some("delivery_limit".into()), at: Some(7) };
        let brokers = |at, body: &[u8]| id_of(Some("m"), false, Some(&Death { at: Some(at), reason: None }), body);
        assert_eq!(brokers(7, b"a"), id_of(Some("m"), false, Some(&death), b"a"));
        assert_ne!(brokers(7, b"a"), brokers(8, b"a"));
        assert_ne!(brokers(7, b"a"), brokers(7, b"b"));
    }

    #[test]
    fn two_letters_that_nothing_tells_apart_are_two() {
        assert_ne!(id_of(None, false, None, b"a"), id_of(None, false, None, b"a"));
        assert_ne!(id_of(Some("no uuid"), true, None, b"a"), id_of(Some("no uuid"), true, None, b"a"));
    }

    #[test]
    fn the_brokers_reason_and_time_are_read() {
        let mut last = FieldTable::default();
        last.insert("reason".into(), AMQPValue::LongString("delivery_limit".into()));
        last.insert("time".into(), AMQPValue::Timestamp(9));
        let mut headers = FieldTable::default();
        headers.insert(DEATHS.into(), AMQPValue::FieldArray(vec![AMQPValue::FieldTable(last)].into()));
        assert_eq!(death_in(&headers), Some(Death { reason: Some("delivery_limit".into()), at: Some(9) }));
        assert_eq!(death_in(&FieldTable::default()), None);
    }
}
