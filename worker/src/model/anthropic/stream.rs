//! The events of a streamed message. One is read per token, so they are one flat shape of borrowed
//! fields: serde buffers tagged enums.

use std::collections::BTreeMap;

use copilot_shared::turn::FinishReason;
use copilot_shared::usage::TokenUsage;
use serde::Deserialize;

use crate::model::http::{Decoder, Progress, Text};
use crate::model::{ModelError, ModelEvent, failure};

/// Marks the signature of a thought that the provider sent encrypted.
pub(super) const REDACTED: &str = "redacted:";
const WITHHELD: &str = "(The provider withholds this thought.)";

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    index: Option<u64>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    content_block: Option<Block<'a>>,
    message: Option<Message>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
    #[serde(borrow)]
    signature: Option<Text<'a>>,
    #[serde(borrow)]
    partial_json: Option<Text<'a>>,
    #[serde(borrow)]
    stop_reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
    #[serde(borrow)]
    data: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Message {
    usage: Option<Usage>,
}

#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names are the provider's")]
struct Usage {
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
    cache_read_input_tokens: Option<i64>,
    cache_creation_input_tokens: Option<i64>,
}

/// A content block that is being written.
#[derive(Debug)]
enum Open {
    Thought { signature: String },
    Call { index: usize, has_arguments: bool },
}

/// Reads one answer.
#[derive(Debug, Default)]
pub(super) struct MessageDecoder {
    open: BTreeMap<u64, Open>,
    calls: usize,
    usage: TokenUsage,
    reason: Option<FinishReason>,
}

impl Decoder for MessageDecoder {
    fn read(&mut self, data: &[u8], said: &mut Vec<ModelEvent>) -> Result<Progress, ModelError> {
        let event: Event<'_> = serde_json::from_slice(data).map_err(|error| {
            tracing::warn!(%error, "the model provider sent an unreadable event");
            failure::nonsense()
        })?;
        let index = event.index.unwrap_or(0);
        match event.r#type.0.as_ref() {
            "content_block_delta" => self.go_on(index, event.delta.as_ref(), said),
            "content_block_start" => self.begin(index, event.content_block.as_ref(), said)?,
            "content_block_stop" => self.end(index, said),
            "message_start" => self.count(event.message.and_then(|message| message.usage), said),
            "message_delta" => {
                let reason = event.delta.as_ref().and_then(|delta| Text::filled(delta.stop_reason.as_ref()));
                self.reason = reason.map(stop_reason).or(self.reason);
                self.count(event.usage, said);
            }
            "message_stop" => return Ok(Progress::Done),
            "error" => return Ok(Progress::Failed),
            "ping" => {}
            other => tracing::debug!(event = other, "an unknown event of the model provider was left out"),
        }
        Ok(if self.reason.is_some() { Progress::Stopped } else { Progress::Open })
    }

    fn finish(&mut self, said: &mut Vec<ModelEvent>) -> Result<FinishReason, ModelError> {
        let reason = self.reason.ok_or_else(failure::broken_off)?;
        while let Some(index) = self.open.keys().next().copied() {
            self.end(index, said);
        }
        Ok(reason)
    }
}

impl MessageDecoder {
    fn begin(&mut self, at: u64, block: Option<&Block<'_>>, said: &mut Vec<ModelEvent>) -> Result<(), ModelError> {
        let block = block.ok_or_else(failure::nonsense)?;
        match block.r#type.0.as_ref() {
            "text" => said.extend(Text::filled(block.text.as_ref()).map(|text| ModelEvent::Text(text.to_owned()))),
            "thinking" => {
                let thought = Text::filled(block.thinking.as_ref());
                said.extend(thought.map(|text| ModelEvent::Reasoning(text.to_owned())));
                self.open.insert(at, Open::Thought { signature: String::new() });
            }
            "redacted_thinking" => {
                let data = Text::filled(block.data.as_ref()).unwrap_or_default();
                said.push(ModelEvent::Reasoning(WITHHELD.to_owned()));
                said.push(ModelEvent::ReasoningSignature(format!("{REDACTED}{data}")));
            }
            "tool_use" => {
                let name = Text::filled(block.name.as_ref()).ok_or_else(failure::nonsense)?.to_owned();
                let index = self.calls;
                self.calls += 1;
                self.open.insert(at, Open::Call { index, has_arguments: false });
                said.push(ModelEvent::ToolCallStart { index, name });
            }
            other => tracing::debug!(block = other, "an unknown block of the model provider was left out"),
        }
        Ok(())
    }

    fn go_on(&mut self, at: u64, delta: Option<&Delta<'_>>, said: &mut Vec<ModelEvent>) {
        let Some(delta) = delta else { return };
        said.extend(Text::filled(delta.text.as_ref()).map(|text| ModelEvent::Text(text.to_owned())));
        said.extend(Text::filled(delta.thinking.as_ref()).map(|text| ModelEvent::Reasoning(text.to_owned())));
        match self.open.get_mut(&at) {
            Some(Open::Thought { signature }) => {
                signature.push_str(Text::filled(delta.signature.as_ref()).unwrap_or_default());
            }
            Some(Open::Call { index, has_arguments }) => {
                if let Some(arguments) = Text::filled(delta.partial_json.as_ref()) {
                    *has_arguments = true;
                    said.push(ModelEvent::ToolCallDelta { index: *index, arguments: arguments.to_owned() });
                }
            }
            None => {}
        }
    }

    fn end(&mut self, at: u64, said: &mut Vec<ModelEvent>) {
        match self.open.remove(&at) {
            Some(Open::Thought { signature }) if !signature.is_empty() => {
                said.push(ModelEvent::ReasoningSignature(signature));
            }
            Some(Open::Call { index, has_arguments: false }) => {
                said.push(ModelEvent::ToolCallDelta { index, arguments: "{}".to_owned() });
            }
            Some(Open::Thought { .. } | Open::Call { .. }) | None => {}
        }
    }

    /// Figures are cumulative; those that an event leaves out stay as they were.
    fn count(&mut self, usage: Option<Usage>, said: &mut Vec<ModelEvent>) {
        let Some(usage) = usage else { return };
        let figure = |new: Option<i64>, old: i64| new.map_or(old, |new| new.max(0));
        self.usage = TokenUsage {
            prompt: figure(usage.input_tokens, self.usage.prompt),
            completion: figure(usage.output_tokens, self.usage.completion),
            cache_read: figure(usage.cache_read_input_tokens, self.usage.cache_read),
            cache_creation: figure(usage.cache_creation_input_tokens, self.usage.cache_creation),
            estimated: false,
        };
        // Some servers put zeros where they know nothing.
        if !self.usage.is_zero() {
            said.push(ModelEvent::Usage(self.usage));
        }
    }
}

fn stop_reason(word: &str) -> FinishReason {
    match word {
        "end_turn" | "stop_sequence" => FinishReason::Stop,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(events: &[Value]) -> (Vec<ModelEvent>, Result<FinishReason, ModelError>) {
        let mut decoder = MessageDecoder::default();
        let mut said = Vec::new();
        for event in events {
            decoder.read(event.to_string().as_bytes(), &mut said).unwrap();
        }
        let end = decoder.finish(&mut said);
        (said, end)
    }

    fn start(index: u64, block: impl Into<Value>) -> Value {
        json!({"type": "content_block_start", "index": index, "content_block": block.into()})
    }

    fn delta(index: u64, delta: impl Into<Value>) -> Value {
        json!({"type": "content_block_delta", "index": index, "delta": delta.into()})
    }

    fn stop(index: u64) -> Value {
        json!({"type": "content_block_stop", "index": index})
    }

    #[test]
    fn a_signature_comes_after_its_thought() {
        let (said, end) = read(&[
            start(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
            delta(0, json!({"type": "thinking_delta", "thinking": "hm"})),
            delta(0, json!({"type": "signature_delta", "signature": "s1"})),
            delta(0, json!({"type": "signature_delta", "signature": "s2"})),
            stop(0),
            start(1, json!({"type": "redacted_thinking", "data": "XYZ"})),
            stop(1),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
        ]);
        assert_eq!(
            said,
            [
                ModelEvent::Reasoning("hm".into()),
                ModelEvent::ReasoningSignature("s1s2".into()),
                ModelEvent::Reasoning(WITHHELD.into()),
                ModelEvent::ReasoningSignature("redacted:XYZ".into()),
            ]
        );
        assert_eq!(end, Ok(FinishReason::Stop));
    }

    #[test]
    fn calls_are_numbered_among_themselves_and_empty_arguments_are_an_object() {
        let (said, end) = read(&[
            start(0, json!({"type": "text", "text": ""})),
            delta(0, json!({"type": "text_delta", "text": "ok"})),
            stop(0),
            start(1, json!({"type": "tool_use", "id": "toolu_1", "name": "one", "input": {}})),
            delta(1, json!({"type": "input_json_delta", "partial_json": ""})),
            stop(1),
            start(2, json!({"type": "tool_use", "id": "toolu_2", "name": "two", "input": {}})),
            delta(2, json!({"type": "input_json_delta", "partial_json": "{\"x\":"})),
            delta(2, json!({"type": "input_json_delta", "partial_json": "1}"})),
            stop(2),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}}),
        ]);
        let begin = |index, name: &str| ModelEvent::ToolCallStart { index, name: name.into() };
        let piece = |index, text: &str| ModelEvent::ToolCallDelta { index, arguments: text.into() };
        assert_eq!(
            said,
            [
                ModelEvent::Text("ok".into()),
                begin(0, "one"),
                piece(0, "{}"),
                begin(1, "two"),
                piece(1, "{\"x\":"),
                piece(1, "1}"),
            ]
        );
        assert_eq!(end, Ok(FinishReason::ToolCalls));
    }

    #[test]
    fn figures_add_up_over_the_events() {
        let (said, _) = read(&[
            json!({"type": "message_start", "message": {"usage": {"input_tokens": 0}}}),
            json!({"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 10, "output_tokens": 1,
                "cache_read_input_tokens": 400, "cache_creation_input_tokens": 50}}}),
            json!({"type": "ping"}),
            json!({"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 20}}),
        ]);
        let first = TokenUsage { prompt: 10, completion: 1, cache_read: 400, cache_creation: 50, estimated: false };
        assert_eq!(said, [ModelEvent::Usage(first), ModelEvent::Usage(TokenUsage { completion: 20, ..first })]);
    }

    #[test]
    fn an_answer_without_its_end_is_broken_off() {
        let (_, end) = read(&[start(0, json!({"type": "text", "text": "half"}))]);
        assert!(matches!(end, Err(ModelError::Transient { .. })), "{end:?}");
    }

    #[test]
    fn unknown_events_are_left_out_and_errors_are_not() {
        let mut decoder = MessageDecoder::default();
        let mut said = Vec::new();
        assert_eq!(decoder.read(br#"{"type":"new_thing","x":[1]}"#, &mut said), Ok(Progress::Open));
        assert_eq!(decoder.read(br#"{"type":"error","error":{}}"#, &mut said), Ok(Progress::Failed));
        assert_eq!(decoder.read(br#"{"type":"message_stop"}"#, &mut said), Ok(Progress::Done));
        assert!(decoder.read(b"[]", &mut said).is_err());
        assert!(said.is_empty());
    }
}
