//! The names of the keys.

use chrono::{DateTime, Utc};

use super::Windows;
use crate::id::UserId;
use crate::usage::window::Window;

impl Windows {
    /// A user's counter of the window that `at` lies in.
    pub(super) fn counter_key(&self, window: Window, user: &UserId, at: DateTime<Utc>) -> String {
        self.key(&format!("usage:{}", window.as_str()), user, &format!(":{}", window.name(at)))
    }

    pub(super) fn reserved_key(&self, user: &UserId) -> String {
        self.key("usage:reserved", user, "")
    }

    pub(super) fn settled_key(&self, user: &UserId) -> String {
        self.key("usage:settled", user, "")
    }

    pub(super) fn reset_count_key(&self, user: &UserId, at: DateTime<Utc>) -> String {
        self.key("reset_count", user, &format!(":{}", Window::Daily.name(at)))
    }

    pub(super) fn reset_lock_key(&self, user: &UserId) -> String {
        self.key("reset_lock", user, "")
    }

    pub(super) fn last_reset_key(&self, user: &UserId) -> String {
        self.key("reset_last", user, "")
    }

    /// All reservations, by the time at which they are looked at next.
    pub(super) fn reservations_key(&self) -> String {
        format!("{}usage:reservations", self.prefix)
    }

    /// The same where a script of a user may change it: not in a cluster, where it is in another slot.
    pub(super) fn reservations_key_of_scripts(&self) -> Option<String> {
        (!self.clustered).then(|| self.reservations_key())
    }

    fn key(&self, what: &str, user: &UserId, rest: &str) -> String {
        let prefix = &self.prefix;
        if self.clustered {
            // The keys of a user must be in one slot for the scripts. A name of its own before the
            // id keeps the tag from being empty, which would be none (Redis cluster specification).
            format!("{prefix}{what}:{{user:{user}}}{rest}")
        } else {
            format!("{prefix}{what}:{user}{rest}")
        }
    }
}
