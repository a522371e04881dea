//! What a conversation is made of: messages, each a role and ordered parts.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{FileId, PartId, ToolCallId};

mod files;

pub use files::{LARGEST_SHOWN_PICTURE, LONGEST_SHOWN_TEXT, file_line, shown_bytes, told_text};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "message_role", rename_all = "lowercase")]
pub enum Role {
    /// The user.
    User,
    /// The model.
    Assistant,
    /// The outcome of one tool call.
    Tool,
    /// The system, on the user's behalf.
    System,
}

impl Role {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
            Self::System => "system",
        }
    }
}

/// Who can say what a turn answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    /// The user.
    User,
    /// The client, on the user's behalf: something happened that the model must know of.
    System,
}

impl From<Speaker> for Role {
    fn from(speaker: Speaker) -> Self {
        match speaker {
            Speaker::User => Self::User,
            Speaker::System => Self::System,
        }
    }
}

/// A piece of a message. Stored as JSON in `messages.parts`, so variants and fields are only ever
/// added, with defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Part {
    /// Text of the user or the model.
    Text {
        /// The id that the stream gave it; absent on what a user wrote.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<PartId>,
        /// The text.
        text: String,
    },
    /// The model's thoughts.
    Reasoning {
        /// The id that the stream gave it.
        id: PartId,
        /// The text.
        text: String,
        /// What the provider wants back to accept the thought as its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
    },
    /// The model asks for a tool.
    ToolCall {
        /// Our id of the call.
        id: ToolCallId,
        /// The tool's name.
        name: String,
        /// The arguments; a string if the model sent no valid JSON.
        input: Value,
    },
    /// What the tool answered.
    ToolResult {
        /// The call that it answers.
        id: ToolCallId,
        /// The tool's name.
        name: String,
        /// The outcome.
        #[serde(flatten)]
        outcome: ToolOutcome,
    },
    /// Older messages were summed up before this was said. Shown to the user, never to the model.
    Compaction {
        /// Its id, as that of a tool call.
        id: ToolCallId,
    },
    /// What the user was looking at when they wrote.
    Context {
        /// Where it was.
        url: String,
        /// What it said.
        content: String,
    },
    /// A file of the workspace that belongs to the user's message.
    File {
        /// The file.
        id: FileId,
        /// What it is called.
        name: String,
        /// Its type.
        mime_type: String,
        /// Its size in bytes.
        size_bytes: i64,
    },
}

/// How a tool call ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "value", rename_all = "kebab-case")]
pub enum ToolOutcome {
    /// The output, as the client and the model see it.
    Output(Value),
    /// A sentence that tells the model what went wrong.
    Error(String),
}

/// The text of a message as it was written: its text parts, joined.
pub fn text_of(parts: &[Part]) -> String {
    parts
        .iter()
        .filter_map(|part| match part {
            Part::Text { text, .. } => Some(text.as_str()),
            Part::Reasoning { .. }
            | Part::ToolCall { .. }
            | Part::ToolResult { .. }
            | Part::Compaction { .. }
            | Part::File { .. }
            | Part::Context { .. } => None,
        })
        .collect()
}

/// A message as the model sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryMessage {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub parts: Vec<Part>,
}

/// Drops what no text may hold: C0 controls but tab, line feed and carriage return, and DEL.
/// PostgreSQL refuses NUL, terminals and models stumble over the rest (`core.md` §4.8).
pub fn strip_controls(text: &str) -> String {
    text.chars().filter(|c| matches!(c, '\t' | '\n' | '\r') || !(c.is_ascii_control())).collect()
}

/// [`strip_controls`] in every string of a JSON value, keys included.
pub fn strip_controls_in(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(strip_controls(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(strip_controls_in).collect()),
        Value::Object(map) => {
            Value::Object(map.into_iter().map(|(k, v)| (strip_controls(&k), strip_controls_in(v))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parts_keep_their_stored_shape() {
        let parts = vec![
            Part::Text { id: None, text: "hi".into() },
            Part::ToolResult {
                id: ToolCallId("call_1".into()),
                name: "calculator".into(),
                outcome: ToolOutcome::Output(json!({"result": 4})),
            },
        ];
        let stored = serde_json::to_value(&parts).unwrap();
        assert_eq!(
            stored,
            json!([
                {"type": "text", "text": "hi"},
                {"type": "tool-result", "id": "call_1", "name": "calculator", "outcome": "output", "value": {"result": 4}},
            ])
        );
        assert_eq!(serde_json::from_value::<Vec<Part>>(stored).unwrap(), parts);
    }

    #[test]
    fn controls_are_stripped_and_line_breaks_stay() {
        assert_eq!(strip_controls("a\0b\u{7}\tc\nd\u{7f}é"), "ab\tc\ndé");
    }
}
