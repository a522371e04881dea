//! Keeping leases: one statement for all turns of the process, three times a lease.

use std::collections::HashMap;
use std::time::Duration;

use copilot_shared::id::WorkerId;
use copilot_shared::store::{Renewal, Store};
use tokio_util::sync::CancellationToken;

use crate::running::{Held, Running};

/// A row learns within this that the stream of its turn has begun: one that is lost together with its
/// worker before then looks like one that never began.
const FIRST_NOTE: Duration = Duration::from_millis(200);

/// Renews until `stop`. What is found lost stops at once; what is found cancelled was missed by
/// the fanout. While PostgreSQL cannot be asked nobody else can claim a turn either, so turns
/// just run on.
pub async fn keep(store: Store, worker: WorkerId, running: Running, stop: CancellationToken) {
    let mut ticks = every(store.settings().lease / 3);
    let mut first_notes = every(FIRST_NOTE);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = first_notes.tick() => renew(&store, worker, &running, running.newly_begun()).await,
            _ = ticks.tick() => {
                metrics::gauge!("copilot_running_turns").set(u32::try_from(running.len()).unwrap_or(u32::MAX));
                renew(&store, worker, &running, running.held()).await;
                for delivery in running.take_old_deliveries() {
                    delivery.ack().await;
                }
            }
        }
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}

async fn renew(store: &Store, worker: WorkerId, running: &Running, held: Vec<Held>) {
    if held.is_empty() {
        return;
    }
    let renewed = match store.renew(worker, &held).await {
        Ok(renewed) => renewed.into_iter().collect::<HashMap<_, _>>(),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "leases could not be renewed; trying again");
            return;
        }
    };
    for held in held {
        let (turn, attempt, _) = held;
        match renewed.get(&turn) {
            Some(Renewal::Kept) => running.renewed(held),
            Some(Renewal::ToStop) => {
                running.cancel(turn);
            }
            Some(Renewal::PassedOver) => {}
            // A turn that ended between the two statements is not there either; it is leaving.
            None => running.lose(turn, attempt),
        }
    }
}

/// Holds the sign of this worker's life, and takes it again whenever its connection breaks.
pub async fn show_life(
    store: Store,
    worker: WorkerId,
    alive: tokio::sync::watch::Sender<bool>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        match store.lock_worker(worker).await {
            Ok(mut lock) => {
                alive.send_replace(true);
                loop {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(Duration::from_secs(1)) => {}
                    }
                    if let Err(error) = lock.check().await {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the sign of life was lost; taking it again"
                        );
                        break;
                    }
                }
                alive.send_replace(false);
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "no sign of life could be given; trying again"
                );
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
    }
}
