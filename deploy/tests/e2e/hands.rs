//! Tools in real turns: they are asked for in plain words, and a question to the user ends the turn.

use std::time::Duration;

use copilot_shared::chunk::Chunk;
use copilot_shared::testing::{Reply, Witness, eventually};
use copilot_shared::turn::FinishReason;
use serde_json::{Value, json};

use crate::client::Client;
use crate::system::{Process, System};

/// What a turn's tools put out.
fn outputs(chunks: &[Chunk]) -> Vec<Value> {
    let output = |chunk: &Chunk| match chunk {
        Chunk::ToolOutputAvailable { output: Value::String(text), .. } => Some(serde_json::from_str(text).unwrap()),
        _ => None,
    };
    chunks.iter().filter_map(output).collect()
}

async fn ask(client: &Client, session: &str, words: &str) -> Value {
    let chunks = client.send(session, words).await.rest().await.chunks();
    let outputs = outputs(&chunks);
    assert_eq!(outputs.len(), 1, "{words}: {outputs:?}");
    outputs[0].clone()
}

#[tokio::test]
async fn tools_are_called_in_plain_words() {
    let system = System::start(1, 1).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let found = ask(&ann, &session, "Search the docs for how to add a tool").await;
    assert_eq!(found["type"], "doc_search_results");
    let path = found["results"][0]["path"].as_str().unwrap();
    let page = ask(&ann, &session, &format!("Read the doc page `{path}`")).await;
    assert_eq!((&page["type"], &page["title"]), (&json!("doc_page"), &found["results"][0]["title"]), "{page}");

    let todos = ask(&ann, &session, "Make a to-do list: buy milk and sleep").await;
    assert_eq!((&todos["type"], &todos["todos"][1]["content"]), (&json!("todo_write"), &json!("sleep")));
    assert_eq!(ask(&ann, &session, "show my to-do list").await["todos"], todos["todos"]);

    let folder = ask(&ann, &session, "create a folder called Work").await["folder"].clone();
    let id = folder["id"].as_str().unwrap();
    let renamed = ask(&ann, &session, &format!("rename the folder {id} to Jobs")).await;
    assert_eq!((&renamed["type"], &renamed["folder"]["name"]), (&json!("folder_updated"), &json!("Jobs")));
    assert_eq!(ask(&ann, &session, "list my folders").await["folders"][0]["name"], "Jobs");
    assert_eq!(ask(&ann, &session, &format!("delete the folder {id}")).await["type"], "folder_deleted");

    let wish = ask(&ann, &session, "request the feature dark mode").await;
    assert_eq!(wish["issue_identifier"], "FR-1");
    let found = ask(
        &system.client(0, "bob"),
        &system.client(0, "bob").session().await,
        "search feature requests for a darker mode",
    )
    .await;
    assert_eq!(found["results"][0]["title"], "dark mode");
    assert_eq!(ask(&ann, &session, "connect github").await["type"], "setup_requirements");

    let learned = ask(&ann, &session, "Remember about me that I am left-handed").await;
    assert_eq!(learned["updated_fields"], json!(["additional_notes"]));
    assert_eq!(ann.get("/understanding").await["business"]["additional_notes"], "I am left-handed");
}

fn provider_chunk(delta: &Value, reason: &Value) -> String {
    let chunk = json!({"id": "c", "object": "chat.completion.chunk", "model": "m", "created": 0,
        "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]});
    format!("data: {chunk}\n\n")
}

/// A provider that asks the user something, and then says "Well." to everything.
async fn asking_provider() -> Witness {
    let arguments = json!({"questions": [{"question": "Which one?", "keyword": "one"}]}).to_string();
    let call = json!({"tool_calls": [{"index": 0, "id": "x", "type": "function",
        "function": {"name": "ask_question", "arguments": arguments}}]});
    let stream = |delta: Value, reason: &str| {
        let (said, end) = (provider_chunk(&delta, &Value::Null), provider_chunk(&json!({}), &json!(reason)));
        Reply::Answer(200, "text/event-stream", format!("{said}{end}data: [DONE]\n\n"))
    };
    Witness::start(vec![stream(call, "tool_calls")], stream(json!({"content": "Well."}), "stop")).await
}

#[tokio::test]
async fn a_question_to_the_user_ends_the_turn_and_the_answer_begins_the_next() {
    let provider = asking_provider().await;
    let base = format!("{}/v1", provider.url);
    let environment =
        [("CHAT_MODEL", "m"), ("CHAT_API_KEY", "k"), ("CHAT_BASE_URL", base.as_str()), ("CHAT_TITLE_MODEL", "off")];
    let system = System::start_with(1, 1, &environment).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let answer = ann.send(&session, "build it").await.rest().await;
    assert!(answer.done);
    let chunks = answer.chunks();
    assert_eq!(outputs(&chunks)[0]["questions"][0]["question"], "Which one?");
    let begun = chunks.iter().filter(|chunk| matches!(chunk, Chunk::StartStep)).count();
    assert_eq!((begun, provider.seen().len()), (1, 1), "the model is not asked again");
    assert!(matches!(chunks.last(), Some(Chunk::Finish { finish_reason: Some(FinishReason::Stop), .. })), "{chunks:?}");

    let next = ann.send(&session, "the red one").await.rest().await;
    assert!(next.done && next.chunks().iter().any(|chunk| matches!(chunk, Chunk::TextDelta { .. })));
    let seen = provider.seen();
    assert_eq!(seen.len(), 2);
    let told = seen[1].body["messages"].to_string();
    assert!(told.contains("Which one?") && told.contains("the red one"), "{told}");
}

#[tokio::test]
async fn a_question_whose_worker_dies_before_the_turn_has_ended_is_not_followed_by_more() {
    let provider = asking_provider().await;
    let base = format!("{}/v1", provider.url);
    let environment =
        [("CHAT_MODEL", "m"), ("CHAT_API_KEY", "k"), ("CHAT_BASE_URL", base.as_str()), ("CHAT_TITLE_MODEL", "off")];
    let mut system = System::start_with(1, 1, &environment).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    // PostgreSQL lets no turn end, as if it were away just then.
    let refuses = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
        $$ BEGIN RAISE EXCEPTION 'not now' USING ERRCODE = '57P03'; END $$";
    system.services.sql(refuses).await;
    let on_end = "CREATE TRIGGER refuse BEFORE UPDATE ON turns FOR EACH ROW WHEN (new.status = 'completed') \
        EXECUTE FUNCTION refuse()";
    system.services.sql(on_end).await;
    let stream = ann.send(&session, "build it").await;
    eventually("the question is asked", Duration::from_secs(10), || async {
        (system.services.count("SELECT count(*) FROM tool_calls WHERE status = 'finished'").await == 1).then_some(())
    })
    .await;
    system.workers[0].kill().await;
    system.services.sql("DROP TRIGGER refuse ON turns").await;
    system.workers[0] = Process::worker(&system.services, &environment).await;
    let chunks = stream.rest().await.chunks();
    assert!(matches!(chunks.last(), Some(Chunk::Finish { .. })), "{chunks:?}");
    assert_eq!(provider.seen().len(), 1, "the model is not asked again");
    assert_eq!(outputs(&chunks).len(), 1);
}
