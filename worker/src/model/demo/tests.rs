//! The embedded model as its callers see it.

use std::sync::Arc;

use copilot_shared::id::ToolCallId;
use copilot_shared::message::ToolOutcome;
use copilot_shared::tool::ToolSpec;
use copilot_shared::turn::FinishReason;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::*;
use crate::model::history::tests::{message, text};
use crate::model::retry::{RetryPolicy, Retrying};
use crate::model::{ModelError, ModelEvent};

type Events = Vec<Result<ModelEvent, ModelError>>;

fn ask(messages: Vec<HistoryMessage>) -> ModelRequest {
    let spec = |name: &str| ToolSpec { name: name.into(), description: "d".into(), parameters: json!({}) };
    ModelRequest {
        model: "demo".into(),
        system: "You are Copilot.".into(),
        messages,
        files: Arc::default(),
        tools: Arc::new([spec("calculator"), spec("get_current_time")]),
        max_output_tokens: None,
        user: None,
    }
}

fn user(words: &str) -> HistoryMessage {
    message(Role::User, vec![text(words)])
}

fn assistant(words: &str) -> HistoryMessage {
    message(Role::Assistant, vec![text(words)])
}

fn tool(name: &str, outcome: ToolOutcome) -> HistoryMessage {
    message(Role::Tool, vec![Part::ToolResult { id: ToolCallId("c".into()), name: name.into(), outcome }])
}

async fn play(request: ModelRequest) -> Events {
    Demo::new(Pace::INSTANT).stream(request).collect().await
}

/// The text of an answer that must end well.
async fn said(messages: Vec<HistoryMessage>) -> String {
    let events = play(ask(messages)).await;
    assert_eq!(events.last(), Some(&Ok(ModelEvent::Finish(FinishReason::Stop))));
    texts(&events).concat()
}

fn texts(events: &Events) -> Vec<String> {
    let text = |event: &Result<ModelEvent, ModelError>| match event {
        Ok(ModelEvent::Text(text)) => Some(text.clone()),
        _ => None,
    };
    events.iter().filter_map(text).collect()
}

/// The tool calls of an answer: names and whole arguments.
fn calls(events: &Events) -> Vec<(String, String)> {
    let mut calls: Vec<(String, String)> = Vec::new();
    for event in events {
        match event {
            Ok(ModelEvent::ToolCallStart { name, .. }) => calls.push((name.clone(), String::new())),
            Ok(ModelEvent::ToolCallDelta { index, arguments }) => calls[*index].1.push_str(arguments),
            _ => {}
        }
    }
    calls
}

#[tokio::test]
async fn it_knows_what_was_said() {
    let history = |last: &str| {
        vec![
            user("My name is Ada Lovelace, and my dog is Rex."),
            assistant("Nice."),
            user("I live in Graz"),
            user(last),
        ]
    };
    let answer = |last: &str| said(history(last));
    assert!(answer("What did I say first?").await.contains("My name is Ada Lovelace, and my dog is Rex."));
    assert!(answer("what did I say last?").await.contains("I live in Graz"));
    assert!(answer("What’s my name?").await.contains("Ada Lovelace"));
    assert!(answer("What did I say my name was?").await.contains("Ada Lovelace"));
    assert!(answer("What was my last message?").await.contains("I live in Graz"));
    assert!(answer("Who is my dog again?").await.contains("Rex"));
    assert!(answer("Do you remember where I live?").await.contains("Graz"));
    assert!(answer("What did you say first?").await.contains("Nice."));
    assert!(answer("What is my shoe size?").await.contains("not told me your shoe size"));
    assert!(answer("how many messages have I sent?").await.contains('3'));
    assert!(answer("Something else entirely").await.contains("Something else entirely"));
}

#[tokio::test]
async fn a_note_of_the_system_is_answered_like_a_message() {
    let note = message(Role::System, vec![text("what did I say first?")]);
    let answer = said(vec![user("my first word is crab"), assistant("fine"), note]).await;
    assert!(answer.contains("crab"), "{answer}");
}

#[tokio::test]
async fn it_sees_the_page() {
    let page = Part::Context { url: "https://shop.example/cart".into(), content: "3 apples".into() };
    let answer = said(vec![message(Role::User, vec![page, text("What does this page say?")])]).await;
    assert!(answer.contains("https://shop.example/cart") && answer.contains("3 apples"), "{answer}");
}

#[tokio::test]
async fn it_calls_a_tool_and_reports_what_came_of_it() {
    let question = user("what is 12*(3+4)?");
    let events = play(ask(vec![question.clone()])).await;
    assert_eq!(calls(&events), [("calculator".into(), r#"{"expression":"12*(3+4)"}"#.into())]);
    assert_eq!(events.last(), Some(&Ok(ModelEvent::Finish(FinishReason::ToolCalls))));
    let call = Part::ToolCall { id: ToolCallId("c".into()), name: "calculator".into(), input: json!({}) };
    let step = message(Role::Assistant, vec![call]);
    let result = tool("calculator", ToolOutcome::Output(json!({"type": "calculation", "result": 84})));
    assert!(said(vec![question.clone(), step.clone(), result]).await.contains("84"));
    let failed = tool("calculator", ToolOutcome::Error("division by zero".into()));
    assert!(said(vec![question, step, failed]).await.contains("division by zero"));
}

#[tokio::test]
async fn it_tells_how_the_tools_that_there_are_can_be_asked_for() {
    let answer = said(vec![user("What can you do?")]).await;
    assert!(answer.contains("\n- “what is 12*(3+4)?”\n") && answer.contains("“what time is it?”"), "{answer}");
    assert!(!answer.contains("folder"), "there is no such tool here: {answer}");
}

#[tokio::test]
async fn it_says_when_a_tool_is_not_there() {
    let answer = said(vec![user("list my files")]).await;
    assert_eq!(answer, "The tool `list_workspace_files` is not available here.");
}

#[tokio::test]
async fn a_script_is_played_step_by_step_through_the_conversation() {
    let script = user(r#"demo:tool=a,args={"x":"}"} demo:tool=b&tool=c,args={} demo:tokens=3,bytes=5"#);
    let mut messages = vec![user("demo:hang"), assistant("…"), script];
    let first = play(ask(messages.clone())).await;
    assert_eq!(calls(&first), [("a".into(), r#"{"x":"}"}"#.into())]);
    messages.extend([assistant(""), tool("a", ToolOutcome::Output(json!(1)))]);
    let second = play(ask(messages.clone())).await;
    assert_eq!(calls(&second), [("b".into(), "{}".into()), ("c".into(), "{}".into())]);
    messages.extend([assistant(""), tool("b", ToolOutcome::Output(json!(1)))]);
    assert_eq!(texts(&play(ask(messages.clone())).await), ["0 the", "1 the", "2 the"]);
    messages.extend([assistant("0 the1 the2 the"), user("hello")]);
    assert!(said(messages).await.contains("Hello"), "a new message ends the script");
}

#[tokio::test]
async fn the_last_tool_of_a_script_is_reported() {
    let messages =
        vec![user("demo:tool=a"), assistant(""), tool("a", ToolOutcome::Output(json!({"message": "done it"})))];
    assert!(said(messages).await.contains("done it"));
}

#[tokio::test]
async fn pieces_have_their_size_and_are_the_same_every_time() {
    for bytes in [1, 3, 4, 100] {
        let request = ask(vec![user(&format!("demo:tokens=200,bytes={bytes}"))]);
        let pieces = texts(&play(request.clone()).await);
        assert_eq!(pieces.len(), 200);
        assert!(pieces.iter().all(|piece| piece.len() == bytes), "{bytes}");
        assert_eq!(pieces, texts(&play(request).await));
    }
}

#[tokio::test]
async fn usage_is_reported_like_a_provider_does() {
    let events = play(ask(vec![user("demo:tokens=200,bytes=4")])).await;
    let [.., Ok(ModelEvent::Usage(usage)), Ok(ModelEvent::Finish(FinishReason::Stop))] = events.as_slice() else {
        panic!("{:?}", events.last());
    };
    assert_eq!((usage.completion, usage.estimated), (200, false));
    assert!(usage.prompt > 0);
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_kept() {
    let begin = Instant::now();
    play(ask(vec![user("demo:tokens=101,rate=50")])).await;
    assert_eq!(begin.elapsed().as_millis(), 2000);
}

#[tokio::test(start_paused = true)]
async fn words_come_one_by_one_and_slow_is_slower() {
    let took = async |words: &str| {
        let begin = Instant::now();
        let events: Events = Demo::default().stream(ask(vec![user(words)])).collect().await;
        let pauses = u32::try_from(texts(&events).len()).unwrap() - 1;
        begin.elapsed() / pauses
    };
    assert_eq!(took("hello").await.as_millis(), 30);
    assert_eq!(took("demo:slow").await.as_millis(), 300);
}

#[tokio::test(start_paused = true)]
async fn hanging_says_something_first_and_never_ends() {
    let mut events = Demo::default().stream(ask(vec![user("demo:tokens=2 demo:hang")]));
    let mut seen = Vec::new();
    while let Ok(Some(event)) = timeout(Duration::from_hours(24), events.next()).await {
        seen.push(event);
    }
    assert!(texts(&seen).len() > 2);
    assert!(seen.iter().all(|event| matches!(event, Ok(ModelEvent::Text(_)))), "no end: {seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_transient_error_succeeds_when_the_call_is_made_again() {
    let request = ask(vec![user("demo:tokens=2 demo:error=transient demo:error=transient")]);
    let alone = play(request.clone()).await;
    assert!(matches!(alone.as_slice(), [Err(ModelError::Transient { .. })]), "{alone:?}");
    let model = Retrying::new(Demo::new(Pace::INSTANT), RetryPolicy::default());
    for _ in 0..3 {
        let events: Events = model.stream(request.clone()).collect().await;
        assert_eq!(texts(&events).len(), 2, "{events:?}");
        assert!(events.iter().all(Result::is_ok));
    }
    let alone = model.stream(ask(vec![user("demo:error=transient")])).collect::<Events>().await;
    assert!(texts(&alone).concat().contains("succeeded"), "{alone:?}");
}

#[tokio::test]
async fn other_errors_end_the_call_where_they_stand() {
    let fatal = play(ask(vec![user("demo:tokens=1 demo:error=fatal demo:tokens=5")])).await;
    assert!(matches!(fatal.as_slice(), [Ok(ModelEvent::Text(_)), Err(ModelError::Fatal(_))]), "{fatal:?}");
    let broken = play(ask(vec![user("demo:tokens=1 demo:error=broken")])).await;
    assert!(matches!(broken.as_slice(), [Ok(ModelEvent::Text(_)), Err(ModelError::Transient { .. })]), "{broken:?}");
}

#[tokio::test]
async fn a_thought_comes_before_the_answer() {
    let events = play(ask(vec![user("Think about the sea")])).await;
    assert!(matches!(events.first(), Some(Ok(ModelEvent::Reasoning(_)))));
    assert!(!texts(&events).is_empty());
    let scripted = play(ask(vec![user("demo:reasoning=2 demo:tokens=1")])).await;
    let kinds: Vec<bool> = scripted.iter().map(|event| matches!(event, Ok(ModelEvent::Reasoning(_)))).collect();
    assert_eq!(kinds, [true, true, false, false, false]);
}

#[tokio::test]
async fn the_systems_own_tasks_never_play_the_script() {
    let brief = async |system: &str| {
        let mut request = ask(vec![user("demo:error=fatal bake bread with rye"), user("demo:hang")]);
        request.system = system.into();
        request.tools = Vec::new().into();
        let events = play(request).await;
        assert_eq!(events.last(), Some(&Ok(ModelEvent::Finish(FinishReason::Stop))));
        texts(&events).concat()
    };
    assert_eq!(brief("Write a title of 3 to 6 words.").await, "bake bread with rye");
    assert!(brief("Write a summary of the conversation.").await.contains("bake bread"));
    let suggested: Value = serde_json::from_str(&brief("Write suggestions for a user.").await).unwrap();
    assert_eq!(suggested["Learn"][0], "What should I know about this: my work?");
}

#[tokio::test]
async fn results_are_told_in_words() {
    let told = |value: Value| {
        let messages = vec![user("demo:tool=t"), assistant(""), tool("t", ToolOutcome::Output(value))];
        said(messages)
    };
    let files =
        told(json!({"type": "files", "message": "Found 2 files", "files": [{"name": "a.txt"}, {"path": "/b"}]}));
    assert_eq!(files.await, "The tool `t` answered: Found 2 files\n- a.txt\n- /b");
    let shell = told(json!({"message": "Ran", "stdout": "x\n", "stderr": "", "exit_code": 1}));
    assert_eq!(shell.await, "The tool `t` answered: Ran\n```\nx\n```\nIt exited with 1.");
    assert_eq!(told(json!({"odd": true})).await, "The tool `t` answered:\n{\"odd\":true}");
}
