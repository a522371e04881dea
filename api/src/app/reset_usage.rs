//! A paid reset of the day: the eleven outcomes of `usage-tools.md` §1.7, in their order.

use chrono::{DateTime, Utc};
use copilot_shared::credit::Amount;
use copilot_shared::id::UserId;
use copilot_shared::meter::Reading;
use copilot_shared::reset::{Completed, NotCompleted, Why, complete};
use copilot_shared::store::{ChargeError, NewReset, PaidReset, ResetStatus, StoreError};
use copilot_shared::usage::limits::Used;
use copilot_shared::usage::window::Window;
use copilot_shared::windows::{Lock, Standing, WindowsError};
use uuid::Uuid;

use super::App;
use super::read_usage::Usage;

/// A reset that was carried out.
#[derive(Debug, Clone, Copy)]
pub struct ResetDone {
    /// Cents that were taken.
    pub charged: i64,
    /// Cents that were left.
    pub balance: i64,
    /// The usage right after it.
    pub reading: Reading,
}

/// Why there was no reset. Nothing is charged unless it says so; the texts are the reference's.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// There are none to be had.
    #[error("Rate limit reset is not available.")]
    NotAvailable,
    /// Nobody has credits here.
    #[error("Rate limit reset is not available (credit system is disabled).")]
    CreditsDisabled,
    /// There is no limit to be reset.
    #[error("No daily limit is configured — nothing to reset.")]
    NoDailyLimit,
    /// The counters cannot be read.
    #[error("Unable to verify reset eligibility — please try again later.")]
    Unverifiable(#[source] WindowsError),
    /// The day has had all of its resets; seconds until the next one.
    #[error("You've used all {most} resets for today.")]
    Exhausted {
        /// How many a day may have.
        most: i64,
        /// Seconds until the day is over.
        left: u64,
    },
    /// Another one is under way, or nobody knows.
    #[error("A reset is already in progress. Please try again.")]
    InProgress,
    /// The day has room.
    #[error("You have not reached your daily limit yet.")]
    NotReached,
    /// The week is used up.
    #[error("Your weekly limit is also reached. Resetting the daily limit won't help.")]
    WeeklyReached,
    /// The user cannot pay.
    #[error("Insufficient credits to reset your rate limit.")]
    InsufficientCredits,
    /// It was paid, failed, and paid back.
    #[error("Rate limit reset failed — please try again later. Your credits have not been charged.")]
    Failed,
    /// It was paid and failed, and is not paid back yet. The reconciler goes on with it.
    #[error("Rate limit reset failed and the automatic refund also failed. Please contact support for assistance.")]
    FailedUnrefunded,
    /// The database failed. What was paid is found and continued by the next request.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl App {
    /// Resets a user's day for money. The same key charges once and is answered the same; a reset
    /// that was paid and not carried out is continued, whatever the key.
    pub async fn reset_usage(&self, user: &UserId, key: Option<&str>) -> Result<ResetDone, ResetError> {
        let cost = Amount::new(self.usage.reset.cost).ok_or(ResetError::NotAvailable)?;
        if !self.ledger.is_enabled() {
            return Err(ResetError::CreditsDisabled);
        }
        let asked_at = self.usage.meter.now();
        match self.store.reset_to_continue(user, key).await? {
            Some(found) if found.status == ResetStatus::Done => return Ok(done(&found, found.weekly_used)),
            // Paid already: only the lock is needed.
            Some(_) => {}
            None => {
                self.may_have_resets(user, asked_at).await?;
            }
        }
        let windows = self.usage.meter.windows();
        // One that cannot be asked for is not to be had either (row 6).
        let Ok(Some(lock)) = windows.lock_reset(user).await else { return Err(ResetError::InProgress) };
        let outcome = self.reset_under_lock(user, key, cost, asked_at, &lock).await;
        if let Err(error) = windows.unlock_reset(user, &lock).await {
            tracing::debug!(user.id = %user, error = &error as &dyn std::error::Error, "a lock is left to lapse");
        }
        outcome
    }

    async fn reset_under_lock(
        &self,
        user: &UserId,
        key: Option<&str>,
        cost: Amount,
        asked_at: DateTime<Utc>,
        lock: &Lock,
    ) -> Result<ResetDone, ResetError> {
        if let Some(paid) = self.store.reset_to_continue(user, key).await?
            && let Some(done) = self.continue_reset(&paid, key, lock).await?
        {
            return Ok(done);
        }
        let Reading { standing, limits, .. } = self.may_have_resets(user, asked_at).await?;
        if standing.used.daily < limits.daily {
            return Err(ResetError::NotReached);
        }
        if limits.weekly > 0 && standing.used.weekly >= limits.weekly {
            return Err(ResetError::WeeklyReached);
        }
        let id = Uuid::new_v4();
        let key = key.map_or_else(|| id.to_string(), str::to_owned);
        let new = NewReset { id, user: user.clone(), key, asked_at, limits, cost };
        let paid = self.ledger.charge_reset(&new).await?;
        match self.complete_reset(&paid, lock).await {
            Ok(Completed::Now(weekly) | Completed::Before(weekly)) => Ok(done(&paid, Some(weekly))),
            Err(NotCompleted::Refunded(why)) => Err(self.not_reset(why, asked_at)),
            Err(NotCompleted::Unrefunded(_)) => Err(ResetError::FailedUnrefunded),
        }
    }

    /// Goes on with a reset that is paid. `None` if it is out of the way, and another may be bought.
    async fn continue_reset(
        &self,
        paid: &PaidReset,
        key: Option<&str>,
        lock: &Lock,
    ) -> Result<Option<ResetDone>, ResetError> {
        if paid.status == ResetStatus::Done {
            return Ok(Some(done(paid, paid.weekly_used)));
        }
        let is_ours = key == Some(paid.key.as_str());
        match self.complete_reset(paid, lock).await {
            Ok(Completed::Now(weekly)) => Ok(Some(done(paid, Some(weekly)))),
            // What another request was answered, or would have been, is no reset for this one.
            Ok(Completed::Before(weekly)) => Ok(is_ours.then(|| done(paid, Some(weekly)))),
            Err(NotCompleted::Refunded(Why::Failed)) => Err(ResetError::Failed),
            Err(NotCompleted::Refunded(Why::Room | Why::Weekly | Why::Exhausted)) => Ok(None),
            Err(NotCompleted::Unrefunded(_)) => Err(ResetError::FailedUnrefunded),
        }
    }

    async fn complete_reset(&self, paid: &PaidReset, lock: &Lock) -> Result<Completed, NotCompleted> {
        let Usage { meter, reset } = &self.usage;
        complete(&self.store, meter.windows(), meter.clock(), lock, paid, reset.most).await
    }

    /// Rows 3 to 5: is there a limit, can the counters be read, and has the day resets left?
    async fn may_have_resets(&self, user: &UserId, asked_at: DateTime<Utc>) -> Result<Reading, ResetError> {
        let meter = &self.usage.meter;
        let limits = meter.limits().of(user).await?;
        if limits.daily <= 0 {
            return Err(ResetError::NoDailyLimit);
        }
        let standing = meter.windows().look(user, asked_at).await.map_err(ResetError::Unverifiable)?;
        let most = self.usage.reset.most;
        if most > 0 && standing.resets >= most {
            return Err(self.not_reset(Why::Exhausted, asked_at));
        }
        Ok(Reading { at: asked_at, standing, limits })
    }

    fn not_reset(&self, why: Why, asked_at: DateTime<Utc>) -> ResetError {
        match why {
            Why::Room => ResetError::NotReached,
            Why::Weekly => ResetError::WeeklyReached,
            Why::Exhausted => {
                let left = Window::Daily.seconds_left(asked_at, asked_at).unwrap_or(1);
                ResetError::Exhausted { most: self.usage.reset.most, left: left.unsigned_abs() }
            }
            Why::Failed => ResetError::Failed,
        }
    }
}

/// The answer to a reset that was carried out: the same whenever it is given.
fn done(paid: &PaidReset, weekly: Option<i64>) -> ResetDone {
    let used = Used { daily: 0, weekly: weekly.unwrap_or(0) };
    let standing = Standing { used, resets: 0 };
    let reading = Reading { at: paid.asked_at, standing, limits: paid.limits() };
    ResetDone { charged: paid.cost.0, balance: paid.balance.0, reading }
}

impl From<ChargeError> for ResetError {
    fn from(error: ChargeError) -> Self {
        match error {
            ChargeError::Insufficient(_) => Self::InsufficientCredits,
            ChargeError::UnderWay => Self::InProgress,
            ChargeError::Disabled => Self::CreditsDisabled,
            ChargeError::Store(error) => Self::Store(error),
        }
    }
}
