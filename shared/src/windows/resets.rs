//! Emptying windows: the paid reset of a day under its lock, and an admin's reset.

use std::time::Duration;

use chrono::{DateTime, Utc};
use fred::prelude::*;
use tokio::time::Instant;

use super::{Windows, WindowsError, within};
use crate::id::UserId;
use crate::usage::limits::TokenLimits;
#[cfg(feature = "testing")]
use crate::usage::limits::Used;
use crate::usage::window::Window;

/// How long a reset may take, in seconds, before another may begin (`usage-tools.md` §1.2).
const LOCKED_FOR: i64 = 10;

/// How long the last reset is remembered, in seconds: longer than one stays unfinished.
const LAST_KEPT: i64 = 8 * 86_400;

/// How long after its beginning a reset may still be carried out, in milliseconds. Whoever gives
/// up later than that knows that no command of theirs is still to come.
const CARRIED_OUT_WITHIN: i64 = 6_000;

/// The right to reset, until it is freed or lapses. Its token tells whose it is.
#[derive(Debug, Clone)]
pub struct Lock {
    token: String,
    /// When it stops being good for anything, by the server's clock, in milliseconds since 1970.
    deadline: i64,
    taken: Instant,
}

impl Lock {
    /// Is it too late to carry anything out under it?
    pub fn is_spent(&self) -> bool {
        // Some more than the server grants: it counts from before the answer came.
        self.taken.elapsed() > Duration::from_millis(CARRIED_OUT_WITHIN.unsigned_abs() + 500)
    }
}

/// A reset that was paid for.
#[derive(Debug, Clone, Copy)]
pub struct ResetOrder {
    /// Which one: it is carried out once, however often it is asked for.
    pub id: uuid::Uuid,
    /// The moment whose day is reset.
    pub at: DateTime<Utc>,
    /// The limits at that moment.
    pub limits: TokenLimits,
    /// Resets that a day may have; 0 for any number.
    pub most: i64,
}

/// What became of a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// It is carried out. This is what the week's counter says.
    Now(i64),
    /// It was carried out by an earlier call. This is what the week's counter says now.
    Before(i64),
    /// The lock was lost, or it is too late.
    Unlocked,
    /// The day has room: there is nothing to reset.
    Room,
    /// The week is used up as well.
    Weekly,
    /// The day has had all of its resets.
    Exhausted,
}

impl Windows {
    /// Takes a user's lock; `None` while another reset holds it.
    pub async fn lock_reset(&self, user: &UserId) -> Result<Option<Lock>, WindowsError> {
        let token = uuid::Uuid::new_v4().to_string();
        let args = vec![token.as_str().into(), LOCKED_FOR.into()];
        let taken_at: i64 = self.run(&super::SCRIPTS.lock, vec![self.reset_lock_key(user)], args).await?;
        let lock = || Lock { token, deadline: taken_at + CARRIED_OUT_WITHIN, taken: Instant::now() };
        Ok((taken_at > 0).then(lock))
    }

    /// Frees a lock, unless it lapsed and is another's now.
    pub async fn unlock_reset(&self, user: &UserId, lock: &Lock) -> Result<(), WindowsError> {
        let _freed: i64 =
            self.run(&super::SCRIPTS.unlock, vec![self.reset_lock_key(user)], vec![lock.token.as_str().into()]).await?;
        Ok(())
    }

    /// Carries a paid reset out: one step that nothing comes between, once.
    pub async fn carry_out_reset(
        &self,
        user: &UserId,
        lock: &Lock,
        order: &ResetOrder,
        now: DateTime<Utc>,
    ) -> Result<Carried, WindowsError> {
        let Some(day_left) = Window::Daily.seconds_left(order.at, now) else {
            return self.of_an_ended_day(user, order).await;
        };
        let keys = vec![
            self.counter_key(Window::Daily, user, order.at),
            self.counter_key(Window::Weekly, user, order.at),
            self.reset_count_key(user, order.at),
            self.reset_lock_key(user),
            self.last_reset_key(user),
        ];
        let args: Vec<Value> = vec![
            order.id.to_string().into(),
            lock.token.as_str().into(),
            order.limits.daily.into(),
            order.limits.weekly.max(0).into(),
            order.most.into(),
            day_left.into(),
            LAST_KEPT.into(),
            lock.deadline.into(),
        ];
        let (word, weekly): (String, i64) = self.run(&super::SCRIPTS.reset, keys, args).await?;
        super::not_corrupt(&word)?;
        Ok(match word.as_str() {
            "done" => Carried::Now(weekly),
            "known" => Carried::Before(weekly),
            "room" => Carried::Room,
            "weekly" => Carried::Weekly,
            "exhausted" => Carried::Exhausted,
            _ => Carried::Unlocked,
        })
    }

    /// A day that is over has nothing left to empty, whatever its counter says; but the reset may
    /// have been carried out while it lasted, and only the answer was lost.
    async fn of_an_ended_day(&self, user: &UserId, order: &ResetOrder) -> Result<Carried, WindowsError> {
        let last: Option<String> = within(self.pool.next().get(self.last_reset_key(user))).await?;
        if last == Some(order.id.to_string()) {
            return Ok(Carried::Before(self.look(user, order.at).await?.used.weekly));
        }
        Ok(Carried::Room)
    }

    /// Empties a user's day, and the week if that is asked for, whatever they hold.
    pub async fn empty(&self, user: &UserId, windows: &[Window], now: DateTime<Utc>) -> Result<(), WindowsError> {
        let keys: Vec<String> = windows.iter().map(|window| self.counter_key(*window, user, now)).collect();
        let _gone: i64 = within(self.pool.next().del(keys)).await?;
        Ok(())
    }

    /// Sets a user's counters, for tests.
    #[cfg(feature = "testing")]
    pub async fn set_used(&self, user: &UserId, used: Used, now: DateTime<Utc>) -> Result<(), WindowsError> {
        for (window, value) in [(Window::Daily, used.daily), (Window::Weekly, used.weekly)] {
            let ttl = window.seconds_left(now, now).map(Expiration::EX);
            let key = self.counter_key(window, user, now);
            let _set: () = within(self.pool.next().set(key, value, ttl, None, false)).await?;
        }
        Ok(())
    }
}
