//! The adapters against the real servers.
#![expect(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "helpers of tests fail as tests do")]

mod administration;
mod analytics;
mod attempts;
mod cancels;
mod credits;
mod dead_letters;
mod outbox;
mod queue;
mod s3;
mod sessions;
mod setup;
mod steering;
mod streams;
mod submit;
mod understanding;
mod workspaces;
