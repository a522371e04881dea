//! The model decides as the real statements and scripts do: the same random operations are carried
//! out by both, and after each one the answers, every row and every stream must be the same.
//!
//! `CONFORMANCE_COUNT` says how many sequences, `CONFORMANCE_SEED` from which seed on.

mod counters;
mod names;
mod operations;
mod pair;
mod real;
mod rows;
mod state;
mod told;

use copilot_shared::testing::Services;

use crate::dice::Dice;
use operations::Operation;
use pair::Pair;

/// Sequences, and operations of each.
const SEQUENCES: u64 = 12;
const OPERATIONS: u32 = 120;

fn asked(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

#[tokio::test]
async fn the_model_decides_as_the_servers_do() {
    let services = Services::isolated().await;
    let mut pair = Box::pin(Pair::new(&services)).await;
    let first = asked("CONFORMANCE_SEED").unwrap_or(0);
    for seed in first..first + asked("CONFORMANCE_COUNT").unwrap_or(SEQUENCES) {
        let mut dice = Dice::new(seed);
        pair.begin(&mut dice).await;
        let mut done = Vec::new();
        for _ in 0..OPERATIONS {
            let Some(operation) = Operation::draw(&mut dice, &mut pair.model) else { continue };
            done.push(format!("{operation:?}"));
            let (model, real) = pair.carry_out(&operation).await;
            let told = || format!("CONFORMANCE_SEED={seed} CONFORMANCE_COUNT=1, after\n{}", done.join("\n"));
            assert_eq!(model, real, "{}\nthe left is the model's answer, the right the server's", told());
            let (model, real) = pair.state(operation.stream()).await;
            assert_eq!(model, real, "{}\nthe left is the model, the right the servers", told());
            if operation.counts() {
                let (model, real) = pair.counters().await;
                assert_eq!(model, real, "{}\nthe left are the model's counters, the right the server's", told());
            }
        }
        let (model, real) = pair.state(pair.turns()).await;
        assert_eq!(model, real, "CONFORMANCE_SEED={seed} CONFORMANCE_COUNT=1, at its end");
    }
}
