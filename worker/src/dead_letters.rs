//! Messages that nobody could handle: left among the dead letters, and kept in PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use copilot_shared::dead_letter::{DELIVERY_LIMIT, DeadLetter};
use copilot_shared::id::TurnId;
use copilot_shared::queue::DeadLetterDelivery;
use copilot_shared::seal::{SealError, end_without_worker};
use copilot_shared::turn::{ErrorCode, Failure, TurnEnd};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::worker::Worker;

/// How long to wait before a letter is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// Leaves a letter where it cannot be lost: with the broker, else with PostgreSQL, which keeps it
/// once should it have arrived by both ways. False if the process had to stop before either took it.
pub async fn leave(worker: &Worker, letter: &DeadLetter) -> bool {
    loop {
        let Err(broker) = worker.publisher.publish_dead(letter).await else { return true };
        let Err(store) = worker.store.keep_dead_letter(letter).await else { return true };
        tracing::error!(
            letter.id = %letter.id,
            broker = &broker as &dyn std::error::Error,
            store = &store as &dyn std::error::Error,
            "a dead letter could not be left anywhere; trying again"
        );
        if worker.stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
            return false;
        }
    }
}

/// Keeps every letter that comes out of the broker's queue. It is acknowledged once it is kept, and
/// comes again under the same id if this process dies in between.
pub async fn keep(worker: Arc<Worker>, mut letters: mpsc::Receiver<DeadLetterDelivery>, stop: CancellationToken) {
    while let Some(delivery) = letters.recv().await {
        let kept = stop.run_until_cancelled(async {
            while let Err(error) = settle(&worker, &delivery.letter).await {
                tracing::warn!(letter.id = %delivery.letter.id, error = &error as &dyn std::error::Error, "a dead letter could not be kept; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        });
        if Box::pin(kept).await.is_none() {
            return;
        }
        delivery.ack().await;
    }
}

async fn settle(worker: &Worker, letter: &DeadLetter) -> Result<(), SealError> {
    tracing::error!(letter.id = %letter.id, reason = %letter.reason, "a dead letter");
    metrics::counter!("copilot_dead_letters_total", "reason" => letter.reason.clone()).increment(1);
    if letter.reason == DELIVERY_LIMIT
        && let Some(turn) = letter.turn_id
    {
        fail(worker, turn).await?;
    }
    worker.store.keep_dead_letter(letter).await?;
    Ok(())
}

/// Ends a turn whose message was given out too often, unless a worker has the turn by another one.
async fn fail(worker: &Worker, turn: TurnId) -> Result<(), SealError> {
    let Some(row) = worker.store.turn_of_any_session(turn).await? else { return Ok(()) };
    if row.status.is_terminal() || worker.store.is_held(turn).await? {
        return Ok(());
    }
    let failure = Failure::new(ErrorCode::AttemptsExhausted, "The turn could not be started. Please try again.");
    let ended = end_without_worker(&worker.store, &worker.streams, &row, &TurnEnd::Failed(failure)).await?;
    worker.publish(&ended.unwrap_or_default()).await;
    Ok(())
}
