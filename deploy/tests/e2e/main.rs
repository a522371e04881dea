//! The real binaries against the real servers, driven from outside.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "helpers of tests fail as tests do"
)]

mod analytics;
mod bad_input;
mod cancel;
mod chaos;
mod client;
mod commands;
mod compaction;
mod dead_letters;
mod hands;
mod latency;
mod outages;
mod pages;
mod pictures;
mod provider;
mod queue;
mod registry;
mod resume;
mod servers;
mod shutdown;
mod system;
mod tools;
mod tracing;
mod understanding;
mod unread;
mod usage;
mod worker_alone;
