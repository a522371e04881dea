//! Takes turns from RabbitMQ, runs the model and its tools, and writes chunks into Redis.
//!
//! Read it from top to bottom, as a turn lives: [`worker`] starts the process, [`intake`] takes
//! deliveries and claims turns, [`running`] knows what runs and [`lease`] keeps it, [`turn`] runs
//! an attempt step by step with a [`model`] and [`tools`], some of which know [`docs`]; [`dead_letters`] has what nobody could
//! handle.

pub mod cloud;
pub mod compaction;
pub mod config;
pub mod dead_letters;
pub mod docs;
pub mod intake;
pub mod lease;
pub mod linear;
pub mod mcp;
pub mod model;
pub mod outbound;
pub mod running;
pub mod sandbox;
pub mod tools;
pub mod turn;
pub mod worker;
