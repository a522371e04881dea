//! Every event that a turn can emit, in the dialect of the AI SDK's UI message stream v1, and
//! its exact bytes on the wire.
//!
//! The fields are those of the strictest client in use (`ai` 6.0.134), which rejects unknown
//! fields, unknown types and a null for an absent field (`spec/stream.md`, Wire).

use std::io::Write;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{PartId, ToolCallId, TurnId};
use crate::turn::{ErrorCode, FinishReason};
use crate::usage::TokenUsage;

/// One event. New types and fields are only ever added: an old process may read them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Chunk {
    /// The answer begins. `message_id` is the turn's id, whatever the attempt.
    Start {
        /// The id of the answer's message.
        message_id: TurnId,
    },
    /// A model call begins.
    StartStep,
    /// A model call and its tools are done.
    FinishStep,
    /// A text part begins.
    TextStart {
        /// The part.
        id: PartId,
    },
    /// A piece of text.
    TextDelta {
        /// The part.
        id: PartId,
        /// The piece.
        delta: String,
    },
    /// A text part ends.
    TextEnd {
        /// The part.
        id: PartId,
    },
    /// A thought begins.
    ReasoningStart {
        /// The part.
        id: PartId,
    },
    /// A piece of a thought.
    ReasoningDelta {
        /// The part.
        id: PartId,
        /// The piece.
        delta: String,
    },
    /// A thought ends.
    ReasoningEnd {
        /// The part.
        id: PartId,
    },
    /// The model begins to ask for a tool.
    ToolInputStart {
        /// The call.
        tool_call_id: ToolCallId,
        /// The tool.
        tool_name: String,
        /// Always true: our tools run here, and a client must not run them again.
        provider_executed: bool,
    },
    /// A piece of the arguments' JSON text.
    ToolInputDelta {
        /// The call.
        tool_call_id: ToolCallId,
        /// The piece.
        input_text_delta: String,
    },
    /// The arguments are complete.
    ToolInputAvailable {
        /// The call.
        tool_call_id: ToolCallId,
        /// The tool.
        tool_name: String,
        /// The arguments.
        input: Value,
        /// Always true, as above.
        provider_executed: bool,
    },
    /// What the tool answered.
    ToolOutputAvailable {
        /// The call.
        tool_call_id: ToolCallId,
        /// The answer.
        output: Value,
        /// True while the tool is still at work and a later output replaces this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        preliminary: Option<bool>,
    },
    /// The tool failed, or its outcome is unknown.
    ToolOutputError {
        /// The call.
        tool_call_id: ToolCallId,
        /// Why.
        error_text: String,
    },
    /// Everything from the last `start-step` before it up to itself is to be hidden: the attempt
    /// that wrote it died.
    #[serde(rename = "data-retry")]
    DataRetry {
        /// Which attempt goes on.
        data: RetryData,
    },
    /// Where a waiting turn stands. Made by the API, never stored.
    #[serde(rename = "data-status")]
    DataStatus {
        /// The state.
        data: StatusData,
        /// Always true: it is no part of the message.
        transient: bool,
    },
    /// Facts about the answer.
    MessageMetadata {
        /// The facts.
        message_metadata: Metadata,
    },
    /// The turn failed; `finish` follows.
    Error {
        /// `[code:<code>] ` and a sentence.
        error_text: String,
    },
    /// The turn was stopped. The last chunk.
    Abort {
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The turn is over. The last chunk.
    Finish {
        /// Why the model stopped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        finish_reason: Option<FinishReason>,
    },
}

/// The payload of `data-retry`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryData {
    /// The attempt that goes on.
    pub attempt: i32,
}

/// The payload of `data-status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusData {
    /// Always `queued`.
    pub status: String,
    /// How many turns are before it, plus one.
    pub position: i64,
}

/// Facts about an answer that did not end well; clients drop `abort` and `error` themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// How it ended.
    pub status: EndStatus,
}

/// How an answer ended that was not completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndStatus {
    /// By its user.
    Stopped,
    /// By an error.
    Failed,
}

/// The text of an `error` chunk.
pub fn error_text(code: ErrorCode, sentence: &str) -> String {
    format!("[code:{}] {sentence}", code.as_str())
}

/// The last frame of a turn that has ended.
pub const DONE_FRAME: &[u8] = b"data: [DONE]\n\n";

/// The comment that keeps a silent connection open.
pub const HEARTBEAT_FRAME: &[u8] = b": heartbeat\n\n";

/// What can stand in a stored batch: a chunk, or the usage comment before the end.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// A chunk with its place in the turn; frames that are in no sequence have none.
    Chunk(Option<u64>, Chunk),
    /// `: usage {…}`.
    Usage(TokenUsage),
}

/// Writes a chunk as an event with its cursor.
pub fn write_frame(out: &mut Vec<u8>, turn: TurnId, sequence: u64, chunk: &Chunk) {
    // Writing into a Vec cannot fail, and neither can serialising a chunk: its maps have string keys.
    let id = writeln!(out, "id: {turn}:{sequence}");
    debug_assert!(id.is_ok());
    write_bare_frame(out, chunk);
}

/// Writes a chunk as an event that is no cursor: made by the API, or within a replay.
pub fn write_bare_frame(out: &mut Vec<u8>, chunk: &Chunk) {
    out.extend_from_slice(b"data: ");
    let json = serde_json::to_writer(&mut *out, chunk);
    debug_assert!(json.is_ok());
    out.extend_from_slice(b"\n\n");
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the names are those of the wire")]
struct UsageComment {
    prompt_tokens: i64,
    completion_tokens: i64,
    total_tokens: i64,
    cache_read_tokens: i64,
    cache_creation_tokens: i64,
}

/// Writes the usage comment.
pub fn write_usage(out: &mut Vec<u8>, usage: &TokenUsage) {
    let comment = UsageComment {
        prompt_tokens: usage.prompt,
        completion_tokens: usage.completion,
        total_tokens: usage.total(),
        cache_read_tokens: usage.cache_read,
        cache_creation_tokens: usage.cache_creation,
    };
    out.extend_from_slice(b": usage ");
    let json = serde_json::to_writer(&mut *out, &comment);
    debug_assert!(json.is_ok());
    out.extend_from_slice(b"\n\n");
}

/// Bytes that are no frame of ours.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A line that no frame has.
    #[error("not a frame: {0:?}")]
    Malformed(String),
    /// JSON that is no chunk.
    #[error("not a chunk")]
    Chunk(#[source] serde_json::Error),
}

/// Reads stored frames back. What only a newer version knows, a chunk or a comment, is left out: two
/// versions run side by side during a deploy, and a client of the old one still gets the frame itself.
pub fn parse_frames(bytes: &[u8]) -> Result<Vec<Frame>, FrameError> {
    let mut frames = Vec::new();
    let mut sequence = None;
    for line in bytes.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
        if let Some(json) = line.strip_prefix(b"data: ") {
            let sequence = sequence.take();
            match serde_json::from_slice(json) {
                Ok(chunk) => frames.push(Frame::Chunk(sequence, chunk)),
                Err(error) => left_out(json).then_some(()).ok_or(FrameError::Chunk(error))?,
            }
        } else if let Some(id) = line.strip_prefix(b"id: ") {
            sequence = Some(parse_sequence(id).ok_or_else(|| malformed(line))?);
        } else if let Some(json) = line.strip_prefix(b": usage ") {
            let comment: UsageComment = serde_json::from_slice(json).map_err(FrameError::Chunk)?;
            frames.push(Frame::Usage(TokenUsage {
                prompt: comment.prompt_tokens,
                completion: comment.completion_tokens,
                cache_read: comment.cache_read_tokens,
                cache_creation: comment.cache_creation_tokens,
                estimated: false,
            }));
        } else if !line.starts_with(b": ") {
            return Err(malformed(line));
        }
    }
    Ok(frames)
}

/// Is this a chunk, though none that we know?
fn left_out(json: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Typed<'a> {
        #[serde(rename = "type", borrow)]
        kind: std::borrow::Cow<'a, str>,
    }
    let later = serde_json::from_slice::<Typed<'_>>(json);
    if let Ok(Typed { kind }) = &later {
        tracing::debug!(%kind, "a chunk of a newer version was left out of a fold");
    }
    later.is_ok()
}

fn malformed(line: &[u8]) -> FrameError {
    FrameError::Malformed(String::from_utf8_lossy(line).into_owned())
}

fn parse_sequence(id: &[u8]) -> Option<u64> {
    std::str::from_utf8(id).ok()?.rsplit_once(':')?.1.parse().ok()
}

/// Where the frame with sequence number `first` begins in a batch of frames, so that a client
/// that has the earlier ones gets exactly the rest.
pub fn offset_of(bytes: &[u8], first: u64) -> usize {
    let mut start = 0;
    for piece in bytes.split_inclusive(|&b| b == b'\n') {
        let at_or_after = piece
            .strip_prefix(b"id: ")
            .and_then(|id| parse_sequence(id.strip_suffix(b"\n").unwrap_or(id)))
            .is_some_and(|sequence| sequence >= first);
        if at_or_after {
            return start;
        }
        start += piece.len();
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wire(chunk: &Chunk) -> Value {
        serde_json::to_value(chunk).unwrap()
    }

    #[test]
    fn chunks_have_the_fields_of_the_strictest_client() {
        let call = ToolCallId("call_1".into());
        let turn = TurnId::generate();
        let cases = [
            (Chunk::Start { message_id: turn }, json!({"type": "start", "messageId": turn})),
            (Chunk::StartStep, json!({"type": "start-step"})),
            (
                Chunk::TextDelta { id: PartId::nth(1), delta: "hi".into() },
                json!({"type": "text-delta", "id": "p1", "delta": "hi"}),
            ),
            (
                Chunk::ToolInputStart { tool_call_id: call.clone(), tool_name: "t".into(), provider_executed: true },
                json!({"type": "tool-input-start", "toolCallId": "call_1", "toolName": "t", "providerExecuted": true}),
            ),
            (
                Chunk::ToolInputDelta { tool_call_id: call.clone(), input_text_delta: "{".into() },
                json!({"type": "tool-input-delta", "toolCallId": "call_1", "inputTextDelta": "{"}),
            ),
            (
                Chunk::ToolOutputAvailable { tool_call_id: call.clone(), output: json!({"a": 1}), preliminary: None },
                json!({"type": "tool-output-available", "toolCallId": "call_1", "output": {"a": 1}}),
            ),
            (
                Chunk::ToolOutputError { tool_call_id: call, error_text: "no".into() },
                json!({"type": "tool-output-error", "toolCallId": "call_1", "errorText": "no"}),
            ),
            (
                Chunk::DataRetry { data: RetryData { attempt: 2 } },
                json!({"type": "data-retry", "data": {"attempt": 2}}),
            ),
            (
                Chunk::MessageMetadata { message_metadata: Metadata { status: EndStatus::Stopped } },
                json!({"type": "message-metadata", "messageMetadata": {"status": "stopped"}}),
            ),
            (Chunk::Abort { reason: None }, json!({"type": "abort"})),
            (
                Chunk::Finish { finish_reason: Some(FinishReason::ToolCalls) },
                json!({"type": "finish", "finishReason": "tool-calls"}),
            ),
        ];
        for (chunk, expected) in cases {
            assert_eq!(wire(&chunk), expected);
            assert_eq!(serde_json::from_value::<Chunk>(expected).unwrap(), chunk);
        }
    }

    #[test]
    fn frames_read_back_with_their_sequence() {
        let turn = TurnId::generate();
        let mut bytes = Vec::new();
        write_frame(&mut bytes, turn, 7, &Chunk::StartStep);
        write_usage(&mut bytes, &TokenUsage { prompt: 1, completion: 2, ..TokenUsage::default() });
        write_frame(&mut bytes, turn, 8, &Chunk::TextDelta { id: PartId::nth(1), delta: "a\n\nb".into() });
        let frames = parse_frames(&bytes).unwrap();
        assert_eq!(frames[0], Frame::Chunk(Some(7), Chunk::StartStep));
        assert!(matches!(&frames[1], Frame::Usage(usage) if usage.total() == 3));
        assert!(matches!(&frames[2], Frame::Chunk(Some(8), Chunk::TextDelta { delta, .. }) if delta == "a\n\nb"));
    }

    #[test]
    fn what_only_a_newer_version_knows_is_left_out_of_a_fold_and_nothing_else_is() {
        let bytes = b"id: 01a20f01-2615-751f-80aa-9d3c371f469e:1\ndata: {\"type\":\"start-step\",\"later\":1}\n\n\
            id: 01a20f01-2615-751f-80aa-9d3c371f469e:2\ndata: {\"type\":\"data-hologram\",\"data\":{}}\n\n\
            : price {}\n\n\
            id: 01a20f01-2615-751f-80aa-9d3c371f469e:3\ndata: {\"type\":\"finish-step\"}\n\n";
        let known = [Frame::Chunk(Some(1), Chunk::StartStep), Frame::Chunk(Some(3), Chunk::FinishStep)];
        assert_eq!(parse_frames(bytes).unwrap(), known);
        for broken in ["data: {\"type\":", "data: [1]", "what: is this"] {
            assert!(parse_frames(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_batch_is_cut_exactly_at_a_sequence() {
        let turn = TurnId::generate();
        let mut bytes = Vec::new();
        let mut starts = Vec::new();
        for sequence in 5..9 {
            starts.push(bytes.len());
            write_frame(
                &mut bytes,
                turn,
                sequence,
                &Chunk::TextDelta { id: PartId::nth(1), delta: format!("id: {turn}:9") },
            );
        }
        assert_eq!(offset_of(&bytes, 1), 0);
        for (at, sequence) in starts.iter().zip(5..) {
            assert_eq!(offset_of(&bytes, sequence), *at);
        }
        assert_eq!(offset_of(&bytes, 9), bytes.len());
    }
}
