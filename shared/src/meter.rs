//! May a user spend more tokens, and what have they spent: the windows with everything that decides.

use chrono::{DateTime, Utc};

use crate::clock::Clock;
use crate::id::{TurnId, UserId};
use crate::limits::LimitBook;
use crate::store::StoreError;
use crate::usage::limits::{LimitReached, Reached, TokenLimits, Used};
use crate::usage::window::Window;
use crate::windows::{Reserved, Settled, Standing, StepUse, Then, Windows, WindowsError};

/// What happens while the counters cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FailPolicy {
    /// Nobody may spend.
    Closed,
    /// Everybody may.
    Open,
}

/// Why nothing may be spent.
#[derive(Debug, thiserror::Error)]
pub enum MeterError {
    /// A limit is reached.
    #[error(transparent)]
    Reached(#[from] LimitReached),
    /// The counters cannot be read, and nobody may spend then.
    #[error("the usage counters cannot be read")]
    Unreadable(#[source] WindowsError),
    /// The limits of the user cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The meter of a process.
#[derive(Debug, Clone)]
pub struct Meter {
    windows: Windows,
    limits: LimitBook,
    clock: Clock,
    settings: MeterSettings,
}

/// What the meter decides by.
#[derive(Debug, Clone, Copy)]
pub struct MeterSettings {
    /// What happens while the counters cannot be read.
    pub fail: FailPolicy,
    /// Weighted tokens that a turn reserves beside those of its message.
    pub estimate: i64,
}

/// A user's usage beside their limits, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The moment.
    pub at: DateTime<Utc>,
    /// What the counters say.
    pub standing: Standing,
    /// What may be used.
    pub limits: TokenLimits,
}

impl Meter {
    /// A meter over these windows and limits.
    pub fn new(windows: Windows, limits: LimitBook, clock: Clock, settings: MeterSettings) -> Self {
        Self { windows, limits, clock, settings }
    }

    /// Reserves an estimate for a turn whose message has so many characters, unless a limit is
    /// reached. One call of the counters, none where there is no limit.
    pub async fn reserve(&self, user: &UserId, turn: TurnId, message_chars: usize) -> Result<(), MeterError> {
        let limits = self.limits.of(user).await?;
        if limits.are_off() {
            return Ok(());
        }
        let amount = self.estimate(message_chars);
        match self.windows.reserve(user, turn, amount, limits, self.clock.now()).await {
            Ok(Reserved::Granted) => {
                note_check("granted");
                Ok(())
            }
            Ok(Reserved::Refused(reached)) => {
                note_check(reached.window.as_str());
                Err(reached.into())
            }
            Err(error) => self.unreadable(user, error),
        }
    }

    /// Gives back what a turn has reserved that was not accepted. What cannot be given back now is
    /// found by the reconciler.
    pub async fn release(&self, user: &UserId, turn: TurnId) {
        if let Err(error) = self.windows.release(user, turn).await {
            tracing::warn!(turn.id = %turn, error = &error as &dyn std::error::Error, "a reservation is given back later");
        }
    }

    /// May a turn that is under way make another model call? Only what was used decides: the turn
    /// has its reservation.
    pub async fn check(&self, user: &UserId) -> Result<(), MeterError> {
        let limits = self.limits.of(user).await?;
        if limits.are_off() {
            return Ok(());
        }
        let now = self.clock.now();
        match self.windows.look(user, now).await {
            Ok(standing) => within(limits, standing.used, now),
            Err(error) => self.unreadable(user, error),
        }
    }

    /// The same where the counters were just read: by the settlement of the step before.
    pub async fn check_against(&self, user: &UserId, used: Used) -> Result<(), MeterError> {
        within(self.limits.of(user).await?, used, self.clock.now())
    }

    /// Counts a step, once. Returns what today's and this week's counters say, if it counts there.
    pub async fn settle(&self, user: &UserId, step: &StepUse, then: Then) -> Result<Option<Used>, WindowsError> {
        let now = self.clock.now();
        let settled = self.windows.settle(user, step, then, now).await;
        metrics::counter!("copilot_settlements_total", "outcome" => if settled.is_ok() { "settled" } else { "failed" })
            .increment(1);
        let of_today = Window::Daily.seconds_left(step.used_at, now).is_some();
        Ok(match settled? {
            Settled::Counted(used) if of_today => Some(used),
            Settled::Counted(_) | Settled::Late => None,
        })
    }

    /// A user's settled usage and limits.
    pub async fn read(&self, user: &UserId) -> Result<Reading, MeterError> {
        self.read_at(user, self.clock.now()).await
    }

    /// The same for an operation that began at `at`.
    pub async fn read_at(&self, user: &UserId, at: DateTime<Utc>) -> Result<Reading, MeterError> {
        let limits = self.limits.of(user).await?;
        let standing = self.windows.look(user, at).await.map_err(MeterError::Unreadable)?;
        Ok(Reading { at, standing, limits })
    }

    /// The time.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// What tells it.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The counters themselves.
    pub fn windows(&self) -> &Windows {
        &self.windows
    }

    /// The limits of each user.
    pub fn limits(&self) -> &LimitBook {
        &self.limits
    }

    /// What a turn is likely to weigh: four characters a token, and what every turn costs.
    fn estimate(&self, message_chars: usize) -> i64 {
        let message = i64::try_from(message_chars.div_ceil(4)).unwrap_or(i64::MAX);
        self.settings.estimate.saturating_add(message).clamp(1, crate::usage::weight::HEAVIEST)
    }

    fn unreadable(&self, user: &UserId, error: WindowsError) -> Result<(), MeterError> {
        let passing = error.is_passing();
        match self.settings.fail {
            FailPolicy::Open => {
                tracing::warn!(user.id = %user, error = &error as &dyn std::error::Error, "usage is not checked");
                note_check("unchecked");
                Ok(())
            }
            FailPolicy::Closed => {
                if !passing {
                    tracing::error!(user.id = %user, error = &error as &dyn std::error::Error, "usage cannot be checked");
                }
                note_check("unreadable");
                Err(MeterError::Unreadable(error))
            }
        }
    }
}

fn within(limits: TokenLimits, used: Used, now: DateTime<Utc>) -> Result<(), MeterError> {
    match limits.reached(used) {
        None => Ok(()),
        Some(window) => Err(LimitReached::at(window, now, Reached::Usage).into()),
    }
}

fn note_check(outcome: &'static str) {
    metrics::counter!("copilot_usage_checks_total", "outcome" => outcome).increment(1);
}
