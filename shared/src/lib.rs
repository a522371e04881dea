#![doc = include_str!("../ARCHITECTURE.md")]

// The nouns of the domain: pure, no I/O.
pub mod audit;
pub mod chunk;
pub mod credit;
pub mod cursor;
pub mod dead_letter;
pub mod fold;
pub mod id;
pub mod message;
pub mod session;
pub mod tool;
pub mod turn;
pub mod understanding;
pub mod usage;

// The edges: PostgreSQL, Redis, RabbitMQ, files, PostHog.
pub mod analytics;
pub mod blobs;
pub mod payment;
pub mod queue;
pub mod store;
pub mod stream;
pub mod windows;

// What more than one process decides over them.
pub mod ledger;
pub mod limits;
pub mod meter;
pub mod reconciler;
pub mod reset;
pub mod seal;
pub mod settlement;
pub mod workspace;

// What every process needs to live.
pub mod clock;
pub mod compaction;
pub mod config;
pub mod flags;
pub mod lifecycle;
pub mod ops;
pub mod secret;
pub mod telemetry;

#[cfg(feature = "testing")]
pub mod testing;
