//! What a user has used, and what they may use.

use copilot_shared::id::UserId;
use copilot_shared::meter::{Meter, MeterError, Reading};

use super::App;

/// What usage is measured and sold by.
#[derive(Debug, Clone)]
pub struct Usage {
    /// The counters and limits.
    pub meter: Meter,
    /// What a paid reset of the day costs.
    pub reset: ResetTerms,
}

/// On what terms users may have their day reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResetTerms {
    /// Cents for one; 0 if there are none to be had.
    pub cost: i64,
    /// How many a day may have; 0 for any number.
    pub most: i64,
}

impl App {
    /// A user's settled usage: what turns in flight have reserved is not in it.
    pub async fn read_usage(&self, user: &UserId) -> Result<Reading, MeterError> {
        self.usage.meter.read(user).await
    }

    /// On what terms users may have their day reset.
    pub fn reset_terms(&self) -> ResetTerms {
        self.usage.reset
    }
}
