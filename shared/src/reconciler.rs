//! Finds and heals what a death left behind: unpublished outbox entries, lapsed leases, overdue
//! turns, stops that nobody carried out, streams without their last chunk, usage that no counter
//! tells, reservations without a turn.
//!
//! Every process runs one. Each step takes rows that others skip, or is harmless when done twice.

use std::time::Duration;

use chrono::Utc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::id::TurnId;
use crate::queue::Publisher;
use crate::reset::end_left_behind;
use crate::seal::{SealError, end_without_worker, seal};
use crate::settlement::{release_orphans, settle_overdue};
use crate::store::{Store, StoreError};
use crate::stream::Streams;
use crate::turn::{ErrorCode, Failure, TurnEnd};
use crate::windows::Windows;

/// How often the outbox and the leases are looked at.
const TICK: Duration = Duration::from_millis(500);
/// Every how many ticks the rarer things are looked at.
const RARE: u32 = 4;
/// Longer than a pool waits before it tries a server again that was away.
const RECONNECT: Duration = Duration::from_secs(3);
/// Longer than the worker and the cancel route take to stop a turn by themselves.
const CANCEL_PATIENCE: Duration = Duration::from_secs(6);
/// Longer than a worker takes from the row's end to the stream's.
const SEAL_PATIENCE: Duration = Duration::from_secs(3);
/// How many entries one look publishes.
const DISPATCH_LIMIT: i64 = 200;

/// What a reconciler works with.
#[derive(Debug, Clone)]
pub struct Reconciler {
    /// PostgreSQL.
    pub store: Store,
    /// Redis.
    pub streams: Streams,
    /// RabbitMQ.
    pub publisher: Publisher,
    /// How long an accepted turn may wait for a worker.
    pub longest_wait: Option<Duration>,
}

impl Reconciler {
    /// Looks again and again until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut count: u32 = 0;
        let mut leases_count_from = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            count = count.wrapping_add(1);
            let look = async {
                if Instant::now() >= leases_count_from && !self.find_lapsed().await? {
                    leases_count_from = Instant::now() + self.until_renewed();
                }
                self.look(count.is_multiple_of(RARE)).await
            };
            if let Err(error) = look.await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the reconciler could not look; trying again");
                leases_count_from = Instant::now() + self.until_renewed();
            }
        }
    }

    /// Nobody could renew while the server was away. Workers do so three times a lease, once they
    /// are connected; none of them is to lose its turns because this process was first.
    fn until_renewed(&self) -> Duration {
        self.store.settings().lease + RECONNECT
    }

    /// False if the leases cannot be judged now.
    async fn find_lapsed(&self) -> Result<bool, StoreError> {
        let found = self.store.enqueue_lapsed().await?;
        count("lapsed_leases", found.unwrap_or(0));
        Ok(found.is_some())
    }

    /// One look at everything but the leases; for tests, and for the loop.
    pub async fn look(&self, rarer_things_too: bool) -> Result<(), SealError> {
        self.dispatch().await?;
        if rarer_things_too {
            count("forgotten_turns", self.store.enqueue_forgotten().await?);
            let stuck = self.store.promote_stuck().await?;
            count("stuck_queues", u64::try_from(stuck.len()).unwrap_or(0));
            self.publish(&stuck).await?;
            self.fail_overdue().await?;
            self.end_uncancelled().await?;
            self.seal_unsealed().await?;
            self.settle().await?;
            self.store.forget_old_keys().await?;
        }
        Ok(())
    }

    /// Publishes turns that may run now; what fails stays in the outbox and is due again.
    pub async fn publish(&self, turns: &[TurnId]) -> Result<(), StoreError> {
        let mut failed = Vec::new();
        for &turn in turns {
            if let Err(error) = self.publisher.publish_turn(turn).await {
                tracing::warn!(turn.id = %turn, error = &error as &dyn std::error::Error, "a turn could not be published yet");
                failed.push(turn);
            }
        }
        if failed.is_empty() { Ok(()) } else { self.store.note_unpublished(&failed).await }
    }

    async fn dispatch(&self) -> Result<(), StoreError> {
        let due = self.store.take_due(DISPATCH_LIMIT).await?;
        count("redispatched_turns", u64::try_from(due.len()).unwrap_or(0));
        self.publish(&due).await
    }

    async fn fail_overdue(&self) -> Result<(), SealError> {
        let Some(longest_wait) = self.longest_wait else { return Ok(()) };
        for turn in self.store.overdue_turns(longest_wait).await? {
            let end =
                TurnEnd::Failed(Failure::new(ErrorCode::QueueTimeout, "No worker was free in time. Please try again."));
            if let Some(next) = end_without_worker(&self.store, &self.streams, &turn, &end).await? {
                count("overdue_turns", 1);
                self.publish(&next).await?;
            }
        }
        Ok(())
    }

    async fn end_uncancelled(&self) -> Result<(), SealError> {
        for turn in self.store.uncancelled_turns(CANCEL_PATIENCE).await? {
            if let Some(next) = end_without_worker(&self.store, &self.streams, &turn, &TurnEnd::Cancelled).await? {
                count("uncancelled_turns", 1);
                self.publish(&next).await?;
            }
        }
        Ok(())
    }

    async fn settle(&self) -> Result<(), SealError> {
        let (windows, now) = (Windows::over(&self.streams), Utc::now());
        count("unsettled_steps", settle_overdue(&self.store, &windows, now).await?);
        count("orphaned_reservations", release_orphans(&self.store, &windows, now).await?);
        count("unfinished_resets", end_left_behind(&self.store, &windows, &Clock::system()).await?);
        let unsettled = u32::try_from(self.store.count_unsettled().await?).unwrap_or(u32::MAX);
        metrics::gauge!("copilot_unsettled_steps").set(unsettled);
        Ok(())
    }

    async fn seal_unsealed(&self) -> Result<(), SealError> {
        for turn in self.store.unsealed_turns(SEAL_PATIENCE).await? {
            if seal(&self.store, &self.streams, &turn).await? {
                count("unsealed_streams", 1);
            }
        }
        Ok(())
    }
}

fn count(what: &'static str, found: u64) {
    if found > 0 {
        metrics::counter!("copilot_reconciled_total", "what" => what).increment(found);
    }
}
