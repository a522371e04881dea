//! Messages in the reference's shape (`usage-tools.md` §4.6), made from stored parts.

use chrono::{DateTime, Utc};
use copilot_shared::message::{Part, Role, ToolOutcome, told_text};
use copilot_shared::store::StoredMessage;
use poem_openapi::{Enum, Object};
use serde_json::Value;
use uuid::Uuid;

use super::Nullable;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub(super) enum MessageRole {
    User,
    Assistant,
    Tool,
    System,
}

/// A message.
#[derive(Debug, Object)]
#[oai(rename = "ChatMessage")]
pub(super) struct Message {
    /// Its id.
    id: Uuid,
    /// Its place in the conversation.
    sequence: i64,
    created_at: DateTime<Utc>,
    /// The turn that it belongs to.
    turn_id: Uuid,
    /// On the last message of an ended turn: how long the turn took.
    duration_ms: Nullable<i64>,
    /// Who speaks.
    role: MessageRole,
    /// What is said, with the list of its files; null if the model only asks for tools.
    content: Nullable<String>,
    /// The files of a user's message.
    files: Vec<MessageFile>,
    name: Nullable<String>,
    /// With role `tool`: the call that is answered.
    tool_call_id: Nullable<String>,
    refusal: Nullable<String>,
    /// What the model asks for.
    tool_calls: Nullable<Vec<ToolCall>>,
    function_call: Nullable<Value>,
}

/// A file of a message.
#[derive(Debug, PartialEq, Object)]
pub(super) struct MessageFile {
    /// The file.
    file_id: Uuid,
    /// What it is called.
    name: String,
    /// Its type.
    mime_type: String,
    /// Its size in bytes.
    size_bytes: i64,
    /// Where it can be downloaded, with the caller's token; 404 once it is deleted.
    download_url: String,
}

/// A tool that the model asks for.
#[derive(Debug, PartialEq, Object)]
pub(super) struct ToolCall {
    /// The call.
    id: String,
    /// `function`.
    #[oai(rename = "type")]
    kind: String,
    /// The tool and its arguments.
    function: FunctionCall,
}

/// A tool and its arguments.
#[derive(Debug, PartialEq, Object)]
pub(super) struct FunctionCall {
    /// The tool.
    name: String,
    /// The arguments as JSON text.
    arguments: String,
}

impl From<StoredMessage> for Message {
    fn from(stored: StoredMessage) -> Self {
        let mut said = Said::of(&stored.parts);
        if stored.role == Role::User {
            said.text = told_text(&stored.parts);
        }
        let only_asks = stored.role == Role::Assistant && said.text.is_empty();
        Self {
            id: stored.id.0,
            sequence: stored.sequence,
            created_at: stored.created_at,
            turn_id: stored.turn_id.0,
            duration_ms: stored.turn_end.and_then(|(_, duration)| duration).into(),
            role: match stored.role {
                Role::User => MessageRole::User,
                Role::Assistant => MessageRole::Assistant,
                Role::Tool => MessageRole::Tool,
                Role::System => MessageRole::System,
            },
            content: (!only_asks).then_some(said.text).into(),
            files: stored.parts.iter().filter_map(file).collect(),
            name: None.into(),
            tool_call_id: said.answers.into(),
            refusal: None.into(),
            tool_calls: (!said.calls.is_empty()).then_some(said.calls).into(),
            function_call: None.into(),
        }
    }
}

/// A file, if the part is one.
pub(super) fn file(part: &Part) -> Option<MessageFile> {
    let Part::File { id, name, mime_type, size_bytes } = part else { return None };
    Some(MessageFile {
        file_id: id.0,
        name: name.clone(),
        mime_type: mime_type.clone(),
        size_bytes: *size_bytes,
        download_url: super::files::download_url(*id),
    })
}

#[derive(Default)]
struct Said {
    text: String,
    calls: Vec<ToolCall>,
    answers: Option<String>,
}

impl Said {
    fn of(parts: &[Part]) -> Self {
        let mut said = Self::default();
        for part in parts {
            match part {
                Part::Text { text, .. } => said.text.push_str(text),
                Part::ToolCall { id, name, input } => said.calls.push(ToolCall {
                    id: id.as_str().to_owned(),
                    kind: "function".into(),
                    function: FunctionCall { name: name.clone(), arguments: arguments(input) },
                }),
                Part::ToolResult { id, outcome, .. } => {
                    said.answers = Some(id.as_str().to_owned());
                    said.text.push_str(&outcome_text(outcome));
                }
                Part::Reasoning { .. } | Part::Compaction { .. } | Part::Context { .. } | Part::File { .. } => {}
            }
        }
        said
    }
}

/// Arguments that were no JSON are kept as the text that the model sent.
fn arguments(input: &Value) -> String {
    match input {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn outcome_text(outcome: &ToolOutcome) -> String {
    match outcome {
        ToolOutcome::Output(Value::String(text)) | ToolOutcome::Error(text) => text.clone(),
        ToolOutcome::Output(value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use copilot_shared::id::{MessageId, PartId, ToolCallId, TurnId};
    use copilot_shared::turn::TurnStatus;
    use poem_openapi::types::ToJSON;
    use serde_json::json;

    fn shown(role: Role, parts: Vec<Part>) -> Value {
        let stored = StoredMessage {
            id: MessageId::generate(),
            turn_id: TurnId::generate(),
            sequence: 3,
            role,
            parts,
            created_at: Utc::now(),
            turn_end: Some((TurnStatus::Completed, Some(12))),
        };
        Message::from(stored).to_json().unwrap()
    }

    #[test]
    fn a_users_message_has_every_key_and_no_context_in_its_content() {
        let context = Part::Context { url: "u".into(), content: "c".into() };
        let message = shown(Role::User, vec![context, Part::Text { id: None, text: "hi".into() }]);
        for key in ["name", "tool_call_id", "refusal", "tool_calls", "function_call"] {
            assert_eq!(message.get(key), Some(&Value::Null), "{key}");
        }
        assert_eq!((&message["role"], &message["content"]), (&json!("user"), &json!("hi")));
        assert_eq!((&message["sequence"], &message["duration_ms"]), (&json!(3), &json!(12)));
    }

    #[test]
    fn a_users_message_names_its_files() {
        let id = copilot_shared::id::FileId::generate();
        let file = Part::File { id, name: "a.txt".into(), mime_type: "text/plain".into(), size_bytes: 1536 };
        let message = shown(Role::User, vec![Part::Text { id: None, text: "hi".into() }, file]);
        let told = format!("hi\n\n[Attached files]\n- a.txt (text/plain, 1.5 KB), file_id={id}\n");
        assert!(message["content"].as_str().unwrap().starts_with(&told), "{message}");
        assert_eq!(
            message["files"],
            json!([{"file_id": id, "name": "a.txt", "mime_type": "text/plain", "size_bytes": 1536,
                "download_url": format!("/api/workspace/files/{id}/download")}])
        );
    }

    #[test]
    fn an_assistant_that_only_asks_has_no_content() {
        let thought = Part::Reasoning { id: PartId::nth(1), text: "hm".into(), signature: None };
        let call = Part::ToolCall { id: ToolCallId("call_1".into()), name: "t".into(), input: json!({"a": 1}) };
        let message = shown(Role::Assistant, vec![thought, call]);
        assert_eq!(message["content"], Value::Null);
        assert_eq!(
            message["tool_calls"],
            json!([{"id": "call_1", "type": "function", "function": {"name": "t", "arguments": "{\"a\":1}"}}])
        );
    }

    #[test]
    fn a_tools_answer_is_its_text_or_its_json() {
        for (outcome, content) in [
            (ToolOutcome::Output(json!({"a": 1})), "{\"a\":1}"),
            (ToolOutcome::Output(json!("plain")), "plain"),
            (ToolOutcome::Error("broken".into()), "broken"),
        ] {
            let part = Part::ToolResult { id: ToolCallId("call_1".into()), name: "t".into(), outcome };
            let message = shown(Role::Tool, vec![part]);
            assert_eq!((&message["content"], &message["tool_call_id"]), (&json!(content), &json!("call_1")));
        }
    }
}
