//! The windows in which usage is counted: a UTC day and an ISO week (`usage-tools.md` §1.2).

use chrono::{DateTime, Datelike, TimeDelta, Utc};

/// One of the two windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Window {
    /// From one midnight UTC to the next.
    Daily,
    /// From one Monday, 00:00 UTC, to the next.
    Weekly,
}

impl Window {
    /// The word in keys and texts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
        }
    }

    /// The name of the window that `at` lies in: `2026-03-26`, or `2026-W13` with the ISO year.
    pub fn name(self, at: DateTime<Utc>) -> String {
        let format = match self {
            Self::Daily => "%Y-%m-%d",
            Self::Weekly => "%G-W%V",
        };
        at.format(format).to_string()
    }

    /// When the window that `at` lies in ends. On a Monday that is a week away, never at once.
    pub fn resets_at(self, at: DateTime<Utc>) -> DateTime<Utc> {
        let days = match self {
            Self::Daily => 1,
            Self::Weekly => 7 - i64::from(at.weekday().num_days_from_monday()),
        };
        let midnight = at.date_naive().and_time(chrono::NaiveTime::MIN).and_utc();
        midnight.checked_add_signed(TimeDelta::days(days)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// Whole seconds from `now` until the window that `at` lies in ends, at least one: how long its
    /// counter is kept. `None` once it has ended.
    pub fn seconds_left(self, at: DateTime<Utc>, now: DateTime<Utc>) -> Option<i64> {
        let left = self.resets_at(at) - now;
        (left > TimeDelta::zero()).then(|| left.num_seconds().max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn windows_are_those_of_the_reference() {
        // Appendix A1.
        for (now, key, resets_at, weekly, daily) in [
            ("2026-03-26T13:52:08Z", "2026-W13", "2026-03-30T00:00:00Z", 295_672, 36_472),
            ("2026-03-29T23:59:59Z", "2026-W13", "2026-03-30T00:00:00Z", 1, 1),
            ("2026-03-30T00:00:00Z", "2026-W14", "2026-04-06T00:00:00Z", 604_800, 86_400),
            ("2027-01-01T12:00:00Z", "2026-W53", "2027-01-04T00:00:00Z", 216_000, 43_200),
            ("2024-12-30T08:00:00Z", "2025-W01", "2025-01-06T00:00:00Z", 576_000, 57_600),
        ] {
            let now = at(now);
            assert_eq!(Window::Weekly.name(now), key);
            assert_eq!(Window::Weekly.resets_at(now), at(resets_at));
            assert_eq!(Window::Weekly.seconds_left(now, now), Some(weekly), "{now}");
            assert_eq!(Window::Daily.seconds_left(now, now), Some(daily), "{now}");
        }
    }

    #[test]
    fn a_day_is_named_by_its_date() {
        assert_eq!(Window::Daily.name(at("2026-03-26T00:00:00Z")), "2026-03-26");
        assert_eq!(Window::Daily.name(at("2026-03-26T23:59:59.999Z")), "2026-03-26");
        assert_eq!(Window::Daily.resets_at(at("2026-12-31T23:59:59Z")), at("2027-01-01T00:00:00Z"));
    }

    #[test]
    fn the_last_split_second_still_counts_as_one() {
        let now = at("2026-03-29T23:59:59.999Z");
        assert_eq!(Window::Daily.seconds_left(now, now), Some(1));
    }

    #[test]
    fn what_was_used_before_midnight_counts_in_no_day_after_it_but_in_the_same_week() {
        let (used, now) = (at("2026-03-26T23:59:59.9Z"), at("2026-03-27T00:00:00Z"));
        assert_eq!(Window::Daily.seconds_left(used, now), None);
        assert_eq!(Window::Weekly.seconds_left(used, now), Some(3 * 86_400));
    }
}
