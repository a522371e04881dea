//! The chunks of a streamed chat completion. One is read per token, so text is borrowed from the
//! chunk and nothing becomes a `Value`.

use copilot_shared::turn::FinishReason;
use copilot_shared::usage::TokenUsage;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::calls::{Calls, Fragment};
use super::content::Content;
use crate::model::http::{Decoder, Progress, Text};
use crate::model::{ModelError, ModelEvent, failure};

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    object: Option<Text<'a>>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<Usage>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Content<'a>>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
    /// DeepSeek, vLLM, llama.cpp …
    #[serde(borrow)]
    reasoning_content: Option<Text<'a>>,
    /// OpenRouter and newer vLLM; some servers send both, with the same text.
    #[serde(borrow)]
    reasoning: Option<Text<'a>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<Fragment<'a>>>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<i64>,
    completion_tokens: Option<i64>,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<i64>,
    /// OpenRouter.
    cache_write_tokens: Option<i64>,
}

impl From<&Usage> for TokenUsage {
    /// What was read from or written to the cache is counted in `prompt_tokens` too, and is taken
    /// out of it here.
    fn from(usage: &Usage) -> Self {
        let details = usage.prompt_tokens_details.as_ref();
        let figure = |figure: Option<i64>| figure.unwrap_or(0).max(0);
        let cache_read = figure(details.and_then(|details| details.cached_tokens));
        let cache_creation = figure(details.and_then(|details| details.cache_write_tokens));
        Self {
            prompt: figure(usage.prompt_tokens).saturating_sub(cache_read).saturating_sub(cache_creation).max(0),
            completion: figure(usage.completion_tokens),
            cache_read,
            cache_creation,
            estimated: false,
        }
    }
}

/// Reads one answer.
#[derive(Debug, Default)]
pub(super) struct ChatDecoder {
    calls: Calls,
    usage: Option<TokenUsage>,
    reason: Option<FinishReason>,
    spoken: bool,
    done: bool,
}

impl Decoder for ChatDecoder {
    fn read(&mut self, data: &[u8], said: &mut Vec<ModelEvent>) -> Result<Progress, ModelError> {
        if data.trim_ascii() == b"[DONE]" {
            self.done = true;
            return Ok(Progress::Done);
        }
        let chunk: Chunk<'_> = serde_json::from_slice(data).map_err(|error| {
            tracing::warn!(%error, "the model provider sent an unreadable chunk");
            failure::nonsense()
        })?;
        if chunk.error.is_some() || chunk.object.is_some_and(|object| object.0 == "error") {
            return Ok(Progress::Failed);
        }
        // Only one answer is asked for; a server that gives more has them ignored.
        for choice in chunk.choices.iter().flatten().filter(|choice| choice.index.unwrap_or(0) == 0) {
            self.take(choice, said)?;
        }
        if let Some(usage) = chunk.usage.as_ref().map(TokenUsage::from)
            && self.usage != Some(usage)
            // Some servers put zeros where they know nothing.
            && !usage.is_zero()
        {
            self.usage = Some(usage);
            said.push(ModelEvent::Usage(usage));
        }
        Ok(if self.reason.is_some() { Progress::Stopped } else { Progress::Open })
    }

    fn finish(&mut self, said: &mut Vec<ModelEvent>) -> Result<FinishReason, ModelError> {
        let reason = match self.reason {
            Some(FinishReason::Error) => return Err(failure::broken_off()),
            Some(reason) => reason,
            None if self.done && self.spoken => FinishReason::Stop,
            None => return Err(failure::broken_off()),
        };
        self.calls.finish(said)?;
        // Some servers say "stop" although they wait for tools.
        let waits = reason == FinishReason::Stop && !self.calls.is_empty();
        Ok(if waits { FinishReason::ToolCalls } else { reason })
    }
}

impl ChatDecoder {
    fn take(&mut self, choice: &Choice<'_>, said: &mut Vec<ModelEvent>) -> Result<(), ModelError> {
        let before = said.len();
        if let Some(delta) = &choice.delta {
            let thought = Text::filled(delta.reasoning_content.as_ref()).or(Text::filled(delta.reasoning.as_ref()));
            said.extend(thought.map(|text| ModelEvent::Reasoning(text.to_owned())));
            let content = delta.content.as_ref();
            said.extend(
                content
                    .filter(|content| !content.thought.is_empty())
                    .map(|content| ModelEvent::Reasoning(content.thought.clone())),
            );
            let texts = [content.map(|content| content.said.as_ref()), Text::filled(delta.refusal.as_ref())];
            let texts = texts.into_iter().flatten().filter(|text| !text.is_empty());
            said.extend(texts.map(|text| ModelEvent::Text(text.to_owned())));
            for fragment in delta.tool_calls.iter().flatten() {
                self.calls.take(fragment, said)?;
            }
        }
        self.spoken |= said.len() > before;
        if let Some(reason) = Text::filled(choice.finish_reason.as_ref()) {
            self.reason = Some(finish_reason(reason));
        }
        Ok(())
    }
}

fn finish_reason(word: &str) -> FinishReason {
    match word {
        "stop" | "end_turn" | "stop_sequence" | "eos" => FinishReason::Stop,
        "length" | "max_tokens" => FinishReason::Length,
        "content_filter" => FinishReason::ContentFilter,
        "tool_calls" | "tool_use" | "function_call" => FinishReason::ToolCalls,
        "error" => FinishReason::Error,
        _ => FinishReason::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(chunks: &[Value]) -> (Vec<ModelEvent>, Result<FinishReason, ModelError>) {
        let mut decoder = ChatDecoder::default();
        let mut said = Vec::new();
        for chunk in chunks {
            decoder.read(chunk.to_string().as_bytes(), &mut said).unwrap();
        }
        let end = decoder.finish(&mut said);
        (said, end)
    }

    fn delta(delta: impl Into<Value>) -> Value {
        json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta.into(), "finish_reason": null}]})
    }

    fn stop(reason: &str) -> Value {
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    }

    #[test]
    fn text_and_both_kinds_of_thought_are_read() {
        let (said, end) = read(&[
            delta(json!({"role": "assistant", "content": ""})),
            delta(json!({"reasoning_content": "a", "reasoning": "a"})),
            delta(json!({"reasoning": "b", "content": null})),
            delta(json!({"content": "line\n\"é\""})),
            stop("stop"),
        ]);
        let thought = |text: &str| ModelEvent::Reasoning(text.into());
        assert_eq!(said, [thought("a"), thought("b"), ModelEvent::Text("line\n\"é\"".into())]);
        assert_eq!(end, Ok(FinishReason::Stop));
    }

    #[test]
    fn cached_tokens_are_taken_out_of_the_prompt() {
        let usage = json!({"choices": [], "usage": {"prompt_tokens": 1000, "completion_tokens": 7,
            "prompt_tokens_details": {"cached_tokens": 400, "audio_tokens": 0}}});
        let zero = json!({"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0}});
        let (said, _) = read(&[zero, stop("stop"), usage.clone(), usage]);
        let expected = TokenUsage { prompt: 600, completion: 7, cache_read: 400, ..TokenUsage::default() };
        assert_eq!(said, [ModelEvent::Usage(expected)], "and an unchanged figure is told once");
    }

    #[test]
    fn an_answer_without_its_end_is_broken_off() {
        let (_, end) = read(&[delta(json!({"content": "half"}))]);
        assert!(matches!(end, Err(ModelError::Transient { .. })), "{end:?}");
        let (_, end) = read(&[stop("error")]);
        assert!(matches!(end, Err(ModelError::Transient { .. })), "{end:?}");
    }

    #[test]
    fn the_last_word_alone_ends_an_answer_that_said_something() {
        let mut decoder = ChatDecoder::default();
        let mut said = Vec::new();
        decoder.read(delta(json!({"content": "x"})).to_string().as_bytes(), &mut said).unwrap();
        assert_eq!(decoder.read(b"[DONE]", &mut said), Ok(Progress::Done));
        assert_eq!(decoder.finish(&mut said), Ok(FinishReason::Stop));
        let mut empty = ChatDecoder::default();
        empty.read(b"[DONE]", &mut said).unwrap();
        assert!(matches!(empty.finish(&mut said), Err(ModelError::Transient { .. })));
    }

    #[test]
    fn waiting_for_tools_is_recognised_whatever_the_server_calls_it() {
        let call =
            delta(json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "t", "arguments": "{}"}}]}));
        for word in ["stop", "tool_calls", "function_call"] {
            assert_eq!(read(&[call.clone(), stop(word)]).1, Ok(FinishReason::ToolCalls), "{word}");
        }
        assert_eq!(read(&[call, stop("length")]).1, Ok(FinishReason::Length));
        assert_eq!(read(&[stop("content_filter")]).1, Ok(FinishReason::ContentFilter));
    }

    #[test]
    fn an_error_object_is_told_apart_from_a_chunk() {
        let mut decoder = ChatDecoder::default();
        for data in [r#"{"error":{"message":"x"},"choices":[]}"#, r#"{"object":"error","message":"x","code":400}"#] {
            assert_eq!(decoder.read(data.as_bytes(), &mut Vec::new()), Ok(Progress::Failed));
        }
        assert!(decoder.read(b"<p>", &mut Vec::new()).is_err());
    }
}
