//! The chunks as the OpenAPI document tells them, so that a generated client needs no type of its
//! own. What is really sent are the bytes of [`copilot_shared::chunk`]; the tests hold the two
//! together.

use poem_openapi::types::Any;
use poem_openapi::{Enum, Object, Union};
use serde_json::Value;
use uuid::Uuid;

macro_rules! chunk_objects {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $ty:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Object)]
            #[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
            pub struct $name { $($(#[$field_doc])* pub $field: $ty,)* }
        )*
    };
}

/// One event of a turn: the AI SDK's UI message stream v1.
#[derive(Debug, Union)]
#[oai(discriminator_name = "type", one_of = true)]
pub enum UiMessageChunk {
    /// The answer begins.
    #[oai(mapping = "start")]
    Start(StartChunk),
    /// A model call begins.
    #[oai(mapping = "start-step")]
    StartStep(StartStepChunk),
    /// A model call and its tools are done.
    #[oai(mapping = "finish-step")]
    FinishStep(FinishStepChunk),
    /// A text part begins.
    #[oai(mapping = "text-start")]
    TextStart(TextStartChunk),
    /// A piece of text.
    #[oai(mapping = "text-delta")]
    TextDelta(TextDeltaChunk),
    /// A text part ends.
    #[oai(mapping = "text-end")]
    TextEnd(TextEndChunk),
    /// A thought begins.
    #[oai(mapping = "reasoning-start")]
    ReasoningStart(ReasoningStartChunk),
    /// A piece of a thought.
    #[oai(mapping = "reasoning-delta")]
    ReasoningDelta(ReasoningDeltaChunk),
    /// A thought ends.
    #[oai(mapping = "reasoning-end")]
    ReasoningEnd(ReasoningEndChunk),
    /// The model begins to ask for a tool.
    #[oai(mapping = "tool-input-start")]
    ToolInputStart(ToolInputStartChunk),
    /// A piece of the arguments.
    #[oai(mapping = "tool-input-delta")]
    ToolInputDelta(ToolInputDeltaChunk),
    /// The arguments are complete.
    #[oai(mapping = "tool-input-available")]
    ToolInputAvailable(ToolInputAvailableChunk),
    /// What the tool answered.
    #[oai(mapping = "tool-output-available")]
    ToolOutputAvailable(ToolOutputAvailableChunk),
    /// The tool failed.
    #[oai(mapping = "tool-output-error")]
    ToolOutputError(ToolOutputErrorChunk),
    /// Hide everything from the last `start-step` before it up to itself.
    #[oai(mapping = "data-retry")]
    DataRetry(DataRetryChunk),
    /// Where a waiting turn stands.
    #[oai(mapping = "data-status")]
    DataStatus(DataStatusChunk),
    /// Facts about the answer.
    #[oai(mapping = "message-metadata")]
    MessageMetadata(MessageMetadataChunk),
    /// The turn failed; `finish` follows.
    #[oai(mapping = "error")]
    Error(ErrorChunk),
    /// The turn was stopped.
    #[oai(mapping = "abort")]
    Abort(AbortChunk),
    /// The turn is over.
    #[oai(mapping = "finish")]
    Finish(FinishChunk),
}

chunk_objects! {
    /// The answer begins.
    StartChunk {
        /// The turn's id, whatever the attempt.
        message_id: Uuid,
    }
    /// A model call begins.
    StartStepChunk {}
    /// A model call and its tools are done.
    FinishStepChunk {}
    /// A text part begins.
    TextStartChunk {
        /// The part.
        id: String,
    }
    /// A piece of text.
    TextDeltaChunk {
        /// The part.
        id: String,
        /// The piece.
        delta: String,
    }
    /// A text part ends.
    TextEndChunk {
        /// The part.
        id: String,
    }
    /// A thought begins.
    ReasoningStartChunk {
        /// The part.
        id: String,
    }
    /// A piece of a thought.
    ReasoningDeltaChunk {
        /// The part.
        id: String,
        /// The piece.
        delta: String,
    }
    /// A thought ends.
    ReasoningEndChunk {
        /// The part.
        id: String,
    }
    /// The model begins to ask for a tool.
    ToolInputStartChunk {
        /// The call.
        tool_call_id: String,
        /// The tool.
        tool_name: String,
        /// Tools run on the server; a client must not run them again.
        provider_executed: bool,
    }
    /// A piece of the arguments.
    ToolInputDeltaChunk {
        /// The call.
        tool_call_id: String,
        /// The piece.
        input_text_delta: String,
    }
    /// The arguments are complete.
    ToolInputAvailableChunk {
        /// The call.
        tool_call_id: String,
        /// The tool.
        tool_name: String,
        /// The arguments.
        input: Any<Value>,
        /// Tools run on the server; a client must not run them again.
        provider_executed: bool,
    }
    /// What the tool answered.
    ToolOutputAvailableChunk {
        /// The call.
        tool_call_id: String,
        /// The answer.
        output: Any<Value>,
        /// The tool is still at work, and a later output replaces this one.
        preliminary: Option<bool>,
    }
    /// The tool failed.
    ToolOutputErrorChunk {
        /// The call.
        tool_call_id: String,
        /// Why.
        error_text: String,
    }
    /// Another attempt goes on.
    DataRetryChunk {
        /// Which one.
        data: RetryPayload,
    }
    /// Which attempt goes on.
    RetryPayload {
        /// Its number.
        attempt: i32,
    }
    /// Where a waiting turn stands.
    DataStatusChunk {
        /// Where.
        data: StatusPayload,
        /// Always true: it is no part of the message.
        transient: bool,
    }
    /// Where a waiting turn stands.
    StatusPayload {
        /// Always `queued`.
        status: String,
        /// 1 is next.
        position: i64,
    }
    /// Facts about the answer.
    MessageMetadataChunk {
        /// The facts.
        message_metadata: MetadataPayload,
    }
    /// Facts about the answer.
    MetadataPayload {
        /// How it ended.
        status: EndStatusWord,
    }
    /// The turn failed.
    ErrorChunk {
        /// `[code:<code>] ` and a sentence.
        error_text: String,
    }
    /// The turn was stopped.
    AbortChunk {
        /// Why.
        reason: Option<String>,
    }
    /// The turn is over.
    FinishChunk {
        /// Why the model stopped.
        finish_reason: Option<FinishReasonWord>,
    }
}

/// How an answer ended that was not completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub enum EndStatusWord {
    /// By its user.
    Stopped,
    /// By an error.
    Failed,
}

/// Why the model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "kebab-case")]
pub enum FinishReasonWord {
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
    use copilot_shared::chunk::{Chunk, EndStatus, Metadata, RetryData, StatusData};
    use copilot_shared::id::{PartId, ToolCallId, TurnId};
    use copilot_shared::turn::FinishReason;
    use poem_openapi::types::{ParseFromJSON, ToJSON};
    use serde_json::json;

    use super::*;

    fn every_chunk() -> Vec<Chunk> {
        let id = PartId::nth(1);
        let call = ToolCallId("call_1".into());
        let delta = String::from("x");
        let tool_name = String::from("t");
        vec![
            Chunk::Start { message_id: TurnId::generate() },
            Chunk::StartStep,
            Chunk::FinishStep,
            Chunk::TextStart { id: id.clone() },
            Chunk::TextDelta { id: id.clone(), delta: delta.clone() },
            Chunk::TextEnd { id: id.clone() },
            Chunk::ReasoningStart { id: id.clone() },
            Chunk::ReasoningDelta { id: id.clone(), delta },
            Chunk::ReasoningEnd { id },
            Chunk::ToolInputStart { tool_call_id: call.clone(), tool_name: tool_name.clone(), provider_executed: true },
            Chunk::ToolInputDelta { tool_call_id: call.clone(), input_text_delta: "{".into() },
            Chunk::ToolInputAvailable {
                tool_call_id: call.clone(),
                tool_name,
                input: json!({"a": [1]}),
                provider_executed: true,
            },
            Chunk::ToolOutputAvailable { tool_call_id: call.clone(), output: json!("x"), preliminary: Some(true) },
            Chunk::ToolOutputAvailable { tool_call_id: call.clone(), output: json!({"b": 2}), preliminary: None },
            Chunk::ToolOutputError { tool_call_id: call, error_text: "no".into() },
            Chunk::DataRetry { data: RetryData { attempt: 2 } },
            Chunk::DataStatus { data: StatusData { status: "queued".into(), position: 1 }, transient: true },
            Chunk::MessageMetadata { message_metadata: Metadata { status: EndStatus::Failed } },
            Chunk::Error { error_text: "[code:x] y".into() },
            Chunk::Abort { reason: None },
            Chunk::Abort { reason: Some("stopped".into()) },
            Chunk::Finish { finish_reason: Some(FinishReason::ContentFilter) },
            Chunk::Finish { finish_reason: None },
        ]
    }

    #[test]
    fn the_document_tells_exactly_what_is_sent() {
        for chunk in every_chunk() {
            let sent = serde_json::to_value(&chunk).unwrap();
            let told = UiMessageChunk::parse_from_json(Some(sent.clone())).unwrap_or_else(|error| {
                panic!("{sent}: {}", error.into_message());
            });
            assert_eq!(told.to_json(), Some(sent));
        }
    }
}
