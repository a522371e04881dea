//! The keys of an identity provider (RFC 7517), by their ids: kept, and read again when they are
//! old or when a token names a key that is not among them.
//!
//! What a stranger can cause is bounded: one fetch in `REST`, whatever ids tokens name and however
//! quickly their bearers hang up, since a fetch belongs to the ring and not to a request.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::token::VerifyKey;

mod address;
mod fetch;
mod keys;

pub use address::{JwksAddress, JwksAddressError, Transport};
pub use fetch::ClientError;

/// The time from one fetch to the next, at least.
const REST: Duration = Duration::from_secs(10);

/// How long a request waits for a fetch; longer than a fetch may take.
const PATIENCE: Duration = Duration::from_secs(6);

/// How often it is looked whether the keys are old.
const LOOK: Duration = Duration::from_secs(1);

/// Tells the time; tests have one of their own.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

type Keys = HashMap<String, Arc<VerifyKey>>;

/// The provider's keys. Cheap to clone; all clones are one ring.
#[derive(Clone)]
pub struct KeyRing(Arc<Ring>);

struct Ring {
    fetcher: fetch::Fetcher,
    oldest: Duration,
    clock: Clock,
    state: RwLock<State>,
    /// Counts the fetches that have ended.
    ended: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// The keys as they were last read; absent until they were.
    keys: Option<Keys>,
    read_at: Option<Instant>,
    begun_at: Option<Instant>,
    is_fetching: bool,
}

/// The keys were never read, and may be after so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeysAway {
    pub(super) retry_after: u64,
}

/// What is done for a key that is not there.
#[derive(Debug, PartialEq, Eq)]
enum Refresh {
    Begin,
    Await,
    TooSoon,
}

impl State {
    fn refresh(&self, now: Instant) -> Refresh {
        match self.begun_at {
            // A fetch cannot last so long: one that seems to has died.
            Some(begun) if now.duration_since(begun) < REST => {
                if self.is_fetching {
                    Refresh::Await
                } else {
                    Refresh::TooSoon
                }
            }
            _ => Refresh::Begin,
        }
    }

    fn is_old(&self, now: Instant, oldest: Duration) -> bool {
        self.read_at.is_none_or(|read| now.duration_since(read) >= oldest)
    }

    fn rests_for(&self, now: Instant) -> u64 {
        let rested = self.begun_at.map_or(REST, |begun| now.duration_since(begun));
        REST.saturating_sub(rested).as_secs() + 1
    }
}

impl KeyRing {
    /// The keys at an address, which are read again once they are as old as `oldest`.
    pub fn new(address: JwksAddress, oldest: Duration) -> Result<Self, ClientError> {
        Self::with_clock(address, oldest, Arc::new(Instant::now))
    }

    /// The same, by another clock.
    pub fn with_clock(address: JwksAddress, oldest: Duration, clock: Clock) -> Result<Self, ClientError> {
        let fetcher = fetch::Fetcher::new(address)?;
        let ended = watch::Sender::new(0);
        Ok(Self(Arc::new(Ring { fetcher, oldest, clock, state: RwLock::default(), ended })))
    }

    /// Reads the keys at once, and again whenever they are old, until `stop`: a key that was taken
    /// back must not live on because nobody asked for another.
    pub async fn keep_fresh(self, stop: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            self.refresh_if_old().await;
        }
    }

    /// Reads the keys if they are old, and if it is not too soon.
    pub async fn refresh_if_old(&self) {
        if self.read_state(|state, now| state.is_old(now, self.0.oldest)) {
            self.refresh().await;
        }
    }

    /// The key of this id. One that is not there is looked for at the provider.
    pub(super) async fn find(&self, kid: &str) -> Result<Option<Arc<VerifyKey>>, KeysAway> {
        if let Ok(Some(key)) = self.known(kid) {
            return Ok(Some(key));
        }
        self.refresh().await;
        self.known(kid)
    }

    fn known(&self, kid: &str) -> Result<Option<Arc<VerifyKey>>, KeysAway> {
        self.read_state(|state, now| match &state.keys {
            Some(keys) => Ok(keys.get(kid).cloned()),
            None => Err(KeysAway { retry_after: state.rests_for(now) }),
        })
    }

    async fn refresh(&self) {
        // Before the decision, so that an end in between is seen.
        let mut ended = self.0.ended.subscribe();
        match self.begin() {
            Refresh::TooSoon => return,
            Refresh::Begin => {
                let ring = Arc::clone(&self.0);
                tokio::spawn(async move { ring.fetch().await });
            }
            Refresh::Await => {}
        }
        if tokio::time::timeout(PATIENCE, ended.changed()).await.is_err() {
            tracing::warn!("a fetch of JWT_JWKS_URL did not end in time");
        }
    }

    fn begin(&self) -> Refresh {
        let now = (self.0.clock)();
        let mut state = self.0.state.write().unwrap_or_else(PoisonError::into_inner);
        let refresh = state.refresh(now);
        if refresh == Refresh::Begin {
            state.begun_at = Some(now);
            state.is_fetching = true;
        }
        refresh
    }

    fn read_state<T>(&self, read: impl FnOnce(&State, Instant) -> T) -> T {
        let now = (self.0.clock)();
        read(&self.0.state.read().unwrap_or_else(PoisonError::into_inner), now)
    }
}

impl Ring {
    async fn fetch(&self) {
        let fetched = self.fetcher.fetch().await;
        {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            state.is_fetching = false;
            match fetched {
                Ok(keys) => {
                    state.keys = Some(keys);
                    state.read_at = state.begun_at;
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "JWT_JWKS_URL could not be read; the last known keys stay");
                }
            }
        }
        self.ended.send_modify(|count| *count += 1);
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(begun_at: Instant, is_fetching: bool) -> State {
        State { begun_at: Some(begun_at), is_fetching, ..State::default() }
    }

    #[test]
    fn one_fetch_in_ten_seconds_and_requests_wait_for_it() {
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        assert_eq!(State::default().refresh(start), Refresh::Begin);
        assert_eq!(state(start, true).refresh(at(1.0)), Refresh::Await);
        assert_eq!(state(start, false).refresh(at(9.9)), Refresh::TooSoon);
        assert_eq!(state(start, false).refresh(at(10.0)), Refresh::Begin);
        assert_eq!(state(start, true).refresh(at(10.0)), Refresh::Begin, "a fetch that died blocks nobody");
    }

    #[test]
    fn keys_are_old_by_when_they_were_read() {
        let start = Instant::now();
        let oldest = Duration::from_mins(10);
        assert!(State::default().is_old(start, oldest));
        let read = State { read_at: Some(start), ..State::default() };
        assert!(!read.is_old(start + Duration::from_secs(599), oldest));
        assert!(read.is_old(start + oldest, oldest));
    }

    #[test]
    fn nobody_is_told_to_come_back_before_the_next_fetch() {
        let start = Instant::now();
        assert_eq!(state(start, false).rests_for(start + Duration::from_secs(3)), 8);
        assert_eq!(state(start, false).rests_for(start + Duration::from_mins(1)), 1);
    }
}
