//! From a delivery to a claimed turn, and from the end of its attempt to the settlement.

use std::sync::Arc;
use std::time::Duration;

use copilot_shared::dead_letter::{DeadLetter, GivenUp};
use copilot_shared::id::TurnId;
use copilot_shared::queue::TurnDelivery;
use copilot_shared::seal::end_without_worker;
use copilot_shared::store::{Claim, Claimed};
use copilot_shared::turn::{ErrorCode, Failure, TurnEnd};
use tokio::sync::mpsc;

use crate::dead_letters;
use crate::turn;
use crate::worker::Worker;

/// How often, and how long apart, a redelivered turn is tried again that another worker holds.
const HELD_LOOKS: u32 = 20;
const HELD_PAUSE: Duration = Duration::from_millis(100);

/// Handles deliveries until the intake closes its end. Each runs on its own; the prefetch bounds
/// how many there are.
pub async fn take(worker: Arc<Worker>, mut deliveries: mpsc::Receiver<TurnDelivery>) {
    while let Some(delivery) = deliveries.recv().await {
        let worker = Arc::clone(&worker);
        let tasks = worker.tasks.clone();
        tasks.spawn(async move { handle(worker, delivery).await });
    }
}

async fn handle(worker: Arc<Worker>, delivery: TurnDelivery) {
    tracing::debug!(redelivered = delivery.redelivered, "a delivery arrived");
    match &delivery.message {
        Ok(message) => run(&worker, message.turn_id, delivery).await,
        Err(_) => Box::pin(bury(&worker, delivery)).await,
    }
}

async fn run(worker: &Arc<Worker>, turn: TurnId, delivery: TurnDelivery) {
    let mut found = claim(worker, turn, delivery.redelivered).await;
    // The broker can know of a death before PostgreSQL has ended the dead worker's session.
    for _ in 0..HELD_LOOKS {
        match &found {
            Some(Claim::Held(holder)) if *holder != worker.id && delivery.redelivered => {}
            _ => break,
        }
        tokio::time::sleep(HELD_PAUSE).await;
        found = claim(worker, turn, true).await;
    }
    match found {
        Some(Claim::Claimed(claimed)) => attempt(worker, *claimed, delivery).await,
        Some(Claim::Held(holder)) if holder == worker.id && delivery.redelivered => {
            if let Some(delivery) = worker.running.adopt(turn, delivery) {
                delivery.ack().await;
            }
        }
        Some(Claim::Held(_) | Claim::NotReady | Claim::Ended(_) | Claim::Missing) => delivery.ack().await,
        None => delivery.requeue().await,
    }
}

/// Claims a turn, waiting for PostgreSQL as long as the process lives. `None` when it stops first.
async fn claim(worker: &Worker, turn: TurnId, redelivered: bool) -> Option<Claim> {
    loop {
        match worker.store.claim(turn, worker.id, redelivered).await {
            Ok(claim) => return Some(claim),
            Err(error) => {
                tracing::warn!(turn.id = %turn, error = &error as &dyn std::error::Error, "a turn could not be claimed; trying again");
            }
        }
        tokio::select! {
            () = worker.stop.cancelled() => return None,
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
    }
}

async fn attempt(worker: &Arc<Worker>, claimed: Claimed, delivery: TurnDelivery) {
    let (turn, attempt) = (claimed.turn.id, claimed.turn.attempt);
    let body = delivery.body.clone();
    let span = tracing::info_span!("turn", turn.id = %turn, attempt = attempt.0, otel.kind = "consumer");
    delivery.trace.adopt(&span);
    let exhausted = claimed.losses > turn::MAX_LOSSES;
    let (signals, replaced) = worker.running.enter(turn, attempt, delivery);
    if let Some(delivery) = replaced {
        delivery.ack().await;
    }
    if claimed.cancel_requested {
        signals.cancel.cancel();
    }
    // The turn may have been claimed after the shutdown began, and the call to hand back missed.
    if worker.grace_over.is_cancelled() {
        signals.hand_back.cancel();
    }
    tracing::debug!(turn.id = %turn, attempt = attempt.0, losses = claimed.losses, "a turn was claimed");
    metrics::counter!("copilot_attempts_total").increment(1);
    turn::run(worker, claimed, signals, span).await;
    if exhausted {
        let letter = DeadLetter::give_up(Some(turn), body, GivenUp::AttemptsExhausted);
        if !dead_letters::leave(worker, &letter).await {
            tracing::error!(turn.id = %turn, "a dead letter was lost with this process; the turn's row says what it said");
        }
    }
    if let Some(delivery) = worker.running.leave(turn, attempt) {
        delivery.ack().await;
    }
}

/// A message that nobody can read closes the turn that it names, and lies with the dead letters.
async fn bury(worker: &Worker, delivery: TurnDelivery) {
    tracing::error!("a message in the queue of turns cannot be read");
    let named = delivery.message.as_ref().map_or_else(|error| error.turn_id, |message| Some(message.turn_id));
    if let Some(turn) = named {
        close(worker, turn).await;
    }
    let letter = DeadLetter::give_up(named, delivery.body.clone(), GivenUp::UnreadableMessage);
    if dead_letters::leave(worker, &letter).await {
        delivery.ack().await;
    } else {
        delivery.requeue().await;
    }
}

async fn close(worker: &Worker, turn: TurnId) {
    let end =
        TurnEnd::Failed(Failure::new(ErrorCode::UnreadableMessage, "The turn could not be started. Please try again."));
    let closed = async {
        let Some(row) = worker.store.turn_of_any_session(turn).await? else { return Ok(None) };
        end_without_worker(&worker.store, &worker.streams, &row, &end).await
    };
    match closed.await {
        Ok(next) => worker.publish(&next.unwrap_or_default()).await,
        Err(error) => {
            tracing::error!(turn.id = %turn, error = &error as &dyn std::error::Error, "an unreadable turn could not be closed");
        }
    }
}
