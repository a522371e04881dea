//! The protocol of turns as a pure state machine, run over random interleavings and crashes; its
//! laws; and its likeness to the real statements and scripts.
#![expect(
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and tells how it went on its way"
)]
#![expect(clippy::match_same_arms, reason = "the arms of a process stand in the order of its protocol")]

mod conformance;
mod dice;
mod laws;
mod mechanism;
mod model;
mod process;
mod removals;
mod schedule;
mod schedules;
mod world;
