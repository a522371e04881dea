//! Limits, what is left of them, and what a user who has reached one is told.

use chrono::{DateTime, TimeDelta, Utc};

use super::window::Window;

/// How much a user may use, in weighted tokens; 0 for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLimits {
    /// In a day.
    pub daily: i64,
    /// In a week.
    pub weekly: i64,
}

/// What the counters of a user say, in weighted tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Today.
    pub daily: i64,
    /// This week.
    pub weekly: i64,
}

impl TokenLimits {
    /// Neither window has a limit.
    pub fn are_off(&self) -> bool {
        self.daily <= 0 && self.weekly <= 0
    }

    /// The window that refuses, the day before the week.
    pub fn reached(&self, used: Used) -> Option<Window> {
        if self.daily > 0 && used.daily >= self.daily {
            return Some(Window::Daily);
        }
        (self.weekly > 0 && used.weekly >= self.weekly).then_some(Window::Weekly)
    }
}

/// A user has reached a limit. Its text is the reference's (`usage-tools.md` §1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("You've reached your {} usage limit. Resets in {}.", .window.as_str(), time_left(*.left))]
pub struct LimitReached {
    /// The window that is used up.
    pub window: Window,
    /// How long until it begins anew.
    pub left: TimeDelta,
    /// What refuses: usage, or only what turns in flight have reserved.
    pub by: Reached,
}

/// What reached a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// What was used.
    Usage,
    /// What was used and what turns in flight may yet use.
    Reservations,
}

/// After how many seconds a turn in flight may have given back what it reserved.
const RESERVATIONS_PASS: i64 = 30;

impl LimitReached {
    /// The limit of a window, reached at `now`.
    pub fn at(window: Window, now: DateTime<Utc>, by: Reached) -> Self {
        Self { window, left: window.resets_at(now) - now, by }
    }

    /// After how many seconds another attempt may succeed.
    pub fn retry_after(&self) -> u64 {
        let reset = self.left.num_seconds().max(1);
        let seconds = match self.by {
            Reached::Usage => reset,
            Reached::Reservations => reset.min(RESERVATIONS_PASS),
        };
        u64::try_from(seconds).unwrap_or(1)
    }
}

/// `now`, `59m` or `2h 30m`; minutes are cut, days are not counted.
fn time_left(left: TimeDelta) -> String {
    if left <= TimeDelta::zero() {
        return "now".into();
    }
    let (hours, minutes) = (left.num_hours(), left.num_minutes() % 60);
    if hours > 0 { format!("{hours}h {minutes}m") } else { format!("{minutes}m") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_told_as_the_reference_does() {
        // Appendix A3.
        for (milliseconds, text) in [
            (-5_000, "now"),
            (0, "now"),
            (500, "0m"),
            (59_900, "0m"),
            (60_000, "1m"),
            (3_599_000, "59m"),
            (3_600_000, "1h 0m"),
            (9_000_000, "2h 30m"),
            (86_399_000, "23h 59m"),
            (300_000_000, "83h 20m"),
        ] {
            assert_eq!(time_left(TimeDelta::milliseconds(milliseconds)), text, "{milliseconds} ms");
        }
    }

    #[test]
    fn limits_refuse_at_the_boundary_and_the_day_first() {
        // Appendix A5.
        let limits = TokenLimits { daily: 100, weekly: 500 };
        let reached = |daily, weekly| limits.reached(Used { daily, weekly });
        assert_eq!(reached(99, 499), None);
        assert_eq!(reached(100, 0), Some(Window::Daily));
        assert_eq!(reached(0, 500), Some(Window::Weekly));
        assert_eq!(reached(100, 500), Some(Window::Daily));
        let off = TokenLimits { daily: 0, weekly: 0 };
        assert!(off.are_off());
        assert_eq!(off.reached(Used { daily: i64::MAX, weekly: i64::MAX }), None);
        let weekly = TokenLimits { daily: 0, weekly: 1 };
        assert_eq!(weekly.reached(Used { daily: 9, weekly: 1 }), Some(Window::Weekly));
    }

    #[test]
    fn the_text_names_the_window_and_the_time() {
        let now = "2026-03-26T21:30:00Z".parse().unwrap();
        let reached = LimitReached::at(Window::Daily, now, Reached::Usage);
        assert_eq!(reached.to_string(), "You've reached your daily usage limit. Resets in 2h 30m.");
        assert_eq!(reached.retry_after(), 9_000);
        let weekly = LimitReached::at(Window::Weekly, now, Reached::Usage);
        assert_eq!(weekly.to_string(), "You've reached your weekly usage limit. Resets in 74h 30m.");
        assert_eq!(LimitReached::at(Window::Daily, now, Reached::Reservations).retry_after(), 30);
    }
}
