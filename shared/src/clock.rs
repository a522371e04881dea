//! The time of day, as a handle: an operation asks it once, and tests move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};

/// Tells the time.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// Microseconds since 1970, where a test sets the time.
    set: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still until it is [`Self::set`].
    pub fn standing(at: DateTime<Utc>) -> Self {
        Self { set: Some(Arc::new(AtomicI64::new(at.timestamp_micros()))) }
    }

    /// Sets a standing clock, and every copy of it. The machine's clock is left alone.
    pub fn set(&self, at: DateTime<Utc>) {
        if let Some(set) = &self.set {
            set.store(at.timestamp_micros(), Ordering::SeqCst);
        }
    }

    /// The time.
    pub fn now(&self) -> DateTime<Utc> {
        let set = self.set.as_ref().map(|set| set.load(Ordering::SeqCst));
        set.and_then(DateTime::from_timestamp_micros).unwrap_or_else(Utc::now)
    }
}
