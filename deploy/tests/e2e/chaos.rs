//! Whatever dies: every accepted turn ends once, nothing of it is lost and nothing is doubled.
//!
//! Real binaries behind networks that break; users who send, stop, leave and come back at random;
//! kills, freezes, deploys, outages and lost data at random; and at the end a judge who reads every
//! row and every stream. `CHAOS_SEED` repeats the decisions of a run (not its timing),
//! `CHAOS_MINUTES` makes it longer; `deploy/chaos` does both.
#![expect(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    reason = "a test fails by panicking, and tells how it went on its way"
)]

mod arena;
mod faults;
mod found;
mod judge;
mod ledger;
mod load;
mod minds;
mod proxy;
mod report;
mod script;
mod sender;
mod watcher;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use self::arena::Arena;
use self::ledger::Ledger;

const SHORT_RUN: Duration = Duration::from_secs(25);
/// After the last fault everything must have ended within this.
const SETTLES_WITHIN: Duration = Duration::from_mins(1);
/// Who sends, and in how many sessions each. The first of them are nobody: their sessions have no owner.
const USERS: usize = 5;
const NOBODIES: usize = 1;
const SESSIONS_PER_USER: usize = 3;
/// When submits are counted, more sessions send them, and this is the longest that it may take.
const SESSIONS_OF_A_COUNT: usize = 60;
const LONGEST_COUNT: Duration = Duration::from_mins(45);

/// One run.
pub struct Chaos {
    pub arena: Arena,
    pub ledger: Ledger,
    /// How long users send and things break.
    pub load: Load,
    began: Instant,
    accepted: AtomicU64,
    /// Since when nothing is sent and nothing breaks any more.
    quiet_since: watch::Sender<Option<Instant>>,
}

/// How long users send.
#[derive(Debug, Clone, Copy)]
pub enum Load {
    /// For so long.
    Lasting(Duration),
    /// Until so many submits are accepted.
    Submits(u64),
}

impl Load {
    fn from_env() -> Self {
        if let Ok(count) = std::env::var("CHAOS_SUBMITS") {
            return Self::Submits(count.parse().expect("CHAOS_SUBMITS is a number"));
        }
        Self::Lasting(std::env::var("CHAOS_MINUTES").map_or(SHORT_RUN, |minutes| {
            Duration::from_secs_f64(60.0 * minutes.parse::<f64>().expect("CHAOS_MINUTES is a number"))
        }))
    }

    /// The longest that things break.
    fn longest(self) -> Duration {
        match self {
            Self::Lasting(lasts) => lasts,
            Self::Submits(_) => LONGEST_COUNT,
        }
    }

    fn sessions(self) -> usize {
        match self {
            Self::Lasting(_) => USERS * SESSIONS_PER_USER,
            Self::Submits(_) => SESSIONS_OF_A_COUNT,
        }
    }
}

impl Chaos {
    fn new(arena: Arena, load: Load) -> Self {
        Self {
            arena,
            ledger: Ledger::default(),
            load,
            began: Instant::now(),
            accepted: AtomicU64::new(0),
            quiet_since: watch::Sender::new(None),
        }
    }

    /// A user was told that a message is accepted.
    pub fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Have users sent enough?
    pub fn is_quiet(&self) -> bool {
        self.began.elapsed() >= self.load.longest()
            || matches!(self.load, Load::Submits(count) if self.accepted.load(Ordering::Relaxed) >= count)
    }

    async fn until_quiet(&self) {
        while !self.is_quiet() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Until then everything must have ended; as far as is known now.
    pub fn settled_by(&self) -> Instant {
        self.quiet_since.borrow().unwrap_or_else(|| self.began + self.load.longest()) + SETTLES_WITHIN
    }

    /// Waits for something that must have happened when everything has ended.
    pub async fn in_time<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut quiet_since = self.quiet_since.subscribe();
        let out_of_time = async {
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(self.settled_by()) => return,
                    _ = quiet_since.changed() => {}
                }
            }
        };
        tokio::select! {
            done = future => Some(done),
            () = out_of_time => None,
        }
    }
}

fn seed() -> u64 {
    std::env::var("CHAOS_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("CHAOS_SEED is a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_dies_nothing_is_lost_and_nothing_is_doubled() {
    let (seed, load) = (seed(), Load::from_env());
    eprintln!("chaos: seed {seed}, {load:?}");
    let mut rng = StdRng::seed_from_u64(seed);
    let chaos = Arc::new(Chaos::new(Arena::start().await, load));
    let plan = faults::plan(&mut rng, load.longest());
    let users: Vec<_> = (0..load.sessions())
        .map(|n| tokio::spawn(load::drive(Arc::clone(&chaos), name(n % USERS), rng.random())))
        .collect();
    // What has begun to break is mended, also when there have been submits enough.
    tokio::join!(faults::inject(&chaos, plan), chaos.until_quiet());
    chaos.quiet_since.send_replace(Some(Instant::now()));
    // A viewer may sit out the whole time and half a minute of silence on top of it.
    let patience = chaos.settled_by() + Duration::from_secs(35);
    for user in users {
        match timeout_at(patience, user).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => chaos.ledger.violation(format!("a user met something impossible: {error}")),
            Err(_elapsed) => chaos.ledger.violation("a user still waits for the end of a turn"),
        }
    }
    judge::judge(&chaos).await;
    report::print(&chaos, seed).await;
    let violations = chaos.ledger.violations();
    assert!(violations.is_empty(), "seed {seed}: {} violations:\n{}", violations.len(), violations.join("\n"));
}

fn name(n: usize) -> String {
    if n < NOBODIES { "nobody".into() } else { format!("user-{n}") }
}
