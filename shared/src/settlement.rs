//! Bringing the counters up to what PostgreSQL knows, where whoever should have done so could not.
//!
//! A step is committed together with a note that it is unsettled. Counting it and deleting the note
//! are two acts in two servers: whoever dies in between leaves the note, and the counter remembers
//! the step, so that the next one deletes the note and counts nothing.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};

use crate::id::TurnId;
use crate::store::{Store, StoreError, UnsettledStep};
use crate::turn::Turn;
use crate::windows::{Settled, Then, Windows, WindowsError};

/// Something could not be settled for the moment.
#[derive(Debug, thiserror::Error)]
pub enum SettlementError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The counters could not be asked.
    #[error(transparent)]
    Windows(#[from] WindowsError),
}

impl SettlementError {
    /// The same call may work later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Store(error) => error.is_passing(),
            Self::Windows(error) => error.is_passing(),
        }
    }
}

/// How long a submit may take from its reservation to its row. After that a reservation without a
/// turn in flight belongs to nobody.
const SUBMITTED_WITHIN: TimeDelta = TimeDelta::seconds(20);

/// How many things one look settles.
const LIMIT: i64 = 200;

/// Counts what is left of an ended turn and gives its reservation back.
pub async fn settle_ended(
    store: &Store,
    windows: &Windows,
    turn: &Turn,
    now: DateTime<Utc>,
) -> Result<(), SettlementError> {
    let steps = store.unsettled_of_turn(turn.id).await?;
    settle_all(store, windows, &steps, now).await?;
    if let Some(user) = &turn.user_id {
        windows.release(user, turn.id).await?;
    }
    Ok(())
}

/// Counts steps that are overdue. Returns how many.
pub async fn settle_overdue(store: &Store, windows: &Windows, now: DateTime<Utc>) -> Result<u64, SettlementError> {
    let steps = store.take_unsettled(LIMIT).await?;
    settle_all(store, windows, &steps, now).await
}

/// Gives back what was reserved for turns that are not in flight. Returns how many there were.
pub async fn release_orphans(store: &Store, windows: &Windows, now: DateTime<Utc>) -> Result<u64, SettlementError> {
    let old = windows.take_old_reservations(SUBMITTED_WITHIN, LIMIT, now).await?;
    if old.is_empty() {
        return Ok(0);
    }
    let turns: Vec<TurnId> = old.iter().map(|reservation| reservation.turn).collect();
    let in_flight: HashSet<TurnId> = store.in_flight_of(&turns).await?.into_iter().collect();
    let mut released = 0;
    for orphan in old.iter().filter(|reservation| !in_flight.contains(&reservation.turn)) {
        match windows.release(&orphan.user, orphan.turn).await {
            Ok(()) => released += 1,
            Err(error) if error.is_passing() => return Err(error.into()),
            Err(error) => {
                tracing::error!(user.id = %orphan.user, error = &error as &dyn std::error::Error, "a reservation cannot be given back");
            }
        }
    }
    Ok(released)
}

async fn settle_all(
    store: &Store,
    windows: &Windows,
    steps: &[UnsettledStep],
    now: DateTime<Utc>,
) -> Result<u64, SettlementError> {
    let mut counted = Vec::with_capacity(steps.len());
    for UnsettledStep { user_id, used } in steps {
        match windows.settle(user_id, used, Then::GoesOn, now).await {
            Ok(Settled::Counted(_)) => {}
            Ok(Settled::Late) => {
                tracing::warn!(turn.id = %used.turn, step = used.step, "a step was settled when its week was over");
            }
            Err(error) if error.is_passing() => return Err(error.into()),
            // Others need not wait until somebody has put these counters right.
            Err(error) => {
                tracing::error!(user.id = %user_id, turn.id = %used.turn, error = &error as &dyn std::error::Error, "usage cannot be counted");
                continue;
            }
        }
        counted.push((used.turn, used.step));
    }
    if !counted.is_empty() {
        store.note_settled(&counted).await?;
    }
    Ok(u64::try_from(counted.len()).unwrap_or(0))
}
