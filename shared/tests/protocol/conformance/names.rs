//! What the model's ids, chunks and outcomes are called on the servers, and back.

use copilot_shared::chunk::{Chunk as RealChunk, EndStatus, Metadata, RetryData, error_text};
use copilot_shared::id::{PartId, ToolCallId, TurnId as RealTurnId};
use copilot_shared::message::{Part, ToolOutcome};
use copilot_shared::turn::{ErrorCode as RealErrorCode, Failure, FinishReason, TurnEnd};
use serde_json::{Value, json};

use crate::model::CallId;
use crate::model::chunk::{Chunk, End, ErrorCode, Outcome, Said, Status};

const UNKNOWN: &str = "The outcome is unknown.";
const NOT_COMPLETED: &str = "The call was not completed.";
const STOPPED: &str = "Stopped by the user.";
const WORKER_LOST: &str = "The worker that ran this call was lost.";

/// Four characters, which are estimated as one token.
pub fn piece(piece: u16) -> String {
    format!("{piece:04}")
}

fn pieces(text: &str) -> impl Iterator<Item = u16> {
    text.as_bytes().chunks(4).map(|four| std::str::from_utf8(four).unwrap().parse().unwrap())
}

/// A call.
pub fn call(call: CallId) -> ToolCallId {
    ToolCallId(format!("call-{}", call.0))
}

/// A call, read back.
pub fn call_of(id: &ToolCallId) -> CallId {
    CallId(id.as_str().strip_prefix("call-").unwrap().parse().unwrap())
}

/// The arguments of every call: four characters as well.
pub fn input() -> Value {
    json!("ab")
}

/// An outcome.
pub fn outcome(outcome: Outcome) -> ToolOutcome {
    match outcome {
        Outcome::Output(n) => ToolOutcome::Output(json!(n)),
        Outcome::Unknown => ToolOutcome::Error(UNKNOWN.into()),
        Outcome::NotCompleted => ToolOutcome::Error(NOT_COMPLETED.into()),
        Outcome::Stopped => ToolOutcome::Error(STOPPED.into()),
        Outcome::WorkerLost => ToolOutcome::Error(WORKER_LOST.into()),
    }
}

/// An outcome, read back.
pub fn outcome_of(outcome: &ToolOutcome) -> Outcome {
    match outcome {
        ToolOutcome::Output(value) => output_of(value),
        ToolOutcome::Error(text) => failure_of(text),
    }
}

fn output_of(value: &Value) -> Outcome {
    Outcome::Output(u8::try_from(value.as_u64().unwrap()).unwrap())
}

fn failure_of(text: &str) -> Outcome {
    match text {
        UNKNOWN => Outcome::Unknown,
        NOT_COMPLETED => Outcome::NotCompleted,
        STOPPED => Outcome::Stopped,
        WORKER_LOST => Outcome::WorkerLost,
        other => panic!("no outcome of the model's: {other}"),
    }
}

/// What a model call said.
pub fn parts(said: &Said) -> Vec<Part> {
    let text: String = said.text.1.iter().map(piece).collect();
    let text = (!text.is_empty()).then(|| Part::Text { id: Some(PartId::nth(said.text.0.into())), text });
    let calls = said.calls.iter().map(|id| Part::ToolCall { id: call(id), name: "t".into(), input: input() });
    text.into_iter().chain(calls).collect()
}

/// An end.
pub fn end(end: End) -> TurnEnd {
    match end {
        End::Completed => TurnEnd::Completed(FinishReason::Stop),
        End::Cancelled => TurnEnd::Cancelled,
        End::Failed(code) => TurnEnd::Failed(Failure::new(error_code(code), "It broke.")),
    }
}

/// An end, read back.
pub fn end_of(end: &TurnEnd) -> End {
    match end {
        TurnEnd::Completed(_) => End::Completed,
        TurnEnd::Cancelled => End::Cancelled,
        TurnEnd::Failed(failure) => End::Failed(error_code_of(failure.code)),
    }
}

fn error_code(code: ErrorCode) -> RealErrorCode {
    match code {
        ErrorCode::ProviderError => RealErrorCode::ProviderError,
        ErrorCode::QueueTimeout => RealErrorCode::QueueTimeout,
        ErrorCode::AttemptsExhausted => RealErrorCode::AttemptsExhausted,
        ErrorCode::LimitReached => RealErrorCode::LimitReached,
        ErrorCode::UsageUnavailable => RealErrorCode::UsageUnavailable,
    }
}

fn error_code_of(code: RealErrorCode) -> ErrorCode {
    [ErrorCode::ProviderError, ErrorCode::QueueTimeout, ErrorCode::AttemptsExhausted]
        .into_iter()
        .find(|known| error_code(*known) == code)
        .unwrap()
}

/// A code as the row has it.
pub fn error_word(code: ErrorCode) -> &'static str {
    error_code(code).as_str()
}

/// A chunk.
pub fn chunk(turn: RealTurnId, chunk: Chunk) -> RealChunk {
    let part = |n: u8| PartId::nth(n.into());
    match chunk {
        Chunk::Start => RealChunk::Start { message_id: turn },
        Chunk::StepStart => RealChunk::StartStep,
        Chunk::StepFinish => RealChunk::FinishStep,
        Chunk::TextStart(id) => RealChunk::TextStart { id: part(id) },
        Chunk::TextDelta(id, n) => RealChunk::TextDelta { id: part(id), delta: piece(n) },
        Chunk::TextEnd(id) => RealChunk::TextEnd { id: part(id) },
        Chunk::ToolInputStart(id) => {
            RealChunk::ToolInputStart { tool_call_id: call(id), tool_name: "t".into(), provider_executed: true }
        }
        Chunk::ToolInputAvailable(id) => RealChunk::ToolInputAvailable {
            tool_call_id: call(id),
            tool_name: "t".into(),
            input: input(),
            provider_executed: true,
        },
        Chunk::ToolOutput(id, came) => match outcome(came) {
            ToolOutcome::Output(output) => {
                RealChunk::ToolOutputAvailable { tool_call_id: call(id), output, preliminary: None }
            }
            ToolOutcome::Error(error_text) => RealChunk::ToolOutputError { tool_call_id: call(id), error_text },
        },
        Chunk::Retry(attempt) => RealChunk::DataRetry { data: RetryData { attempt: attempt.into() } },
        Chunk::Metadata(status) => RealChunk::MessageMetadata {
            message_metadata: Metadata {
                status: if status == Status::Failed { EndStatus::Failed } else { EndStatus::Stopped },
            },
        },
        Chunk::Error(code) => RealChunk::Error { error_text: error_text(error_code(code), "It broke.") },
        Chunk::Abort => RealChunk::Abort { reason: Some("stopped".into()) },
        Chunk::Finish(status) => RealChunk::Finish {
            finish_reason: Some(if status == Status::Failed { FinishReason::Error } else { FinishReason::Stop }),
        },
    }
}

/// A chunk, read back. A replay has whole texts, which are several pieces.
pub fn chunks_of(chunk: &RealChunk) -> Vec<Chunk> {
    let part = |id: &PartId| id.0.strip_prefix('p').unwrap().parse().unwrap();
    let one = match chunk {
        RealChunk::Start { .. } => Chunk::Start,
        RealChunk::StartStep => Chunk::StepStart,
        RealChunk::FinishStep => Chunk::StepFinish,
        RealChunk::TextStart { id } => Chunk::TextStart(part(id)),
        RealChunk::TextDelta { id, delta } => return pieces(delta).map(|n| Chunk::TextDelta(part(id), n)).collect(),
        RealChunk::TextEnd { id } => Chunk::TextEnd(part(id)),
        RealChunk::ToolInputStart { tool_call_id, .. } => Chunk::ToolInputStart(call_of(tool_call_id)),
        RealChunk::ToolInputAvailable { tool_call_id, .. } => Chunk::ToolInputAvailable(call_of(tool_call_id)),
        RealChunk::ToolOutputAvailable { tool_call_id, output, .. } => {
            Chunk::ToolOutput(call_of(tool_call_id), output_of(output))
        }
        RealChunk::ToolOutputError { tool_call_id, error_text } => {
            Chunk::ToolOutput(call_of(tool_call_id), failure_of(error_text))
        }
        RealChunk::DataRetry { data } => Chunk::Retry(u8::try_from(data.attempt).unwrap()),
        RealChunk::MessageMetadata { message_metadata } => Chunk::Metadata(match message_metadata.status {
            EndStatus::Stopped => Status::Cancelled,
            EndStatus::Failed => Status::Failed,
        }),
        RealChunk::Error { error_text } => {
            let code = error_text.strip_prefix("[code:").and_then(|rest| rest.split(']').next()).unwrap();
            Chunk::Error(error_code_of(RealErrorCode::parse(code).unwrap()))
        }
        RealChunk::Abort { .. } => Chunk::Abort,
        RealChunk::Finish { finish_reason: Some(FinishReason::Error) } => Chunk::Finish(Status::Failed),
        RealChunk::Finish { .. } => Chunk::Finish(Status::Completed),
        other => panic!("no chunk of the model's: {other:?}"),
    };
    vec![one]
}

/// The parts of an assistant's message, as the model has them.
pub fn said_of(parts: &[Part]) -> Said {
    let mut said = Said::nothing();
    for part in parts {
        match part {
            Part::Text { id, text } => {
                said.text.0 = id.as_ref().map_or(0, |id| id.0.strip_prefix('p').unwrap().parse().unwrap());
                pieces(text).for_each(|n| said.text.1.push(n));
            }
            Part::ToolCall { id, .. } => said.calls.push(call_of(id)),
            other => panic!("no part of the model's: {other:?}"),
        }
    }
    said
}
