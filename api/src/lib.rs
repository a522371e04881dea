//! The API: accepts turns, and relays their chunks to whoever watches.
//!
//! `app` holds the use cases and knows no HTTP; `routes` translates between the two. `relay` is
//! the way of a chunk from Redis to the viewers.

pub mod app;
pub mod auth;
pub mod body;
pub mod chunks;
pub mod config;
pub mod edge;
pub mod extractor;
pub mod openapi;
pub mod problem;
pub mod relay;
pub mod routes;
pub mod serve;
pub mod server;
pub mod sse;
pub mod tool_responses;
pub mod web;
