//! Responses that belong to no field: errors, sign-in, small answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::JsonObject;

/// Nothing fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoResults {
    /// What could be tried instead.
    #[serde(default)]
    pub suggestions: Vec<String>,
    /// Always `no_results`.
    pub name: String,
}

impl NoResults {
    /// Nothing, and what could be tried instead.
    pub fn new(suggestions: Vec<String>) -> Self {
        Self { suggestions, name: "no_results".into() }
    }
}

/// Only for those who are signed in.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct NeedLogin {
    /// The agent that it is about.
    pub agent_info: Option<JsonObject>,
}

/// It did not work.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ToolError")]
pub struct ErrorResponse {
    /// A stable word to switch on, or what went wrong.
    pub error: Option<String>,
    /// More about it.
    pub details: Option<JsonObject>,
}

/// What is known of the user has changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UnderstandingUpdated {
    /// What has changed.
    #[serde(default)]
    pub updated_fields: Vec<String>,
    /// All that is known.
    #[serde(default)]
    pub current_understanding: JsonObject,
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandDone {
    /// What it said.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
    /// How it ended.
    pub exit_code: i32,
    /// Was it stopped for taking too long?
    #[serde(default)]
    pub timed_out: bool,
}

/// A to-do list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TodoList {
    /// What is to be done, in order.
    pub todos: Vec<Todo>,
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Todo {
    /// What.
    pub content: String,
    /// How far it is.
    pub status: TodoStatus,
}

/// How far something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum TodoStatus {
    /// Not begun.
    Pending,
    /// Begun.
    InProgress,
    /// Done.
    Completed,
}

/// The value of an expression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Calculation {
    /// The expression.
    pub expression: String,
    /// Its value.
    pub result: serde_json::Number,
}

/// The time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CurrentTime {
    /// The time in UTC, RFC 3339.
    pub utc: String,
    /// The day of the week, in English.
    pub weekday: String,
}
