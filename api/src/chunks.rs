//! The chunks as the OpenAPI document describes them. What is sent is
//! [`copilot_shared::chunk::Chunk`]; the tests hold the two together.

use poem_openapi::{Enum, Object, Union};
use serde_json::Value;
use uuid::Uuid;

/// One event of a turn's stream: the JSON in the `data:` line of a frame. The last frame of an
/// ended turn is the word `[DONE]` instead.
#[derive(Debug, Clone, PartialEq, Union)]
#[oai(discriminator_name = "type", one_of = true, rename = "Chunk")]
pub enum StreamChunk {
    /// The answer begins.
    #[oai(mapping = "start")]
    Start(Start),
    /// A model call begins.
    #[oai(mapping = "start-step")]
    StartStep(StartStep),
    /// A model call and its tools are done.
    #[oai(mapping = "finish-step")]
    FinishStep(FinishStep),
    /// A text part begins.
    #[oai(mapping = "text-start")]
    TextStart(TextStart),
    /// A piece of text.
    #[oai(mapping = "text-delta")]
    TextDelta(TextDelta),
    /// A text part ends.
    #[oai(mapping = "text-end")]
    TextEnd(TextEnd),
    /// A thought begins.
    #[oai(mapping = "reasoning-start")]
    ReasoningStart(ReasoningStart),
    /// A piece of a thought.
    #[oai(mapping = "reasoning-delta")]
    ReasoningDelta(ReasoningDelta),
    /// A thought ends.
    #[oai(mapping = "reasoning-end")]
    ReasoningEnd(ReasoningEnd),
    /// The model begins to ask for a tool.
    #[oai(mapping = "tool-input-start")]
    ToolInputStart(ToolInputStart),
    /// A piece of the arguments.
    #[oai(mapping = "tool-input-delta")]
    ToolInputDelta(ToolInputDelta),
    /// The arguments are complete.
    #[oai(mapping = "tool-input-available")]
    ToolInputAvailable(ToolInputAvailable),
    /// What the tool answered.
    #[oai(mapping = "tool-output-available")]
    ToolOutputAvailable(ToolOutputAvailable),
    /// The tool failed.
    #[oai(mapping = "tool-output-error")]
    ToolOutputError(ToolOutputError),
    /// What an attempt that died had written is to be hidden.
    #[oai(mapping = "data-retry")]
    DataRetry(DataRetry),
    /// Where a waiting turn stands.
    #[oai(mapping = "data-status")]
    DataStatus(DataStatus),
    /// Facts about the answer.
    #[oai(mapping = "message-metadata")]
    MessageMetadata(MessageMetadata),
    /// The turn failed.
    #[oai(mapping = "error")]
    Error(ErrorChunk),
    /// The turn was stopped.
    #[oai(mapping = "abort")]
    Abort(Abort),
    /// The turn is over.
    #[oai(mapping = "finish")]
    Finish(Finish),
}

/// The answer begins.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename = "StartChunk", rename_all = "camelCase")]
pub struct Start {
    /// The id of the answer's message, which is the turn's, over every reconnect and attempt.
    pub message_id: Uuid,
}

/// A model call begins.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename = "StartStepChunk")]
pub struct StartStep {}

/// A model call and its tools are done.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename = "FinishStepChunk")]
pub struct FinishStep {}

macro_rules! part_chunks {
    ($($(#[$doc:meta])* $name:ident = $schema:literal { $($(#[$field_doc:meta])* $field:ident),* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Object)]
            #[oai(rename = $schema)]
            pub struct $name {
                /// The part, unique in its turn.
                pub id: String,
                $($(#[$field_doc])* pub $field: String,)*
            }
        )*
    };
}

part_chunks! {
    /// A text part begins.
    TextStart = "TextStartChunk" {}
    /// A piece of text.
    TextDelta = "TextDeltaChunk" {
        /// The piece.
        delta
    }
    /// A text part ends.
    TextEnd = "TextEndChunk" {}
    /// A thought begins.
    ReasoningStart = "ReasoningStartChunk" {}
    /// A piece of a thought.
    ReasoningDelta = "ReasoningDeltaChunk" {
        /// The piece.
        delta
    }
    /// A thought ends.
    ReasoningEnd = "ReasoningEndChunk" {}
}

/// The model begins to ask for a tool.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename = "ToolInputStartChunk", rename_all = "camelCase")]
pub struct ToolInputStart {
    /// The call.
    pub tool_call_id: String,
    /// The tool.
    pub tool_name: String,
    /// Always true: tools run on the server.
    pub provider_executed: bool,
}

/// A piece of the arguments' JSON text.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename = "ToolInputDeltaChunk", rename_all = "camelCase")]
pub struct ToolInputDelta {
    /// The call.
    pub tool_call_id: String,
    /// The piece.
    pub input_text_delta: String,
}

/// The arguments are complete.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename = "ToolInputAvailableChunk", rename_all = "camelCase")]
pub struct ToolInputAvailable {
    /// The call.
    pub tool_call_id: String,
    /// The tool.
    pub tool_name: String,
    /// The arguments.
    pub input: Value,
    /// Always true: tools run on the server.
    pub provider_executed: bool,
}

/// What the tool answered.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename = "ToolOutputAvailableChunk", rename_all = "camelCase", skip_serializing_if_is_none)]
pub struct ToolOutputAvailable {
    /// The call.
    pub tool_call_id: String,
    /// The answer: a string that holds the JSON of a `ToolResponse`, or of what is left of one that
    /// was too long.
    pub output: Value,
    /// True while the tool is at work and a later output replaces this one.
    pub preliminary: Option<bool>,
}

/// The tool failed, or its outcome is unknown.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename = "ToolOutputErrorChunk", rename_all = "camelCase")]
pub struct ToolOutputError {
    /// The call.
    pub tool_call_id: String,
    /// Why: the JSON of an `error` of `ToolResponse`, or a sentence where the tool gave no answer.
    pub error_text: String,
}

/// Everything from the last `start-step` before it up to itself is to be hidden: the attempt that
/// wrote it died, and the step begins again.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename = "DataRetryChunk")]
pub struct DataRetry {
    /// Which attempt goes on.
    pub data: RetryData,
}

/// Which attempt goes on.
#[derive(Debug, Clone, PartialEq, Object)]
pub struct RetryData {
    /// Its number.
    pub attempt: i32,
}

/// Where a waiting turn stands. It has no id, and may precede `start`.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename = "DataStatusChunk")]
pub struct DataStatus {
    /// The place.
    pub data: StatusData,
    /// Always true: it is no part of the message.
    pub transient: bool,
}

/// Where a waiting turn stands.
#[derive(Debug, Clone, PartialEq, Object)]
pub struct StatusData {
    /// That it waits.
    pub status: WaitingStatus,
    /// 1 is next.
    pub position: i64,
}

/// That a turn waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub enum WaitingStatus {
    /// Behind another turn, or for a worker.
    Queued,
}

/// Facts about an answer that did not end well.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename = "MessageMetadataChunk", rename_all = "camelCase")]
pub struct MessageMetadata {
    /// The facts.
    pub message_metadata: Metadata,
}

/// Facts about an answer that did not end well.
#[derive(Debug, Clone, PartialEq, Object)]
pub struct Metadata {
    /// How it ended.
    pub status: EndStatus,
}

/// How an answer ended that was not completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub enum EndStatus {
    /// By its user.
    Stopped,
    /// By an error.
    Failed,
}

/// The turn failed; `finish` follows.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename = "ErrorChunk", rename_all = "camelCase")]
pub struct ErrorChunk {
    /// `[code:<code>] ` and a sentence.
    pub error_text: String,
}

/// The turn was stopped. The last chunk.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename = "AbortChunk", skip_serializing_if_is_none)]
pub struct Abort {
    /// Why.
    pub reason: Option<String>,
}

/// The turn is over. The last chunk.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename = "FinishChunk", rename_all = "camelCase", skip_serializing_if_is_none)]
pub struct Finish {
    /// Why the model stopped.
    pub finish_reason: Option<FinishReason>,
}

/// Why the model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "kebab-case")]
pub enum FinishReason {
    /// It had said everything.
    Stop,
    /// It ran into its output limit.
    Length,
    /// The provider's filter cut it.
    ContentFilter,
    /// It waits for tools.
    ToolCalls,
    /// It broke.
    Error,
    /// Something else.
    Other,
}

#[cfg(test)]
mod tests {
    use super::StreamChunk;
    use copilot_shared::chunk::{Chunk, EndStatus, Metadata, RetryData, StatusData};
    use copilot_shared::id::{PartId, ToolCallId, TurnId};
    use copilot_shared::turn::FinishReason;
    use poem_openapi::types::{ParseFromJSON, ToJSON};
    use serde_json::json;

    /// Every variant, each optional field once there and once not. The match has no wildcard, so
    /// a new variant does not compile until it is here.
    fn every_chunk() -> Vec<Chunk> {
        let (id, call) = (PartId::nth(1), ToolCallId("call_1".into()));
        let reasons = [
            FinishReason::Stop,
            FinishReason::Length,
            FinishReason::ContentFilter,
            FinishReason::ToolCalls,
            FinishReason::Error,
            FinishReason::Other,
        ];
        let mut chunks = vec![
            Chunk::Start { message_id: TurnId::generate() },
            Chunk::StartStep,
            Chunk::FinishStep,
            Chunk::TextStart { id: id.clone() },
            Chunk::TextDelta { id: id.clone(), delta: "d".into() },
            Chunk::TextEnd { id: id.clone() },
            Chunk::ReasoningStart { id: id.clone() },
            Chunk::ReasoningDelta { id: id.clone(), delta: "d".into() },
            Chunk::ReasoningEnd { id },
            Chunk::ToolInputStart { tool_call_id: call.clone(), tool_name: "t".into(), provider_executed: true },
            Chunk::ToolInputDelta { tool_call_id: call.clone(), input_text_delta: "{".into() },
            Chunk::ToolInputAvailable {
                tool_call_id: call.clone(),
                tool_name: "t".into(),
                input: json!({"a": [1, null]}),
                provider_executed: true,
            },
            Chunk::ToolOutputAvailable { tool_call_id: call.clone(), output: json!("o"), preliminary: None },
            Chunk::ToolOutputAvailable { tool_call_id: call.clone(), output: json!({"o": 1}), preliminary: Some(true) },
            Chunk::ToolOutputError { tool_call_id: call, error_text: "e".into() },
            Chunk::DataRetry { data: RetryData { attempt: 2 } },
            Chunk::DataStatus { data: StatusData { status: "queued".into(), position: 1 }, transient: true },
            Chunk::MessageMetadata { message_metadata: Metadata { status: EndStatus::Stopped } },
            Chunk::MessageMetadata { message_metadata: Metadata { status: EndStatus::Failed } },
            Chunk::Error { error_text: "e".into() },
            Chunk::Abort { reason: None },
            Chunk::Abort { reason: Some("r".into()) },
            Chunk::Finish { finish_reason: None },
        ];
        chunks.extend(reasons.map(|reason| Chunk::Finish { finish_reason: Some(reason) }));
        chunks
    }

    fn number_of(chunk: &Chunk) -> usize {
        match chunk {
            Chunk::Start { .. } => 0,
            Chunk::StartStep => 1,
            Chunk::FinishStep => 2,
            Chunk::TextStart { .. } => 3,
            Chunk::TextDelta { .. } => 4,
            Chunk::TextEnd { .. } => 5,
            Chunk::ReasoningStart { .. } => 6,
            Chunk::ReasoningDelta { .. } => 7,
            Chunk::ReasoningEnd { .. } => 8,
            Chunk::ToolInputStart { .. } => 9,
            Chunk::ToolInputDelta { .. } => 10,
            Chunk::ToolInputAvailable { .. } => 11,
            Chunk::ToolOutputAvailable { .. } => 12,
            Chunk::ToolOutputError { .. } => 13,
            Chunk::DataRetry { .. } => 14,
            Chunk::DataStatus { .. } => 15,
            Chunk::MessageMetadata { .. } => 16,
            Chunk::Error { .. } => 17,
            Chunk::Abort { .. } => 18,
            Chunk::Finish { .. } => 19,
        }
    }

    #[test]
    fn every_chunk_that_is_sent_is_documented_as_it_is() {
        let chunks = every_chunk();
        let numbers: std::collections::BTreeSet<usize> = chunks.iter().map(number_of).collect();
        assert_eq!(numbers.len(), 20, "a chunk type is missing in the list above");
        for chunk in chunks {
            let sent = serde_json::to_value(&chunk).unwrap();
            let documented = StreamChunk::parse_from_json(Some(sent.clone())).expect("undocumented chunk");
            assert_eq!(documented.to_json(), Some(sent));
        }
    }
}
