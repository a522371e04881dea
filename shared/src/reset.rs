//! A paid reset of a user's day, from the money to the counters: carried out, or taken back.
//!
//! The money and the record of the reset are one transaction. Whoever dies behind it leaves a reset
//! that is paid and not ended; the next request of its user continues it, and so does the
//! reconciler. The counters know the last reset that was carried out, so none is twice.

use std::time::Duration;

use crate::clock::Clock;
use crate::store::{PaidReset, RefundError, Refunded, Store, StoreError};
use crate::windows::{Carried, Lock, ResetOrder, Windows, WindowsError};

/// Longer than a request takes from the money to the counters.
const LEFT_BEHIND_AFTER: Duration = Duration::from_secs(15);

/// How long to wait before the counters are asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// A reset that was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completed {
    /// By this call. This is what the week's counter says.
    Now(i64),
    /// By an earlier one.
    Before(i64),
}

/// Why a reset was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The day has room: it may have ended, or was reset by somebody else.
    Room,
    /// The week is used up as well.
    Weekly,
    /// The day has had all of its resets.
    Exhausted,
    /// The counters could not be changed in time.
    Failed,
}

/// A reset was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum NotCompleted {
    /// The money is back.
    #[error("the reset was not carried out, and the money is back")]
    Refunded(Why),
    /// The money is not back yet: the reconciler goes on.
    #[error("the reset was not carried out, and the money is not back yet")]
    Unrefunded(#[source] RefundError),
}

/// Carries a paid reset out under its lock, or takes it back. `most` resets a day, 0 for any number.
pub async fn complete(
    store: &Store,
    windows: &Windows,
    clock: &Clock,
    lock: &Lock,
    paid: &PaidReset,
    most: i64,
) -> Result<Completed, NotCompleted> {
    let order = ResetOrder { id: paid.id, at: paid.asked_at, limits: paid.limits(), most };
    let why = match carry_out(windows, clock, lock, paid, &order).await {
        Ok(Carried::Now(weekly)) => {
            note_done(store, paid, weekly).await;
            return Ok(Completed::Now(weekly));
        }
        Ok(Carried::Before(weekly)) => {
            note_done(store, paid, weekly).await;
            return Ok(Completed::Before(weekly));
        }
        Ok(Carried::Room) => Why::Room,
        Ok(Carried::Weekly) => Why::Weekly,
        Ok(Carried::Exhausted) => Why::Exhausted,
        Ok(Carried::Unlocked) => Why::Failed,
        Err(error) => {
            tracing::error!(user.id = %paid.user, error = &error as &dyn std::error::Error, "a paid reset failed");
            Why::Failed
        }
    };
    match store.refund_reset(paid).await {
        Ok(Refunded::Back) => Err(NotCompleted::Refunded(why)),
        Ok(Refunded::WasDone(weekly)) => Ok(Completed::Before(weekly)),
        Err(error) => {
            tracing::error!(user.id = %paid.user, error = &error as &dyn std::error::Error, "a failed reset could not be refunded yet");
            Err(NotCompleted::Unrefunded(error))
        }
    }
}

/// Asks until there is an answer, or until no command that was sent can have an effect any more:
/// only then may the money go back.
async fn carry_out(
    windows: &Windows,
    clock: &Clock,
    lock: &Lock,
    paid: &PaidReset,
    order: &ResetOrder,
) -> Result<Carried, WindowsError> {
    loop {
        match windows.carry_out_reset(&paid.user, lock, order, clock.now()).await {
            Err(error) if error.is_passing() && !lock.is_spent() => {
                tracing::warn!(user.id = %paid.user, error = &error as &dyn std::error::Error, "a reset could not be carried out; trying again");
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
}

async fn note_done(store: &Store, paid: &PaidReset, weekly: i64) {
    if let Err(error) = store.finish_reset(paid.id, weekly).await {
        tracing::warn!(user.id = %paid.user, error = &error as &dyn std::error::Error, "a reset is noted as done later");
    }
}

/// Ends resets that nobody ended. Returns how many.
pub async fn end_left_behind(store: &Store, windows: &Windows, clock: &Clock) -> Result<u64, StoreError> {
    let mut ended = 0;
    for paid in store.unfinished_resets(LEFT_BEHIND_AFTER).await? {
        // Held by a request that continues it, or unreachable: it is looked at again.
        let Ok(Some(lock)) = windows.lock_reset(&paid.user).await else { continue };
        let outcome = complete(store, windows, clock, &lock, &paid, 0).await;
        tracing::warn!(user.id = %paid.user, ?outcome, "a reset that was left behind was ended");
        ended += u64::from(!matches!(outcome, Err(NotCompleted::Unrefunded(_))));
        if let Err(error) = windows.unlock_reset(&paid.user, &lock).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a lock is left to lapse");
        }
    }
    Ok(ended)
}
