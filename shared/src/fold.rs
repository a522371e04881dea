//! What the chunks of a turn amount to: the message that a client has after reading them.
//!
//! The fold answers three questions with one state. *What does a late client get?* The shortest
//! sequence of chunks that gives it the same message ([`Fold::replay`]). *What is still open?*
//! The chunks that close it ([`Fold::closing`]). *What did the model say?* The parts of the
//! history ([`Fold::open_step_parts`]). It is pure; workers keep it while they write, readers
//! rebuild it from a snapshot and the tail behind it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::chunk::{Chunk, EndStatus, Frame, Metadata, RetryData, error_text};
use crate::compaction;
use crate::id::{PartId, ToolCallId, TurnId};
use crate::message::Part;
use crate::turn::{Attempt, FinishReason, TurnEnd};
use crate::usage::TokenUsage;

/// The state after some chunks of a turn. Serialised into snapshots: fields are only ever added.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Fold {
    /// The last sequence number that was folded.
    pub sequence: u64,
    start: Option<TurnId>,
    items: Vec<Item>,
    step_open: bool,
    parts: u32,
    #[serde(default)]
    status: Option<EndStatus>,
    #[serde(default)]
    usage: Option<TokenUsage>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    end: Option<End>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Item {
    StepStart,
    StepFinish,
    Text { id: PartId, text: String, open: bool },
    Reasoning { id: PartId, text: String, open: bool },
    Tool(Tool),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Tool {
    id: ToolCallId,
    name: String,
    input: Input,
    output: Option<Output>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Input {
    Streaming(String),
    Available(Value),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Output {
    Preliminary(Value),
    Available(Value),
    Error(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum End {
    Abort(Option<String>),
    Finish(Option<FinishReason>),
}

impl Fold {
    /// Takes in the frames of a stored batch, in order; those that it already has are skipped.
    pub fn apply_frames(&mut self, frames: Vec<Frame>) {
        for frame in frames {
            match frame {
                Frame::Chunk(Some(sequence), _) if sequence <= self.sequence => {}
                Frame::Chunk(Some(sequence), chunk) => {
                    self.apply(chunk);
                    self.sequence = sequence;
                }
                Frame::Chunk(None, chunk) => self.apply(chunk),
                Frame::Usage(usage) => self.usage = Some(usage),
            }
        }
    }

    /// Takes in the next chunk. The caller keeps [`Self::sequence`].
    pub fn apply(&mut self, chunk: Chunk) {
        match chunk {
            Chunk::Start { message_id } => self.start = Some(message_id),
            Chunk::StartStep => {
                self.items.push(Item::StepStart);
                self.step_open = true;
            }
            Chunk::FinishStep => {
                self.items.push(Item::StepFinish);
                self.step_open = false;
            }
            Chunk::TextStart { id } => {
                self.begin_part(&id);
                self.items.push(Item::Text { id, text: String::new(), open: true });
            }
            Chunk::ReasoningStart { id } => {
                self.begin_part(&id);
                self.items.push(Item::Reasoning { id, text: String::new(), open: true });
            }
            Chunk::TextDelta { id, delta } | Chunk::ReasoningDelta { id, delta } => self.extend_part(&id, &delta),
            Chunk::TextEnd { id } | Chunk::ReasoningEnd { id } => self.close_part(&id),
            Chunk::ToolInputStart { tool_call_id, tool_name, .. } => self.items.push(Item::Tool(Tool {
                id: tool_call_id,
                name: tool_name,
                input: Input::Streaming(String::new()),
                output: None,
            })),
            Chunk::ToolInputDelta { tool_call_id, input_text_delta } => {
                if let Some(Tool { input: Input::Streaming(text), .. }) = self.tool(&tool_call_id) {
                    text.push_str(&input_text_delta);
                }
            }
            Chunk::ToolInputAvailable { tool_call_id, tool_name, input, .. } => {
                self.tool_input(tool_call_id, tool_name, input);
            }
            Chunk::ToolOutputAvailable { tool_call_id, output, preliminary } => {
                let output =
                    if preliminary == Some(true) { Output::Preliminary(output) } else { Output::Available(output) };
                self.tool_output(&tool_call_id, output);
            }
            Chunk::ToolOutputError { tool_call_id, error_text } => {
                self.tool_output(&tool_call_id, Output::Error(error_text));
            }
            Chunk::DataRetry { .. } => self.hide_step(),
            Chunk::DataStatus { .. } => {}
            Chunk::MessageMetadata { message_metadata } => self.status = Some(message_metadata.status),
            Chunk::Error { error_text } => self.error = Some(error_text),
            Chunk::Abort { reason } => self.end = Some(End::Abort(reason)),
            Chunk::Finish { finish_reason } => self.end = Some(End::Finish(finish_reason)),
        }
    }

    /// Notes the usage comment.
    pub fn note_usage(&mut self, usage: TokenUsage) {
        self.usage = Some(usage);
    }

    /// Has `start` been sent?
    pub fn has_started(&self) -> bool {
        self.start.is_some()
    }

    /// Has the last chunk been sent?
    pub fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Is a step open?
    pub fn in_step(&self) -> bool {
        self.step_open
    }

    /// Does a call wait for its outcome?
    pub fn has_open_tools(&self) -> bool {
        self.open_tools().next().is_some()
    }

    /// How many steps were begun, hidden ones not counted.
    pub fn steps_begun(&self) -> usize {
        self.items.iter().filter(|item| matches!(item, Item::StepStart)).count()
    }

    /// The id of the next text or reasoning part.
    pub fn next_part(&self) -> PartId {
        PartId::nth(self.parts + 1)
    }

    /// Has the call's whole input been sent?
    pub fn has_tool_input(&self, call: &ToolCallId) -> bool {
        self.find_tool(call).is_some_and(|tool| matches!(tool.input, Input::Available(_)))
    }

    /// Has the call's outcome been sent?
    pub fn has_tool_output(&self, call: &ToolCallId) -> bool {
        self.find_tool(call).is_some_and(|tool| matches!(tool.output, Some(Output::Available(_) | Output::Error(_))))
    }

    /// Does the call wait for its outcome?
    pub fn lacks_output(&self, call: &ToolCallId) -> bool {
        self.open_tools().any(|open| open == call)
    }

    /// The shortest chunks that give a client the same message; the flag of each says whether
    /// the usage comment stands before it.
    pub fn replay(&self) -> Vec<Frame> {
        let mut frames = Vec::with_capacity(self.items.len() * 3 + 4);
        let mut push = |chunk| frames.push(Frame::Chunk(None, chunk));
        let Some(message_id) = self.start else { return frames };
        push(Chunk::Start { message_id });
        for item in &self.items {
            item.replay(&mut push);
        }
        if let Some(status) = self.status {
            push(Chunk::MessageMetadata { message_metadata: Metadata { status } });
        }
        if let Some(error_text) = &self.error {
            push(Chunk::Error { error_text: error_text.clone() });
        }
        if let Some(usage) = self.usage {
            frames.push(Frame::Usage(usage));
        }
        match &self.end {
            None => {}
            Some(End::Abort(reason)) => frames.push(Frame::Chunk(None, Chunk::Abort { reason: reason.clone() })),
            Some(End::Finish(reason)) => frames.push(Frame::Chunk(None, Chunk::Finish { finish_reason: *reason })),
        }
        frames
    }

    /// The chunks that close open parts, then open calls, then the step.
    pub fn closing(&self, unanswered: &str) -> Vec<Chunk> {
        let mut chunks = self.closing_parts();
        chunks.extend(
            self.open_tools()
                .map(|id| Chunk::ToolOutputError { tool_call_id: id.clone(), error_text: unanswered.to_owned() }),
        );
        if self.step_open {
            chunks.push(Chunk::FinishStep);
        }
        chunks
    }

    /// The chunks that close open text and reasoning parts.
    pub fn closing_parts(&self) -> Vec<Chunk> {
        self.items
            .iter()
            .filter_map(|item| match item {
                Item::Text { id, open: true, .. } => Some(Chunk::TextEnd { id: id.clone() }),
                Item::Reasoning { id, open: true, .. } => Some(Chunk::ReasoningEnd { id: id.clone() }),
                Item::Text { .. } | Item::Reasoning { .. } | Item::Tool(_) | Item::StepStart | Item::StepFinish => None,
            })
            .collect()
    }

    /// The chunks by which a new attempt takes back the step that the old one left unfinished
    /// (`spec/turns.md`, Takeover). Empty if no step is open.
    pub fn retrying(&self, attempt: Attempt) -> Vec<Chunk> {
        if !self.step_open {
            return Vec::new();
        }
        let mut chunks = self.closing("The worker that ran this call was lost.");
        chunks.push(Chunk::DataRetry { data: RetryData { attempt: attempt.0 } });
        chunks
    }

    /// The chunks that end the turn from wherever it stands.
    pub fn ending(&self, turn: TurnId, end: &TurnEnd) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        if self.start.is_none() {
            chunks.push(Chunk::Start { message_id: turn });
        }
        let unanswered = match end {
            TurnEnd::Completed(_) | TurnEnd::Failed(_) => "The call was not completed.",
            TurnEnd::Cancelled => "Stopped by the user.",
        };
        chunks.extend(self.closing(unanswered));
        let metadata = |status| Chunk::MessageMetadata { message_metadata: Metadata { status } };
        match end {
            TurnEnd::Completed(reason) => chunks.push(Chunk::Finish { finish_reason: Some(*reason) }),
            TurnEnd::Cancelled => {
                chunks.push(metadata(EndStatus::Stopped));
                chunks.push(Chunk::Abort { reason: Some("stopped".into()) });
            }
            TurnEnd::Failed(failure) => {
                chunks.push(metadata(EndStatus::Failed));
                chunks.push(Chunk::Error { error_text: error_text(failure.code, &failure.message) });
                chunks.push(Chunk::Finish { finish_reason: Some(FinishReason::Error) });
            }
        }
        chunks
    }

    /// What the open step said so far, as the history keeps it. Calls whose input is not
    /// complete are left out: no model could make sense of them.
    pub fn open_step_parts(&self) -> Vec<Part> {
        if !self.step_open {
            return Vec::new();
        }
        let start = self.last_step_start().unwrap_or(0);
        self.items.iter().skip(start).filter_map(Item::to_part).collect()
    }

    /// A stream that was begun anew tells nothing of hidden parts, and their numbers are taken, too.
    fn begin_part(&mut self, id: &PartId) {
        self.parts = (self.parts + 1).max(id.number().unwrap_or(0));
    }

    fn extend_part(&mut self, part: &PartId, delta: &str) {
        for item in self.items.iter_mut().rev() {
            match item {
                Item::Text { id, text, .. } | Item::Reasoning { id, text, .. } if id == part => {
                    text.push_str(delta);
                    return;
                }
                Item::Text { .. } | Item::Reasoning { .. } | Item::Tool(_) | Item::StepStart | Item::StepFinish => {}
            }
        }
    }

    fn close_part(&mut self, part: &PartId) {
        for item in self.items.iter_mut().rev() {
            match item {
                Item::Text { id, open, .. } | Item::Reasoning { id, open, .. } if id == part => {
                    *open = false;
                    return;
                }
                Item::Text { .. } | Item::Reasoning { .. } | Item::Tool(_) | Item::StepStart | Item::StepFinish => {}
            }
        }
    }

    fn tools(&self) -> impl DoubleEndedIterator<Item = &Tool> {
        self.items.iter().filter_map(|item| match item {
            Item::Tool(tool) => Some(tool),
            Item::Text { .. } | Item::Reasoning { .. } | Item::StepStart | Item::StepFinish => None,
        })
    }

    fn find_tool(&self, call: &ToolCallId) -> Option<&Tool> {
        self.tools().rev().find(|tool| &tool.id == call)
    }

    fn open_tools(&self) -> impl Iterator<Item = &ToolCallId> {
        self.tools().filter(|tool| matches!(tool.output, None | Some(Output::Preliminary(_)))).map(|tool| &tool.id)
    }

    fn tool(&mut self, call: &ToolCallId) -> Option<&mut Tool> {
        self.items.iter_mut().rev().find_map(|item| match item {
            Item::Tool(tool) if &tool.id == call => Some(tool),
            Item::Tool(_) | Item::Text { .. } | Item::Reasoning { .. } | Item::StepStart | Item::StepFinish => None,
        })
    }

    fn tool_input(&mut self, id: ToolCallId, name: String, value: Value) {
        let input = Input::Available(value);
        match self.tool(&id) {
            Some(tool) => tool.input = input,
            None => self.items.push(Item::Tool(Tool { id, name, input, output: None })),
        }
    }

    fn tool_output(&mut self, id: &ToolCallId, output: Output) {
        if let Some(tool) = self.tool(id) {
            tool.output = Some(output);
        }
    }

    fn last_step_start(&self) -> Option<usize> {
        self.items.iter().rposition(|item| matches!(item, Item::StepStart))
    }

    fn hide_step(&mut self) {
        if let Some(start) = self.last_step_start() {
            self.items.truncate(start);
        }
        self.step_open = false;
    }
}

impl Item {
    fn replay(&self, push: &mut impl FnMut(Chunk)) {
        match self {
            Self::StepStart => push(Chunk::StartStep),
            Self::StepFinish => push(Chunk::FinishStep),
            Self::Text { id, text, open } => {
                push(Chunk::TextStart { id: id.clone() });
                if !text.is_empty() {
                    push(Chunk::TextDelta { id: id.clone(), delta: text.clone() });
                }
                if !open {
                    push(Chunk::TextEnd { id: id.clone() });
                }
            }
            Self::Reasoning { id, text, open } => {
                push(Chunk::ReasoningStart { id: id.clone() });
                if !text.is_empty() {
                    push(Chunk::ReasoningDelta { id: id.clone(), delta: text.clone() });
                }
                if !open {
                    push(Chunk::ReasoningEnd { id: id.clone() });
                }
            }
            Self::Tool(tool) => tool.replay(push),
        }
    }

    fn to_part(&self) -> Option<Part> {
        match self {
            Self::StepStart | Self::StepFinish => None,
            Self::Text { id, text, .. } => {
                (!text.is_empty()).then(|| Part::Text { id: Some(id.clone()), text: text.clone() })
            }
            Self::Reasoning { id, text, .. } => {
                Some(Part::Reasoning { id: id.clone(), text: text.clone(), signature: None })
            }
            Self::Tool(tool) => match &tool.input {
                Input::Streaming(_) => None,
                Input::Available(_) if compaction::is_compaction(&tool.id) => {
                    Some(Part::Compaction { id: tool.id.clone() })
                }
                Input::Available(input) => {
                    Some(Part::ToolCall { id: tool.id.clone(), name: tool.name.clone(), input: input.clone() })
                }
            },
        }
    }
}

impl Tool {
    fn replay(&self, push: &mut impl FnMut(Chunk)) {
        let tool_call_id = self.id.clone();
        let tool_name = self.name.clone();
        match &self.input {
            Input::Streaming(text) => {
                push(Chunk::ToolInputStart { tool_call_id: tool_call_id.clone(), tool_name, provider_executed: true });
                if !text.is_empty() {
                    push(Chunk::ToolInputDelta { tool_call_id: tool_call_id.clone(), input_text_delta: text.clone() });
                }
            }
            Input::Available(input) => push(Chunk::ToolInputAvailable {
                tool_call_id: tool_call_id.clone(),
                tool_name,
                input: input.clone(),
                provider_executed: true,
            }),
        }
        match &self.output {
            None => {}
            Some(Output::Preliminary(output)) => {
                push(Chunk::ToolOutputAvailable { tool_call_id, output: output.clone(), preliminary: Some(true) });
            }
            Some(Output::Available(output)) => {
                push(Chunk::ToolOutputAvailable { tool_call_id, output: output.clone(), preliminary: None });
            }
            Some(Output::Error(error_text)) => {
                push(Chunk::ToolOutputError { tool_call_id, error_text: error_text.clone() });
            }
        }
    }
}

#[cfg(test)]
#[path = "fold/laws.rs"]
mod laws;
