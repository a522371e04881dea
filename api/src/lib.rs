//! REST and SSE: saves messages, enqueues turns, and relays their chunks to any number of clients.
//!
//! A request comes in at [`routes`], which parse and answer; [`app`] decides, one use case a file;
//! [`relay`] carries chunks. The API holds no turn: whatever it knows of one, another process can
//! find out as well.

pub mod app;
pub mod auth;
pub mod body;
pub mod chunks;
pub mod config;
pub mod nullable;
pub mod openapi;
pub mod problem;
pub mod relay;
pub mod routes;
pub mod server;
pub mod sse;
pub mod token;
