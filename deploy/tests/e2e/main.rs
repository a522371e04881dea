//! The real binaries against the real servers, driven from outside.

mod system;
mod worker_alone;
