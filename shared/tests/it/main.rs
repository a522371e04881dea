//! The adapters against the real servers.

mod attempts;
mod cancels;
mod outbox;
mod queue;
mod sessions;
mod setup;
mod streams;
mod submit;
