//! The adapters against the real servers.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "helpers of tests fail as tests do"
)]

mod absence;
mod administration;
mod analytics;
mod attempts;
mod cancels;
mod cloud_sandboxes;
mod credits;
mod dead_letters;
#[cfg(feature = "launchdarkly")]
mod launchdarkly;
mod mcp_tokens;
mod outbox;
mod queue;
mod resets;
mod resubmit;
mod s3;
mod sessions;
mod settlement;
mod setup;
mod steering;
mod streams;
mod submit;
mod understanding;
mod windows;
mod workspaces;
