//! What a model says, as parts, calls and charges.

use std::time::Duration;

use copilot_shared::id::{SessionId, TurnId};
use copilot_shared::store::{Store, StoreSettings};
use copilot_shared::stream::{StreamSettings, Streams};
use copilot_shared::turn::{Attempt, Turn, TurnStatus};
use serde_json::json;

use super::*;

/// A writer whose servers are away: what it is sent stays in its fold.
fn writer() -> TurnWriter {
    let turn = Turn {
        id: TurnId::generate(),
        session_id: SessionId::generate(),
        user_id: None,
        message_id: None,
        status: TurnStatus::Running,
        attempt: Attempt(1),
        created_at: chrono::Utc::now(),
        started_at: None,
        finished_at: None,
        error_code: None,
        error: None,
        cancelled_by: None,
        usage: TokenUsage::default(),
        chunk_sequence: 0,
    };
    let streams = StreamSettings {
        url: "redis://127.0.0.1:1".into(),
        prefix: "away:".into(),
        ttl: Duration::from_mins(1),
        connections: 1,
    };
    let settings = StoreSettings { lease: Duration::from_secs(10), max_running: 0, max_in_flight: 0, connections: 1 };
    let store = Store::new("postgres://127.0.0.1:1/away", settings).unwrap();
    let writer =
        TurnWriter::new(&Streams::connect(streams).unwrap(), &store, &turn, Fold::default(), &Signals::default());
    writer.send(Chunk::Start { message_id: turn.id });
    writer.send(Chunk::StartStep);
    writer
}

#[tokio::test]
async fn each_thought_keeps_its_own_signature() {
    let writer = writer();
    let mut call = ModelCall::new();
    for event in [
        ModelEvent::Reasoning("hm".into()),
        ModelEvent::ReasoningSignature("one".into()),
        ModelEvent::Reasoning("withheld".into()),
        ModelEvent::ReasoningSignature("redacted:xyz".into()),
        ModelEvent::ReasoningSignature("of no words".into()),
        ModelEvent::Text("yes".into()),
    ] {
        call.take(event, &writer);
    }
    let step = call.end(Ok(FinishReason::Stop), 0, &writer);
    let thoughts: Vec<_> = step
        .parts
        .iter()
        .map(|part| match part {
            Part::Reasoning { text, signature, .. } => (text.as_str(), signature.as_deref()),
            Part::Text { text, .. } => (text.as_str(), None),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [("hm", Some("one")), ("withheld", Some("redacted:xyz")), ("", Some("of no words")), ("yes", None)];
    assert_eq!(thoughts, expected);
}

#[test]
fn arguments_are_json_or_the_text_itself() {
    assert_eq!(parse_arguments(""), json!({}));
    assert_eq!(parse_arguments("{\"a\":1}"), json!({"a": 1}));
    assert_eq!(parse_arguments("{\"a\":"), json!("{\"a\":"));
    assert_eq!(parse_arguments("{\"a\":\"x\\u0000y\"}"), json!({"a": "xy"}));
}

#[test]
fn a_name_that_a_model_made_up_is_one_that_providers_take_back() {
    assert_eq!(tool_name("web_fetch"), "web_fetch");
    assert_eq!(tool_name("functions.web fetch"), "functions_web_fetch");
    assert_eq!(tool_name("é".repeat(100).as_str()), "_".repeat(64));
    assert_eq!(tool_name(""), "_");
}

#[test]
fn what_was_said_is_charged_although_the_provider_had_not_counted_it() {
    let mut call = ModelCall::new();
    let begun = TokenUsage { prompt: 500, completion: 1, ..TokenUsage::default() };
    call.reported = Some(begun);
    call.said_bytes = 32_000;
    let stopped = call.usage(0, false);
    assert_eq!((stopped.prompt, stopped.completion, stopped.estimated), (500, 8_000, true));
    assert_eq!(call.usage(0, true), begun, "the last word is the provider's");
    call.reported = Some(TokenUsage { completion: 9_000, ..begun });
    assert_eq!(call.usage(0, false).completion, 9_000, "it had counted");
}

#[test]
fn a_clean_delta_is_not_copied() {
    assert!(matches!(printable("héllo\n"), Cow::Borrowed(_)));
    assert_eq!(printable("a\0b"), "ab");
}
