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
mod proxy;
mod report;
mod script;
mod sender;
mod watcher;

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, timeout_at};

use self::arena::Arena;
use self::ledger::Ledger;

const SHORT_RUN: Duration = Duration::from_secs(25);
/// After the last fault everything must have ended within this.
const SETTLES_WITHIN: Duration = Duration::from_mins(1);
const USERS: usize = 4;
const SESSIONS_PER_USER: usize = 3;

/// One run.
pub struct Chaos {
    pub arena: Arena,
    pub ledger: Ledger,
    /// Until then users send and things break.
    pub quiet_from: Instant,
    /// Until then everything must have ended.
    pub settled_by: Instant,
}

fn seed() -> u64 {
    std::env::var("CHAOS_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("CHAOS_SEED is a number"))
}

fn duration() -> Duration {
    std::env::var("CHAOS_MINUTES").map_or(SHORT_RUN, |minutes| {
        Duration::from_secs_f64(60.0 * minutes.parse::<f64>().expect("CHAOS_MINUTES is a number"))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_dies_nothing_is_lost_and_nothing_is_doubled() {
    let (seed, lasts) = (seed(), duration());
    eprintln!("chaos: seed {seed}, {lasts:?} of load");
    let mut rng = StdRng::seed_from_u64(seed);
    let arena = Arena::start().await;
    let began = Instant::now();
    let chaos = Arc::new(Chaos {
        arena,
        ledger: Ledger::default(),
        quiet_from: began + lasts,
        settled_by: began + lasts + SETTLES_WITHIN,
    });
    let plan = faults::plan(&mut rng, lasts);
    let users: Vec<_> = (0..USERS * SESSIONS_PER_USER)
        .map(|n| tokio::spawn(load::drive(Arc::clone(&chaos), format!("user-{}", n % USERS), rng.random())))
        .collect();
    faults::inject(&chaos, plan).await;
    // A viewer may sit out the whole time and half a minute of silence on top of it.
    let patience = chaos.settled_by.max(Instant::now() + SETTLES_WITHIN) + Duration::from_secs(35);
    for user in users {
        match timeout_at(patience, user).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => chaos.ledger.violation(format!("a user met something impossible: {error}")),
            Err(_elapsed) => chaos.ledger.violation("a user still waits for the end of a turn"),
        }
    }
    judge::judge(&chaos).await;
    report::print(&chaos, seed, lasts).await;
    let violations = chaos.ledger.violations();
    assert!(violations.is_empty(), "seed {seed}: {} violations:\n{}", violations.len(), violations.join("\n"));
}
