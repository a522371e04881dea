//! The limits of each user: an admin's override, else a feature flag, else the configuration.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::flags::Flags;
use crate::id::UserId;
use crate::store::{LimitOverride, Store, StoreError};
use crate::usage::limits::TokenLimits;

/// The flag of the daily limit.
pub const DAILY_FLAG: &str = "copilot-daily-token-limit";
/// The flag of the weekly limit.
pub const WEEKLY_FLAG: &str = "copilot-weekly-token-limit";

/// How long another process may not know of an override, so that submits need not ask each time.
const FRESH: Duration = Duration::from_secs(5);

/// Users whose overrides are kept in mind at most.
const KEPT: usize = 10_000;

/// Says what limits apply to whom.
#[derive(Debug, Clone)]
pub struct LimitBook {
    store: Store,
    flags: Flags,
    configured: TokenLimits,
    known: Arc<Mutex<HashMap<UserId, (Instant, LimitOverride)>>>,
}

impl LimitBook {
    /// The limits by configuration, flags, and what admins have written into the store.
    pub fn new(store: Store, flags: Flags, configured: TokenLimits) -> Self {
        Self { store, flags, configured, known: Arc::default() }
    }

    /// A user's limits. While the store is away, those that were known last.
    pub async fn of(&self, user: &UserId) -> Result<TokenLimits, StoreError> {
        let known = self.lock().get(user).copied();
        let own = match known {
            Some((asked, own)) if asked.elapsed() < FRESH => own,
            _ => match (self.store.limit_override(user).await, known) {
                (Ok(own), _) => {
                    self.remember(user, own);
                    own
                }
                (Err(error), Some((_, own))) if error.is_passing() => own,
                (Err(error), _) => return Err(error),
            },
        };
        Ok(self.decide(user, own))
    }

    /// Sets what applies to one user, whatever flags and configuration say.
    pub async fn set(&self, user: &UserId, own: LimitOverride) -> Result<TokenLimits, StoreError> {
        self.store.set_limit_override(user, own).await?;
        self.remember(user, own);
        Ok(self.decide(user, own))
    }

    fn decide(&self, user: &UserId, own: LimitOverride) -> TokenLimits {
        let limit =
            |own: Option<i64>, flag, configured| own.or_else(|| self.flags.tokens(flag, user)).unwrap_or(configured);
        TokenLimits {
            daily: limit(own.daily, DAILY_FLAG, self.configured.daily),
            weekly: limit(own.weekly, WEEKLY_FLAG, self.configured.weekly),
        }
    }

    fn remember(&self, user: &UserId, own: LimitOverride) {
        let mut known = self.lock();
        if known.len() >= KEPT {
            known.retain(|_, (asked, _)| asked.elapsed() < FRESH);
        }
        if known.len() < KEPT {
            known.insert(user.clone(), (Instant::now(), own));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, (Instant, LimitOverride)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
