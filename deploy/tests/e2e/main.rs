//! The real binaries against the real servers, driven from outside.
#![expect(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "helpers of tests fail as tests do")]

mod system;
mod worker_alone;
