//! Many schedules, on all cores.
//!
//! `SCHEDULES_COUNT` says how many, `SCHEDULES_SEED` from which seed on; `deploy/schedules` sets
//! them. `SCHEDULES_STEPS` cuts each schedule after so many steps, which makes a trace shorter.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::mechanism::Mechanisms;
use crate::schedule::{Scheduler, Violation};

/// What `deploy/test` runs.
const FEW: u64 = 20_000;
/// Seeds that a thread takes at once.
const SHARE: u64 = 500;

/// Calls a function for each item, on all cores; the results are in the order of the items.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], of: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..cores() {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { return };
                    let result = of(item);
                    done.lock().unwrap().push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn asked(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

#[test]
fn no_schedule_breaks_a_law() {
    let (seed, count) = (asked("SCHEDULES_SEED").unwrap_or(0), asked("SCHEDULES_COUNT").unwrap_or(FEW));
    let steps = asked("SCHEDULES_STEPS").and_then(|steps| u32::try_from(steps).ok());
    let began = Instant::now();
    let violation = first_violation(seed, count, steps);
    let rate = count * 1_000_000 / u64::try_from(began.elapsed().as_micros().max(1)).unwrap_or(u64::MAX);
    match violation {
        None => eprintln!("{count} schedules from seed {seed} on, {rate} a second, and no law was broken"),
        Some(violation) => panic!("{}", told(&violation)),
    }
}

/// Runs so many schedules, and says now and then how far it is.
fn first_violation(seed: u64, count: u64, steps: Option<u32>) -> Option<Violation> {
    let next = AtomicU64::new(0);
    let found: Mutex<Option<Violation>> = Mutex::new(None);
    let said = Mutex::new(Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..cores() {
            scope.spawn(|| {
                let mut scheduler = Scheduler::new(Mechanisms::default());
                loop {
                    let from = next.fetch_add(SHARE, Ordering::Relaxed);
                    if from >= count || found.lock().unwrap().is_some() {
                        return;
                    }
                    let mut share = from..count.min(from + SHARE);
                    let broken = share.find_map(|at| scheduler.run(seed.wrapping_add(at), steps).err());
                    if let Some(violation) = broken {
                        found.lock().unwrap().get_or_insert(violation);
                        return;
                    }
                    say_now_and_then(&said, from, count);
                }
            });
        }
    });
    found.into_inner().unwrap()
}

fn say_now_and_then(said: &Mutex<Instant>, done: u64, count: u64) {
    let mut said = said.lock().unwrap();
    if said.elapsed() > Duration::from_secs(10) {
        *said = Instant::now();
        eprintln!("{done} of {count} schedules");
    }
}

/// The violation, how to see it again, and what happened.
fn told(violation: &Violation) -> String {
    let mut scheduler = Scheduler::new(Mechanisms::default());
    let shortest = shortened(&mut scheduler, violation);
    scheduler.world.trace = Some(Vec::new());
    let again = scheduler.run(shortest.seed, Some(shortest.steps));
    assert_eq!(again.err().map(|v| v.what).as_ref(), Some(&shortest.what), "a schedule is not the same twice");
    let trace = scheduler.world.trace.take().unwrap_or_default().join("\n");
    let Violation { seed, steps, what } = shortest;
    format!(
        "a law is broken: {what}\n\n{trace}\n\na law is broken: {what}\n\
         again: deploy/schedules --seed {seed} --count 1 --steps {steps}"
    )
}

/// The fewest steps of the same seed, by halving, after which a law is broken.
fn shortened(scheduler: &mut Scheduler, violation: &Violation) -> Violation {
    let mut best = violation.clone();
    let mut enough = 0;
    while enough < best.steps {
        let half = enough + (best.steps - enough) / 2;
        match scheduler.run(violation.seed, Some(half)) {
            Err(shorter) => best = Violation { steps: half, ..shorter },
            Ok(()) => enough = half + 1,
        }
    }
    best
}
