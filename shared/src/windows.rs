//! Redis: the usage windows of users, what turns in flight have reserved, and paid resets.
//!
//! The counters are the reference's keys (`usage-tools.md` §1.2). Beside them each user has their
//! *reservations* (a hash: turn to amount and time) and the *settled steps* of the week (a set),
//! which make counting a step twice impossible: they are remembered as long as a window is open in
//! which they count, since nobody knows how late a process wakes up that was about to count one.
//! One sorted set of all reservations lets those be found whose turn is gone. Losing all of it costs this week's counts, nothing else.

use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use fred::prelude::*;
use fred::types::scripts::Script;

use crate::id::{TurnId, UserId};
use crate::stream::{StreamError, Streams};
use crate::usage::limits::{LimitReached, Reached, TokenLimits, Used};
use crate::usage::window::Window;

mod keys;
mod reservations;
mod resets;

pub use reservations::Reservation;
pub use resets::{Carried, Lock, ResetOrder};

/// The windows could not be asked, or hold what nobody can read.
#[derive(Debug, thiserror::Error)]
pub enum WindowsError {
    /// The server.
    #[error(transparent)]
    Server(StreamError),
    /// A counter or a reservation that is no number. Nothing was changed.
    #[error("the usage counters of a user cannot be read")]
    Corrupt,
}

impl From<fred::error::Error> for WindowsError {
    fn from(error: fred::error::Error) -> Self {
        Self::Server(error.into())
    }
}

impl From<WindowsError> for StreamError {
    fn from(error: WindowsError) -> Self {
        match error {
            WindowsError::Server(error) => error,
            WindowsError::Corrupt => {
                Self::Broken(fred::error::Error::new(fred::error::ErrorKind::Parse, error.to_string()))
            }
        }
    }
}

impl WindowsError {
    /// The same call may work later. It may also have worked: an answer can be lost.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Server(StreamError::Unavailable(_)))
    }
}

/// A server that takes longer is away: a submit waits for this.
const PATIENCE: Duration = Duration::from_secs(3);

/// A reservation is forgotten after so long, in seconds: longer than any turn.
const RESERVATIONS_KEPT: i64 = 8 * 86_400;

/// The handle to the windows. It shares the connections of the streams.
#[derive(Clone)]
pub struct Windows {
    pool: Pool,
    prefix: String,
    clustered: bool,
}

/// Made once: their hashes are computed then.
static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| {
    let script = |text: &str| Script::from_lua(format!("{}\n{text}", include_str!("windows/counter.lua")));
    Scripts {
        look: script(include_str!("windows/look.lua")),
        reserve: script(include_str!("windows/reserve.lua")),
        settle: script(include_str!("windows/settle.lua")),
        release: Script::from_lua(include_str!("windows/release.lua")),
        reset: script(include_str!("windows/reset.lua")),
        lock: Script::from_lua(include_str!("windows/lock.lua")),
        unlock: Script::from_lua(include_str!("windows/unlock.lua")),
    }
});

struct Scripts {
    look: Script,
    reserve: Script,
    settle: Script,
    release: Script,
    reset: Script,
    lock: Script,
    unlock: Script,
}

impl std::fmt::Debug for Windows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Windows").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// What the counters of a user say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What was used.
    pub used: Used,
    /// Paid resets of the day.
    pub resets: i64,
}

/// What became of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    /// The turn may go ahead.
    Granted,
    /// A limit is reached.
    Refused(LimitReached),
}

/// A step to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct StepUse {
    /// Its turn.
    #[sqlx(rename = "turn_id")]
    pub turn: TurnId,
    /// Which model call of the turn.
    pub step: i32,
    /// What it weighs.
    #[sqlx(rename = "weighted_tokens")]
    pub weighted: i64,
    /// When it was used, which says in which windows it counts.
    pub used_at: DateTime<Utc>,
}

/// Does the turn go on after the step that is settled?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It keeps what is left of its reservation.
    GoesOn,
    /// It has ended: its reservation goes.
    HasEnded,
}

/// What became of a step that was to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is counted, now or by an earlier call, and this is what its windows say.
    Counted(Used),
    /// Its windows are over.
    Late,
}

impl Windows {
    /// The windows behind the connections of `streams`.
    pub fn over(streams: &Streams) -> Self {
        let (pool, prefix, clustered) = streams.connections();
        Self { pool, prefix, clustered }
    }

    /// What the counters of a user say at `now`.
    pub async fn look(&self, user: &UserId, now: DateTime<Utc>) -> Result<Standing, WindowsError> {
        let keys = vec![
            self.counter_key(Window::Daily, user, now),
            self.counter_key(Window::Weekly, user, now),
            self.reset_count_key(user, now),
        ];
        let (word, daily, weekly, resets): (String, i64, i64, i64) = self.run(&SCRIPTS.look, keys, Vec::new()).await?;
        not_corrupt(&word)?;
        Ok(Standing { used: Used { daily, weekly }, resets })
    }

    /// Reserves `amount` for a turn, unless a limit is reached. Refused if what was used and what
    /// other turns have reserved is the limit or more; granted otherwise, however large the amount.
    pub async fn reserve(
        &self,
        user: &UserId,
        turn: TurnId,
        amount: i64,
        limits: TokenLimits,
        now: DateTime<Utc>,
    ) -> Result<Reserved, WindowsError> {
        let mut keys = vec![
            self.counter_key(Window::Daily, user, now),
            self.counter_key(Window::Weekly, user, now),
            self.reserved_key(user),
        ];
        keys.extend(self.reservations_key_of_scripts());
        let args: Vec<Value> = vec![
            limits.daily.max(0).into(),
            limits.weekly.max(0).into(),
            turn.to_string().into(),
            amount.max(1).into(),
            now.timestamp_millis().into(),
            RESERVATIONS_KEPT.into(),
            reservations::member(user, turn).into(),
        ];
        self.note_elsewhere(user, turn, now).await?;
        let (word, daily, weekly, _others): (String, i64, i64, i64) = self.run(&SCRIPTS.reserve, keys, args).await?;
        not_corrupt(&word)?;
        let (window, used, limit) = match word.as_str() {
            "daily" => (Window::Daily, daily, limits.daily),
            "weekly" => (Window::Weekly, weekly, limits.weekly),
            _ => return Ok(Reserved::Granted),
        };
        self.drop_note_elsewhere(user, turn).await?;
        let by = if used >= limit { Reached::Usage } else { Reached::Reservations };
        Ok(Reserved::Refused(LimitReached::at(window, now, by)))
    }

    /// Counts a step once, however often it is called, and takes it off its turn's reservation.
    pub async fn settle(
        &self,
        user: &UserId,
        step: &StepUse,
        then: Then,
        now: DateTime<Utc>,
    ) -> Result<Settled, WindowsError> {
        let Some(weekly_ttl) = Window::Weekly.seconds_left(step.used_at, now) else {
            if then == Then::HasEnded {
                self.release(user, step.turn).await?;
            }
            return Ok(Settled::Late);
        };
        let mut keys = vec![
            self.counter_key(Window::Daily, user, step.used_at),
            self.counter_key(Window::Weekly, user, step.used_at),
            self.reserved_key(user),
            self.settled_key(user),
        ];
        keys.extend(self.reservations_key_of_scripts());
        let args: Vec<Value> = vec![
            step.turn.to_string().into(),
            settled_member(step.turn, step.step).into(),
            step.weighted.max(0).into(),
            Window::Daily.seconds_left(step.used_at, now).unwrap_or(0).into(),
            weekly_ttl.into(),
            i64::from(then == Then::HasEnded).into(),
            reservations::member(user, step.turn).into(),
        ];
        let (word, daily, weekly): (String, i64, i64) = self.run(&SCRIPTS.settle, keys, args).await?;
        not_corrupt(&word)?;
        if then == Then::HasEnded {
            self.drop_note_elsewhere(user, step.turn).await?;
        }
        Ok(Settled::Counted(Used { daily, weekly }))
    }

    async fn run<R: FromValue>(&self, script: &Script, keys: Vec<String>, args: Vec<Value>) -> Result<R, WindowsError> {
        within(script.evalsha_with_reload(self.pool.next(), keys, args)).await
    }
}

fn settled_member(turn: TurnId, step: i32) -> String {
    format!("{turn}:{step}")
}

fn not_corrupt(word: &str) -> Result<(), WindowsError> {
    if word == "corrupt" { Err(WindowsError::Corrupt) } else { Ok(()) }
}

async fn within<T>(ask: impl Future<Output = Result<T, fred::error::Error>>) -> Result<T, WindowsError> {
    // A command of this client is a large future: on the heap it is not part of every caller.
    match tokio::time::timeout(PATIENCE, Box::pin(ask)).await {
        Ok(answer) => Ok(answer?),
        Err(_elapsed) => Err(fred::error::Error::new(fred::error::ErrorKind::Timeout, "no answer in time").into()),
    }
}
