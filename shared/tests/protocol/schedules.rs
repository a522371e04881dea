//! Many schedules.
use crate::mechanism::Mechanisms;
use crate::schedule::Scheduler;

#[test]
fn no_schedule_breaks_a_law() {
    let count: u64 = std::env::var("SCHEDULES").map_or(2000, |n| n.parse().unwrap());
    let seed: u64 = std::env::var("SEED").map_or(0, |n| n.parse().unwrap());
    let steps: Option<u32> = std::env::var("STEPS").ok().map(|n| n.parse().unwrap());
    let mut scheduler = Scheduler::new(Mechanisms::default());
    let began = std::time::Instant::now();
    let mut kinds = std::collections::BTreeMap::<String, (u64, u64, String)>::new();
    for at in seed..seed + count {
        if count == 1 {
            scheduler.world.trace = Some(Vec::new());
        }
        if let Err(v) = scheduler.run(at, steps) {
            let key: String = v.what.chars().filter(|c| !c.is_ascii_digit()).take(60).collect();
            let e = kinds.entry(key).or_insert((0, v.seed, v.what.clone()));
            e.0 += 1;
            if count == 1 {
                for l in scheduler.world.trace.take().unwrap() {
                    eprintln!("{l}");
                }
                eprintln!("{v:?}");
            }
        }
    }
    eprintln!("{} schedules, {:.0}/s", count, count as f64 / began.elapsed().as_secs_f64());
    for (n, s, w) in kinds.values() {
        eprintln!("{n} × (seed {s}): {w}");
    }
    assert!(kinds.is_empty());
}
