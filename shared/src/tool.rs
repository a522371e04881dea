//! What a tool tells the rest of the system about itself, what it answers, and the record of its
//! calls.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub mod agents;
pub mod blocks;
pub mod browser;
pub mod builder;
pub mod files;
pub mod folders;
pub mod found;
pub mod plain;
mod response;
pub mod setup;

pub use response::{ResponseSchema, ToolAnswer, ToolResponse, waits_for_user};

/// A JSON object of any shape.
pub type JsonObject = serde_json::Map<String, Value>;

/// What each named output has put out, in order.
pub type OutputsByName = BTreeMap<String, Vec<Value>>;

/// A tool as the model is told of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// The name by which the model calls it.
    pub name: String,
    /// When and how to use it.
    pub description: String,
    /// JSON Schema of its arguments: always an object.
    pub parameters: Value,
}

/// May a call whose outcome is unknown be made again?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Yes: it only reads, or its effect is the same the second time.
    Safe,
    /// No: after a crash the model is told that the outcome is unknown.
    Never,
}

/// May a call run beside the others of its step?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concurrency {
    /// Yes.
    Parallel,
    /// No: it runs after those that the model asked for before it, and before those after it.
    Alone,
}

/// The ledger entry of a tool call: recorded before it starts, closed after it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "tool_call_status", rename_all = "lowercase")]
pub enum ToolCallStatus {
    /// The model asked for it.
    Requested,
    /// It was started; its outcome is not known.
    Started,
    /// Its outcome is recorded.
    Finished,
}
