//! Messages as the AI SDK holds them, ready to be a chat's initial messages: what a client that
//! followed the turns has, less what `data-retry` hides.

use copilot_shared::compaction;
use copilot_shared::id::ToolCallId;
use copilot_shared::message::{Part, Role, ToolOutcome};
use copilot_shared::store::{Asked, TurnTranscript};
use copilot_shared::turn::TurnStatus;
use poem_openapi::{Enum, Object, Union};
use serde_json::{Value, json};

use crate::chunks::{EndStatus, Metadata};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename = "UIMessageRole", rename_all = "lowercase")]
pub(super) enum UiRole {
    User,
    Assistant,
    /// The client, on the user's behalf.
    System,
}

/// A message in the AI SDK's shape.
#[derive(Debug, PartialEq, Object)]
#[oai(rename = "UIMessage", skip_serializing_if_is_none)]
pub(super) struct UiMessage {
    /// Of an answer: its turn. Of a user's message: what the client called it, else its own id.
    id: String,
    role: UiRole,
    /// Of an answer that did not end well: how it ended.
    metadata: Option<Metadata>,
    /// What is said, in order.
    parts: Vec<UiPart>,
}

/// A piece of a message.
#[derive(Debug, PartialEq, Union)]
#[oai(rename = "UIMessagePart")]
pub(super) enum UiPart {
    /// Text.
    Text(TextUiPart),
    /// A file of the user's message.
    File(FileUiPart),
    /// A thought of the model.
    Reasoning(ReasoningUiPart),
    /// A model call begins.
    StepStart(StepStartUiPart),
    /// A tool call.
    Tool(ToolUiPart),
}

macro_rules! constant {
    ($name:ident = $word:literal) => {
        /// The kind of part.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
        pub(super) enum $name {
            /// Always this.
            #[oai(rename = $word)]
            Only,
        }
    };
}
constant!(TextType = "text");
constant!(FileType = "file");
constant!(ReasoningType = "reasoning");
constant!(StepStartType = "step-start");

/// How far a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename = "UIPartState", rename_all = "lowercase")]
pub(super) enum PartState {
    /// It is complete.
    Done,
}

/// Text.
#[derive(Debug, PartialEq, Object)]
#[oai(rename = "TextUIPart", skip_serializing_if_is_none)]
pub(super) struct TextUiPart {
    #[oai(rename = "type")]
    kind: TextType,
    /// The text.
    text: String,
    /// On what the model wrote.
    state: Option<PartState>,
}

/// A file of the workspace that belongs to the user's message. Sent back, it is the same file.
#[derive(Debug, PartialEq, Object)]
#[oai(rename = "FileUIPart", rename_all = "camelCase")]
pub(super) struct FileUiPart {
    #[oai(rename = "type")]
    kind: FileType,
    /// Its type.
    media_type: String,
    /// What it is called.
    filename: String,
    /// Where it can be downloaded, with the caller's token.
    url: String,
}

/// A thought of the model.
#[derive(Debug, PartialEq, Object)]
#[oai(rename = "ReasoningUIPart")]
pub(super) struct ReasoningUiPart {
    #[oai(rename = "type")]
    kind: ReasoningType,
    /// The part, unique in its answer.
    id: String,
    /// The text.
    text: String,
    state: PartState,
}

/// A model call begins.
#[derive(Debug, PartialEq, Object)]
#[oai(rename = "StepStartUIPart")]
pub(super) struct StepStartUiPart {
    #[oai(rename = "type")]
    kind: StepStartType,
}

/// How far a tool call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename = "ToolUIPartState", rename_all = "kebab-case")]
pub(super) enum ToolState {
    /// It has no outcome.
    InputAvailable,
    /// It has an output.
    OutputAvailable,
    /// It failed, or its outcome is unknown.
    OutputError,
}

/// A tool call.
#[derive(Debug, PartialEq, Object)]
#[oai(rename = "ToolUIPart", rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct ToolUiPart {
    /// `tool-` and the tool's name.
    #[oai(rename = "type", validator(pattern = "^tool-"))]
    kind: String,
    /// The call.
    tool_call_id: String,
    state: ToolState,
    /// The arguments.
    input: Value,
    /// With `output-available`: what the tool answered.
    output: Option<Value>,
    /// With `output-error`: why.
    error_text: Option<String>,
    /// Always true: tools run on the server.
    provider_executed: bool,
}

/// What a chat begins with. The answer of a turn in flight is left out: its stream tells it.
pub(super) fn ui_messages(turns: Vec<TurnTranscript>) -> Vec<UiMessage> {
    let mut messages = Vec::new();
    for turn in turns {
        messages.extend(turn.asked.iter().map(question));
        if turn.status.is_terminal() {
            messages.push(answer(turn));
        }
    }
    messages
}

fn question(asked: &Asked) -> UiMessage {
    let parts = asked.parts.iter().filter_map(|part| match part {
        Part::Text { text, .. } => {
            Some(UiPart::Text(TextUiPart { kind: TextType::Only, text: text.clone(), state: None }))
        }
        Part::File { id, name, mime_type, .. } => Some(UiPart::File(FileUiPart {
            kind: FileType::Only,
            media_type: mime_type.clone(),
            filename: name.clone(),
            url: super::files::download_url(*id),
        })),
        Part::Reasoning { .. }
        | Part::ToolCall { .. }
        | Part::ToolResult { .. }
        | Part::Compaction { .. }
        | Part::Context { .. } => None,
    });
    let parts = parts.collect();
    UiMessage {
        id: asked.ui_id.as_ref().map_or_else(|| asked.id.to_string(), |id| id.as_str().to_owned()),
        role: if asked.role == Role::System { UiRole::System } else { UiRole::User },
        metadata: None,
        parts,
    }
}

fn answer(turn: TurnTranscript) -> UiMessage {
    let status = match turn.status {
        TurnStatus::Queued | TurnStatus::Running | TurnStatus::Completed => None,
        TurnStatus::Failed => Some(EndStatus::Failed),
        TurnStatus::Cancelled => Some(EndStatus::Stopped),
    };
    let mut parts = Vec::new();
    for step in turn.steps {
        parts.push(UiPart::StepStart(StepStartUiPart { kind: StepStartType::Only }));
        add_step(&mut parts, step);
    }
    UiMessage {
        id: turn.turn_id.to_string(),
        role: UiRole::Assistant,
        metadata: status.map(|status| Metadata { status }),
        parts,
    }
}

/// A tool's outcome belongs to the part of its call.
fn add_step(parts: &mut Vec<UiPart>, step: Vec<Part>) {
    for part in step {
        match part {
            Part::Text { text, .. } => {
                let state = Some(PartState::Done);
                parts.push(UiPart::Text(TextUiPart { kind: TextType::Only, text, state }));
            }
            Part::Reasoning { id, text, .. } => parts.push(UiPart::Reasoning(ReasoningUiPart {
                kind: ReasoningType::Only,
                id: id.0.to_string(),
                text,
                state: PartState::Done,
            })),
            Part::ToolCall { id, name, input } => parts.push(UiPart::Tool(ToolUiPart::new(id, &name, input))),
            Part::Compaction { id } => {
                let mut part = ToolUiPart::new(id, compaction::TOOL_NAME, json!({}));
                part.take(ToolOutcome::Output(compaction::OUTPUT.into()));
                parts.push(UiPart::Tool(part));
            }
            Part::ToolResult { id, outcome, .. } => {
                let call = parts.iter_mut().rev().find_map(|part| match part {
                    UiPart::Tool(call) if call.tool_call_id == id.as_str() => Some(call),
                    _ => None,
                });
                if let Some(call) = call {
                    call.take(outcome);
                }
            }
            Part::Context { .. } | Part::File { .. } => {}
        }
    }
}

impl ToolUiPart {
    fn new(id: ToolCallId, name: &str, input: Value) -> Self {
        Self {
            kind: format!("tool-{name}"),
            tool_call_id: id.0,
            state: ToolState::InputAvailable,
            input,
            output: None,
            error_text: None,
            provider_executed: true,
        }
    }

    fn take(&mut self, outcome: ToolOutcome) {
        match outcome {
            ToolOutcome::Output(output) => {
                self.state = ToolState::OutputAvailable;
                self.output = Some(output);
            }
            ToolOutcome::Error(text) => {
                self.state = ToolState::OutputError;
                self.error_text = Some(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use copilot_shared::id::{MessageId, PartId, TurnId, UiMessageId};
    use poem_openapi::types::ToJSON;

    fn turn(status: TurnStatus, steps: Vec<Vec<Part>>) -> TurnTranscript {
        let context = Part::Context { url: "u".into(), content: "c".into() };
        let text = Part::Text { id: None, text: "hi".into() };
        let asked = Asked {
            id: MessageId::generate(),
            ui_id: UiMessageId::parse("m1"),
            role: Role::User,
            parts: vec![context, text],
        };
        TurnTranscript { turn_id: TurnId::generate(), status, asked: vec![asked], steps }
    }

    #[test]
    fn an_answer_is_what_a_client_folds() {
        let call = |id: &str| Part::ToolCall { id: ToolCallId(id.into()), name: "t".into(), input: json!({"a": 1}) };
        let result = |id: &str, outcome| Part::ToolResult { id: ToolCallId(id.into()), name: "t".into(), outcome };
        let answered = turn(
            TurnStatus::Completed,
            vec![
                vec![
                    Part::Reasoning { id: PartId::nth(1), text: "hm".into(), signature: Some("s".into()) },
                    call("c1"),
                    call("c2"),
                    result("c2", ToolOutcome::Error("no".into())),
                    result("c1", ToolOutcome::Output(json!(null))),
                ],
                vec![Part::Text { id: Some(PartId::nth(2)), text: "so".into() }],
            ],
        );
        let id = answered.turn_id;
        assert_eq!(
            ui_messages(vec![answered]).to_json().unwrap(),
            json!([
                {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "hi"}]},
                {"id": id, "role": "assistant", "parts": [
                    {"type": "step-start"},
                    {"type": "reasoning", "id": "p1", "text": "hm", "state": "done"},
                    {"type": "tool-t", "toolCallId": "c1", "state": "output-available", "input": {"a": 1}, "output": null,
                        "providerExecuted": true},
                    {"type": "tool-t", "toolCallId": "c2", "state": "output-error", "input": {"a": 1}, "errorText": "no",
                        "providerExecuted": true},
                    {"type": "step-start"},
                    {"type": "text", "text": "so", "state": "done"},
                ]},
            ])
        );
    }

    #[test]
    fn a_message_shows_its_files_and_not_what_the_model_is_told_of_them() {
        let mut asked = turn(TurnStatus::Running, Vec::new());
        let id = copilot_shared::id::FileId::generate();
        let file = Part::File { id, name: "a.png".into(), mime_type: "image/png".into(), size_bytes: 7 };
        asked.asked[0].parts.push(file);
        let url = format!("/api/workspace/files/{id}/download");
        assert_eq!(
            ui_messages(vec![asked]).to_json().unwrap()[0]["parts"],
            json!([
                {"type": "text", "text": "hi"},
                {"type": "file", "mediaType": "image/png", "filename": "a.png", "url": url},
            ])
        );
    }

    #[test]
    fn an_answer_that_did_not_end_well_says_so_and_one_in_flight_is_left_out() {
        for (status, metadata) in [(TurnStatus::Failed, "failed"), (TurnStatus::Cancelled, "stopped")] {
            let shown = ui_messages(vec![turn(status, vec![vec![]])]).to_json().unwrap();
            assert_eq!(shown[1]["metadata"], json!({"status": metadata}));
            assert_eq!(shown[1]["parts"], json!([{"type": "step-start"}]));
        }
        for status in [TurnStatus::Queued, TurnStatus::Running] {
            let steps = vec![vec![Part::Text { id: None, text: "so".into() }]];
            assert_eq!(ui_messages(vec![turn(status, steps)]).len(), 1);
        }
    }
}
