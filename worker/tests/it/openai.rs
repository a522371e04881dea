//! The OpenAI client against a provider that misbehaves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use copilot_shared::turn::FinishReason;
use copilot_shared::usage::TokenUsage;
use copilot_worker::model::config::Provider;
use copilot_worker::model::{ModelError, ModelEvent};
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::provider::{
    KEY, Outcome, Server, Step, ask, config, connect, end, event, events, failure, head, piece, question, status,
};

fn delta(delta: impl Into<Value>) -> Value {
    json!({"id": "x", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta.into()}]})
}

fn content(text: &str) -> Value {
    delta(json!({"content": text}))
}

fn stop(reason: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

fn text(text: &str) -> ModelEvent {
    ModelEvent::Text(text.into())
}

/// A streamed answer that ends as it should.
fn answer(data: &[Value]) -> Vec<Step> {
    let mut steps = events(data);
    steps.extend([piece("data: [DONE]\n\n"), end()]);
    steps
}

fn hello() -> Vec<Step> {
    answer(&[content("hello"), stop("stop")])
}

fn greeted() -> Vec<Outcome> {
    vec![Ok(text("hello")), Ok(ModelEvent::Finish(FinishReason::Stop))]
}

fn is_transient(error: &ModelError) -> bool {
    matches!(error, ModelError::Transient { .. })
}

#[tokio::test]
async fn an_answer_is_read_and_the_request_is_what_the_provider_expects() {
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 1000, "completion_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 400}}});
    let reply = answer(&[
        delta(json!({"role": "assistant", "content": ""})),
        delta(json!({"reasoning": "hm"})),
        content("hel"),
        content("lo"),
        stop("stop"),
        usage,
    ]);
    let server = Server::start(vec![reply]).await;
    let expected = TokenUsage { prompt: 600, completion: 2, cache_read: 400, ..TokenUsage::default() };
    assert_eq!(
        ask(&server.model(Provider::Openai)).await,
        [
            Ok(ModelEvent::Reasoning("hm".into())),
            Ok(text("hel")),
            Ok(text("lo")),
            Ok(ModelEvent::Usage(expected)),
            Ok(ModelEvent::Finish(FinishReason::Stop)),
        ]
    );
    let seen = server.seen().remove(0);
    assert!(seen.head.starts_with("post /v1/chat/completions http/1.1"), "{}", seen.head);
    assert!(seen.head.contains(&format!("authorization: bearer {KEY}")), "{}", seen.head);
    assert_eq!((&seen.body["model"], &seen.body["stream"]), (&json!("some-model"), &json!(true)));
    assert_eq!(seen.body["messages"][1], json!({"role": "user", "content": "hi"}));
}

#[tokio::test]
async fn nothing_is_sent_before_somebody_listens() {
    let server = Server::start(vec![hello()]).await;
    let model = server.model(Provider::Openai);
    drop(model.stream(question("never")));
    assert_eq!(ask(&model).await, greeted());
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn the_connection_serves_the_next_call() {
    let server = Server::start(vec![hello(), hello(), hello()]).await;
    let model = server.model(Provider::Openai);
    for _ in 0..3 {
        assert_eq!(ask(&model).await, greeted());
    }
    assert_eq!((server.seen().len(), server.connections()), (3, 1));
}

#[tokio::test]
async fn a_busy_provider_is_asked_again_when_it_says() {
    let server = Server::start(vec![status(429, "retry-after-ms: 120\r\n", "{}"), hello()]).await;
    let begin = Instant::now();
    assert_eq!(ask(&server.model(Provider::Openai)).await, greeted());
    assert!(begin.elapsed() >= Duration::from_millis(120));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_broken_provider_is_asked_four_times() {
    let server = Server::start(vec![status(500, "", "oops"); 4]).await;
    let outcomes = ask(&server.model(Provider::Openai)).await;
    let ModelError::Transient { message, .. } = failure(&outcomes) else { panic!("{outcomes:?}") };
    assert_eq!(message, "The model provider has a problem. Please try again in a moment.");
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn an_answer_that_breaks_before_its_first_word_is_asked_for_again() {
    let broken = [
        vec![Step::Close],
        vec![head(), Step::Close],
        vec![head(), event(&delta(json!({"role": "assistant", "content": ""}))), Step::Close],
        vec![head(), event(&json!({"error": {"code": 502, "message": "upstream"}})), end()],
        vec![head(), end()],
    ];
    for reply in broken {
        let server = Server::start(vec![reply.clone(), hello()]).await;
        assert_eq!(ask(&server.model(Provider::Openai)).await, greeted(), "{reply:?}");
        assert_eq!(server.seen().len(), 2, "{reply:?}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_after_its_first_word_is_told_as_broken() {
    let error = json!({"error": {"code": "server_error", "message": "upstream"}, "choices": []});
    let tails = [vec![Step::Close], vec![end()], vec![event(&error), end()]];
    for tail in tails {
        let mut reply = events(&[content("half")]);
        reply.extend(tail.clone());
        let server = Server::start(vec![reply]).await;
        let outcomes = ask(&server.model(Provider::Openai)).await;
        assert_eq!(outcomes.first(), Some(&Ok(text("half"))));
        assert!(is_transient(failure(&outcomes[1..])), "{tail:?}: {outcomes:?}");
    }
}

#[tokio::test]
async fn what_breaks_after_the_end_of_the_answer_is_not_missed() {
    let mut reply = events(&[content("hello"), stop("stop")]);
    reply.push(Step::Close);
    let server = Server::start(vec![reply]).await;
    assert_eq!(ask(&server.model(Provider::Openai)).await, greeted());
}

#[tokio::test]
async fn silence_is_a_broken_connection() {
    for reply in [vec![Step::Stall], vec![head(), Step::Stall]] {
        let server = Server::start(vec![reply]).await;
        let outcomes = ask(&server.impatient_model(Provider::Openai)).await;
        let expected = "The model provider did not answer in time.";
        assert!(is_transient(failure(&outcomes)) && failure(&outcomes).to_string() == expected, "{outcomes:?}");
    }
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_a_passing_trouble() {
    let outcomes = ask(&connect(&config(Provider::Openai, "http://127.0.0.1:1/v1".into()))).await;
    assert!(is_transient(failure(&outcomes)), "{outcomes:?}");
    assert_eq!(failure(&outcomes).to_string(), "The model provider cannot be reached.");
}

#[tokio::test]
async fn dropping_the_answer_drops_the_connection() {
    let mut server = Server::start(vec![vec![head(), event(&content("hello")), Step::Stall]]).await;
    let mut answer = server.model(Provider::Openai).stream(question("hi"));
    assert_eq!(answer.next().await, Some(Ok(text("hello"))));
    drop(answer);
    server.client_is_gone().await;
}

#[tokio::test]
async fn nonsense_is_told_in_a_friendly_sentence_and_never_asked_for_again() {
    let page = "<!DOCTYPE html><html><body>Hello</body></html>";
    let nonsense = [
        status(200, "content-type: text/html; charset=utf-8\r\n", page),
        status(200, "", page),
        status(200, "content-type: application/json\r\n", r#"{"choices":[{"message":{"content":"x"}}]}"#),
        vec![head(), piece("data: {\"choices\": \"no\"}\n\n"), end()],
        vec![head(), piece("data: not json\n\n"), end()],
    ];
    for reply in nonsense {
        let server = Server::start(vec![reply.clone()]).await;
        let outcomes = ask(&server.model(Provider::Openai)).await;
        let expected = ModelError::Fatal("The model provider sent something that is not a model's answer.".into());
        assert_eq!(failure(&outcomes), &expected, "{reply:?}");
    }
}

#[tokio::test]
async fn refusals_are_told_apart_and_hold_no_key() {
    let refused = "The model provider refused our credentials.";
    let body = format!(r#"{{"error":{{"message":"wrong value {KEY} here"}}}}"#);
    let long = r#"{"error":{"code":"context_length_exceeded","message":"maximum context length is 8"}}"#;
    let json = "content-type: application/json\r\n";
    let cases = [
        (status(401, "", &body), ModelError::Fatal(refused.into())),
        (status(403, "", &body), ModelError::Fatal(refused.into())),
        (
            status(400, "", &body),
            ModelError::Fatal("The model provider refused the request: wrong value [redacted] here".into()),
        ),
        (status(400, "", long), ModelError::ContextTooLong),
        (status(413, "", ""), ModelError::ContextTooLong),
        (status(200, json, long), ModelError::ContextTooLong),
        (
            status(307, "location: http://127.0.0.1:1/\r\n", ""),
            ModelError::Fatal("The model provider refused the request.".into()),
        ),
    ];
    for (reply, expected) in cases {
        let server = Server::start(vec![reply]).await;
        assert_eq!(failure(&ask(&server.model(Provider::Openai)).await), &expected);
    }
}

#[tokio::test]
async fn parallel_tool_calls_are_taken_apart_and_bad_arguments_passed_on() {
    let fragments = [
        json!({"index": 0, "id": "a", "type": "function", "function": {"name": "one", "arguments": ""}}),
        json!({"index": 1, "id": "b", "type": "function", "function": {"name": "two", "arguments": "{\"y\": "}}),
        json!({"index": 0, "function": {"arguments": "{bad"}}),
        json!({"index": 1, "function": {"arguments": "2}"}}),
    ];
    let mut data: Vec<Value> = fragments.iter().map(|fragment| delta(json!({"tool_calls": [fragment]}))).collect();
    data.push(stop("tool_calls"));
    let server = Server::start(vec![answer(&data)]).await;
    let begin = |index, name: &str| Ok(ModelEvent::ToolCallStart { index, name: name.into() });
    let arguments = |index, text: &str| Ok(ModelEvent::ToolCallDelta { index, arguments: text.into() });
    assert_eq!(
        ask(&server.model(Provider::Openai)).await,
        [
            begin(0, "one"),
            begin(1, "two"),
            arguments(1, "{\"y\": "),
            arguments(0, "{bad"),
            arguments(1, "2}"),
            Ok(ModelEvent::Finish(FinishReason::ToolCalls)),
        ]
    );
}

#[tokio::test]
async fn characters_survive_their_bytes_coming_one_by_one() {
    let words = "Grüße, 世界 🦀";
    let body =
        format!(": hello\r\n\r\ndata: {}\r\n\r\ndata: {}\r\n\r\ndata: [DONE]\r\n\r\n", content(words), stop("stop"));
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let reply = vec![Step::Send(head.into()), Step::Trickle(body.into_bytes()), Step::Close];
    let server = Server::start(vec![reply]).await;
    let outcomes = ask(&server.model(Provider::Openai)).await;
    assert_eq!(outcomes, [Ok(text(words)), Ok(ModelEvent::Finish(FinishReason::Stop))]);
}

#[tokio::test]
async fn many_calls_do_not_wait_for_each_other() {
    let mut replies = vec![vec![head(), event(&content("hello")), Step::Stall]; 50];
    replies.push(hello());
    let server = Server::start(replies).await;
    let model = server.model(Provider::Openai);
    let mut open = Vec::new();
    for _ in 0..50 {
        let mut answer = Arc::clone(&model).stream(question("hi"));
        assert_eq!(answer.next().await, Some(Ok(text("hello"))));
        open.push(answer);
    }
    assert_eq!(ask(&model).await, greeted());
}
