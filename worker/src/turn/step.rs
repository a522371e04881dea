//! One model call: its events become chunks as they come, and parts of the history at its end.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use copilot_shared::chunk::Chunk;
use copilot_shared::fold::Fold;
use copilot_shared::id::{PartId, ToolCallId};
use copilot_shared::message::{HistoryMessage, Part, shown_bytes, strip_controls, strip_controls_in};
use copilot_shared::turn::{ErrorCode, Failure, FinishReason};
use copilot_shared::usage::TokenUsage;
use futures_util::StreamExt;
use serde_json::Value;

use super::calls::Call;
use super::{Stopped, TurnWriter};
use crate::model::{ModelError, ModelEvent, ModelRequest};
use crate::running::Signals;
use crate::worker::Worker;

/// What a model call came to.
pub(super) struct Step {
    /// What it said.
    pub(super) parts: Vec<Part>,
    /// What it used.
    pub(super) usage: TokenUsage,
    /// How it ended.
    pub(super) end: StepEnd,
}

impl Step {
    /// Did the conversation turn out not to fit, before the model said anything?
    pub(super) fn found_no_room(&self) -> bool {
        matches!(&self.end, StepEnd::Failed(failure) if failure.code == ErrorCode::ContextTooLong)
            && self.usage.is_zero()
    }
}

/// How a model call ended.
pub(super) enum StepEnd {
    /// The model has said everything.
    Said(FinishReason),
    /// It waits for tools.
    Calls(Vec<Call>),
    /// The user stopped it.
    Cancelled,
    /// It broke.
    Failed(Failure),
    /// The provider refused the request, and the model said nothing.
    Refused(Failure),
}

/// OpenAI's bound; the others' are longer.
const LONGEST_TOOL_NAME: usize = 64;

/// More text than this in one call is a provider gone wrong.
const MAX_STEP_BYTES: usize = 8 << 20;

#[derive(PartialEq, Eq)]
enum Open {
    Nothing,
    Text(PartId),
    Reasoning(PartId),
}

struct ModelCall {
    open: Open,
    calls: BTreeMap<usize, StreamedCall>,
    signatures: HashMap<PartId, String>,
    reported: Option<TokenUsage>,
    said_bytes: usize,
    has_content: bool,
}

struct StreamedCall {
    id: ToolCallId,
    name: String,
    arguments: String,
}

/// Makes a model call. Dropping the stream of a stopped one drops the provider's connection.
pub(super) async fn run(
    worker: &Arc<Worker>,
    request: ModelRequest,
    writer: &mut TurnWriter,
    signals: &Signals,
) -> Result<Step, Stopped> {
    let prompt_chars = request.messages.iter().map(spoken_chars).sum::<usize>() + request.system.len();
    let mut events = worker.model.stream(request);
    let mut call = ModelCall::new();
    tracing::debug!("a model call begins");
    let end = loop {
        let event = tokio::select! {
            biased;
            () = signals.lost.cancelled() => return Err(Stopped::Lost),
            () = signals.cancel.cancelled() => break Err(StepEnd::Cancelled),
            event = events.next() => event,
        };
        match event {
            Some(Ok(ModelEvent::Finish(reason))) => break Ok(reason),
            Some(Ok(event)) => {
                if !call.has_content {
                    tracing::debug!("the model begins to speak");
                }
                call.take(event, writer);
            }
            Some(Err(error @ ModelError::Fatal(_))) if !call.has_content => {
                break Err(StepEnd::Refused(failure(&error)));
            }
            Some(Err(error)) => break Err(StepEnd::Failed(failure(&error))),
            None => break Err(broken("The model stopped without an end.")),
        }
        if call.said_bytes > MAX_STEP_BYTES {
            break Err(broken("The model's answer is too long."));
        }
        writer.room().await?;
    };
    drop(events);
    Ok(call.end(end, prompt_chars, writer))
}

impl ModelCall {
    fn new() -> Self {
        Self {
            open: Open::Nothing,
            calls: BTreeMap::new(),
            signatures: HashMap::new(),
            reported: None,
            said_bytes: 0,
            has_content: false,
        }
    }

    fn take(&mut self, event: ModelEvent, writer: &TurnWriter) {
        match event {
            ModelEvent::Text(text) => self.text(&text, writer),
            ModelEvent::Reasoning(text) => self.reasoning(&text, writer),
            ModelEvent::ReasoningSignature(signature) => self.sign(&signature, writer),
            ModelEvent::ToolCallStart { index, name } => self.begin_call(index, &name, writer),
            ModelEvent::ToolCallDelta { index, arguments } => self.call_delta(index, &arguments, writer),
            ModelEvent::Usage(usage) => self.reported = Some(usage),
            ModelEvent::Finish(_) => {}
        }
    }

    fn text(&mut self, text: &str, writer: &TurnWriter) {
        let delta = printable(text);
        if delta.is_empty() {
            return;
        }
        self.count(&delta);
        let id = match &self.open {
            Open::Text(id) => id.clone(),
            Open::Nothing | Open::Reasoning(_) => {
                self.close(writer);
                let id = writer.state(Fold::next_part);
                writer.send(Chunk::TextStart { id: id.clone() });
                self.open = Open::Text(id.clone());
                id
            }
        };
        writer.send(Chunk::TextDelta { id, delta: delta.into_owned() });
    }

    fn reasoning(&mut self, text: &str, writer: &TurnWriter) {
        let delta = printable(text);
        if delta.is_empty() {
            return;
        }
        self.count(&delta);
        let id = self.thought(writer);
        writer.send(Chunk::ReasoningDelta { id, delta: delta.into_owned() });
    }

    /// The thought that is open, or a new one.
    fn thought(&mut self, writer: &TurnWriter) -> PartId {
        if let Open::Reasoning(id) = &self.open {
            return id.clone();
        }
        self.close(writer);
        let id = writer.state(Fold::next_part);
        writer.send(Chunk::ReasoningStart { id: id.clone() });
        self.open = Open::Reasoning(id.clone());
        id
    }

    /// A thought ends with its signature: what follows is another one, with its own. One that the
    /// provider keeps to itself has a signature and no words.
    fn sign(&mut self, signature: &str, writer: &TurnWriter) {
        let id = self.thought(writer);
        self.signatures.insert(id, strip_controls(signature));
        self.has_content = true;
        self.close(writer);
    }

    fn begin_call(&mut self, index: usize, name: &str, writer: &TurnWriter) {
        self.close(writer);
        self.has_content = true;
        let call = StreamedCall { id: ToolCallId::generate(), name: tool_name(name), arguments: String::new() };
        writer.send(Chunk::ToolInputStart {
            tool_call_id: call.id.clone(),
            tool_name: call.name.clone(),
            provider_executed: true,
        });
        self.calls.insert(index, call);
    }

    fn call_delta(&mut self, index: usize, arguments: &str, writer: &TurnWriter) {
        self.count(arguments);
        let Some(call) = self.calls.get_mut(&index) else { return };
        if arguments.is_empty() {
            return;
        }
        call.arguments.push_str(arguments);
        writer.send(Chunk::ToolInputDelta {
            tool_call_id: call.id.clone(),
            input_text_delta: printable(arguments).into_owned(),
        });
    }

    fn count(&mut self, text: &str) {
        self.said_bytes += text.len();
        self.has_content = true;
    }

    fn close(&mut self, writer: &TurnWriter) {
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing => {}
            Open::Text(id) => writer.send(Chunk::TextEnd { id }),
            Open::Reasoning(id) => writer.send(Chunk::ReasoningEnd { id }),
        }
    }

    fn end(mut self, end: Result<FinishReason, StepEnd>, prompt_chars: usize, writer: &TurnWriter) -> Step {
        self.close(writer);
        let mut calls = Vec::new();
        if end.is_ok() {
            for call in std::mem::take(&mut self.calls).into_values() {
                let call = Call::parsed(call.id, call.name, &call.arguments);
                writer.send(call.input_chunk());
                calls.push(call);
            }
        }
        let parts = writer.state(Fold::open_step_parts).into_iter().map(|part| self.signed(part)).collect();
        let usage = self.usage(prompt_chars, end.is_ok());
        let end = match end {
            Ok(_) if !calls.is_empty() => StepEnd::Calls(calls),
            Ok(reason) => StepEnd::Said(reason),
            Err(end) => end,
        };
        Step { parts, usage, end }
    }

    fn signed(&mut self, part: Part) -> Part {
        match part {
            Part::Reasoning { id, text, .. } => {
                let signature = self.signatures.remove(&id);
                Part::Reasoning { id, text, signature }
            }
            Part::Text { .. }
            | Part::ToolCall { .. }
            | Part::ToolResult { .. }
            | Part::Compaction { .. }
            | Part::File { .. }
            | Part::Context { .. } => part,
        }
    }

    /// What the provider reported, else an estimate of what was said: nothing for a call that never
    /// said anything.
    fn usage(&self, prompt_chars: usize, complete: bool) -> TokenUsage {
        match self.reported {
            Some(reported) if complete => reported,
            // A provider that reports at the beginning has not counted what it said since: Anthropic
            // begins with one token.
            Some(reported) => TokenUsage {
                completion: reported.completion.max(TokenUsage::estimate(0, self.said_bytes).completion),
                estimated: true,
                ..reported
            },
            None if self.has_content || complete => TokenUsage::estimate(prompt_chars, self.said_bytes),
            None => TokenUsage::estimate(0, 0),
        }
    }
}

/// A name that every provider takes back: a model may make one up that none of them would.
fn tool_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
    let name: String = name.chars().map(plain).take(LONGEST_TOOL_NAME).collect();
    if name.is_empty() { "_".to_owned() } else { name }
}

/// Most deltas hold no control characters, and then nothing is copied.
fn printable(text: &str) -> Cow<'_, str> {
    let clean = text.bytes().all(|b| (b >= 0x20 && b != 0x7f) || matches!(b, b'\t' | b'\n' | b'\r'));
    if clean { Cow::Borrowed(text) } else { Cow::Owned(strip_controls(text)) }
}

fn spoken_chars(message: &HistoryMessage) -> usize {
    message
        .parts
        .iter()
        .map(|part| match part {
            Part::Text { text, .. } | Part::Reasoning { text, .. } => text.len(),
            Part::ToolCall { input, .. } => input.to_string().len(),
            Part::ToolResult { outcome, .. } => serde_json::to_string(outcome).map_or(0, |json| json.len()),
            Part::Context { content, .. } => content.len(),
            Part::File { .. } => shown_bytes(part),
            Part::Compaction { .. } => 0,
        })
        .sum()
}

fn broken(sentence: &str) -> StepEnd {
    StepEnd::Failed(Failure::new(ErrorCode::ProviderError, sentence))
}

fn failure(error: &ModelError) -> Failure {
    match error {
        ModelError::ContextTooLong => Failure::new(
            ErrorCode::ContextTooLong,
            "Your conversation is too long. Please start a new chat or clear some history.",
        ),
        ModelError::Transient { message, .. } | ModelError::Fatal(message) => {
            Failure::new(ErrorCode::ProviderError, message.clone())
        }
    }
}

/// The arguments as JSON; as the text itself if they are none.
pub(super) fn parse_arguments(text: &str) -> Value {
    if text.trim().is_empty() {
        return Value::Object(serde_json::Map::new());
    }
    strip_controls_in(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())))
}

#[cfg(test)]
mod tests;
