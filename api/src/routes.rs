//! The HTTP surface: each group parses, asks [`crate::app`], and answers.

use poem_openapi::{OpenApiService, Tags};

pub mod aliases;
pub mod model;
pub mod playground;
pub mod queue;
pub mod sessions;
pub mod streams;
pub mod system;
pub mod turns;

/// The groups of the document.
#[derive(Debug, Tags)]
pub enum Tag {
    /// Conversations.
    Sessions,
    /// Sending, following and stopping.
    Turns,
    /// Messages that wait behind a running turn.
    Queue,
    /// The default routes of the AI SDK's `useChat`.
    UseChat,
    /// Settings, health, schemas.
    System,
}

/// All groups as one service.
pub fn service() -> OpenApiService<Groups, ()> {
    let groups = (sessions::Sessions, streams::Streams, turns::Turns, queue::Queue, aliases::Aliases, system::System);
    OpenApiService::new(groups, "Copilot", env!("CARGO_PKG_VERSION"))
        .description("A durable AI chat backend: answers survive reconnects, redeploys and dead workers.")
        .license(poem_openapi::LicenseObject::new("MIT").identifier("MIT"))
}

type Groups = (sessions::Sessions, streams::Streams, turns::Turns, queue::Queue, aliases::Aliases, system::System);
