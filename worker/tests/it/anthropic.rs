//! The Anthropic client against a provider that misbehaves.

use copilot_shared::turn::FinishReason;
use copilot_shared::usage::TokenUsage;
use copilot_worker::model::config::Provider;
use copilot_worker::model::{ModelError, ModelEvent};
use serde_json::{Value, json};

use crate::provider::{KEY, Outcome, Server, Step, ask, end, event, events, failure, head, piece, status};

fn start() -> Value {
    json!({"type": "message_start", "message": {"id": "msg_1", "role": "assistant", "content": [],
        "usage": {"input_tokens": 12, "cache_read_input_tokens": 300, "cache_creation_input_tokens": 40,
            "output_tokens": 1}}})
}

fn block(index: u64, block: impl Into<Value>) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block.into()})
}

fn delta(index: u64, delta: impl Into<Value>) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta.into()})
}

fn stop(index: u64) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

fn finish(reason: &str) -> Value {
    json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null},
        "usage": {"output_tokens": 25}})
}

fn usage(completion: i64) -> ModelEvent {
    let usage = TokenUsage { prompt: 12, completion, cache_read: 300, cache_creation: 40, estimated: false };
    ModelEvent::Usage(usage)
}

fn answer(data: &[Value]) -> Vec<Step> {
    let mut steps = events(data);
    steps.extend([event(&json!({"type": "message_stop"})), end()]);
    steps
}

fn hello() -> Vec<Step> {
    answer(&[
        start(),
        block(0, json!({"type": "text", "text": ""})),
        delta(0, json!({"type": "text_delta", "text": "hello"})),
        stop(0),
        finish("end_turn"),
    ])
}

fn greeted() -> Vec<Outcome> {
    vec![Ok(usage(1)), Ok(ModelEvent::Text("hello".into())), Ok(usage(25)), Ok(ModelEvent::Finish(FinishReason::Stop))]
}

#[tokio::test]
async fn thoughts_and_tool_calls_are_read_and_the_request_is_what_the_provider_expects() {
    let mut reply = answer(&[
        start(),
        json!({"type": "ping"}),
        block(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "hm"})),
        delta(0, json!({"type": "signature_delta", "signature": "sig=="})),
        stop(0),
        block(1, json!({"type": "tool_use", "id": "toolu_1", "name": "clock", "input": {}})),
        delta(1, json!({"type": "input_json_delta", "partial_json": ""})),
        delta(1, json!({"type": "input_json_delta", "partial_json": "{\"zone\": \"UT"})),
        delta(1, json!({"type": "input_json_delta", "partial_json": "C\"}"})),
        stop(1),
        finish("tool_use"),
    ]);
    reply.insert(1, piece("event: ping\ndata: {\"type\": \"ping\"}\n\n"));
    let server = Server::start(vec![reply]).await;
    let arguments = |text: &str| Ok(ModelEvent::ToolCallDelta { index: 0, arguments: text.into() });
    assert_eq!(
        ask(&server.model(Provider::Anthropic)).await,
        [
            Ok(usage(1)),
            Ok(ModelEvent::Reasoning("hm".into())),
            Ok(ModelEvent::ReasoningSignature("sig==".into())),
            Ok(ModelEvent::ToolCallStart { index: 0, name: "clock".into() }),
            arguments("{\"zone\": \"UT"),
            arguments("C\"}"),
            Ok(usage(25)),
            Ok(ModelEvent::Finish(FinishReason::ToolCalls)),
        ]
    );
    let seen = server.seen().remove(0);
    assert!(seen.head.starts_with("post /v1/messages http/1.1"), "{}", seen.head);
    assert!(seen.head.contains(&format!("x-api-key: {KEY}")), "{}", seen.head);
    assert!(seen.head.contains("anthropic-version: 2023-06-01"), "{}", seen.head);
    assert_eq!(seen.body["system"][0]["text"], json!("Be brief."));
}

#[tokio::test]
async fn an_overloaded_provider_is_asked_again() {
    let overloaded = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let troubles = [
        status(529, "retry-after: 0\r\n", &overloaded.to_string()),
        vec![head(), event(&start()), event(&overloaded), end()],
        vec![head(), event(&start()), Step::Close],
    ];
    for trouble in troubles {
        let server = Server::start(vec![trouble.clone(), hello()]).await;
        let outcomes = ask(&server.model(Provider::Anthropic)).await;
        let words: Vec<&Outcome> =
            outcomes.iter().filter(|outcome| !matches!(outcome, Ok(ModelEvent::Usage(_)))).collect();
        let greeted = greeted();
        assert_eq!(words, [&greeted[1], &greeted[3]], "{trouble:?}");
        assert_eq!(server.seen().len(), 2, "{trouble:?}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_after_its_first_word_is_told_as_broken() {
    let reply = vec![head(), event(&start()), event(&block(0, json!({"type": "text", "text": "half"}))), Step::Close];
    let server = Server::start(vec![reply]).await;
    let outcomes = ask(&server.model(Provider::Anthropic)).await;
    assert!(matches!(failure(&outcomes[2..]), ModelError::Transient { .. }), "{outcomes:?}");
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let body = |kind: &str, message: &str| {
        json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}).to_string()
    };
    let cases = [
        (401, body("authentication_error", "invalid x-api-key"), "The model provider refused our credentials."),
        (
            404,
            body("not_found_error", "model: claude-9"),
            "The model provider does not know this model: model: claude-9",
        ),
        (
            400,
            body("invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum"),
            "the conversation is too long for the model",
        ),
        (
            413,
            body("request_too_large", "Request exceeds the maximum size"),
            "the conversation is too long for the model",
        ),
    ];
    for (code, body, expected) in cases {
        let server = Server::start(vec![status(code, "", &body)]).await;
        assert_eq!(failure(&ask(&server.model(Provider::Anthropic)).await).to_string(), expected);
    }
}
