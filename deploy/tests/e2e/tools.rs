//! Tools in whole systems: asked for in plain words, stopped in the middle, taken over in the middle.

use std::time::{Duration, Instant};

use copilot_shared::chunk::Chunk;
use copilot_shared::testing::eventually;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};

use crate::client::Client;
use crate::system::{Process, System};

async fn says(client: &Client, session: &str, message: &str) -> String {
    let rest = client.send(session, message).await.rest().await;
    assert!(rest.done);
    rest.text()
}

/// The outputs of a turn's tools, as JSON, and the errors of those that failed.
fn outputs(chunks: &[Chunk]) -> Vec<Result<Value, String>> {
    chunks
        .iter()
        .filter_map(|chunk| match chunk {
            Chunk::ToolOutputAvailable { output, preliminary: None, .. } => {
                Some(Ok(serde_json::from_str(output.as_str()?).unwrap()))
            }
            Chunk::ToolOutputError { error_text, .. } => Some(Err(error_text.clone())),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn the_demo_model_works_with_files_in_plain_words() {
    let system = System::start(1, 1).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    assert!(says(&ann, &session, "List my files").await.contains("There are no files in this conversation."));
    let wrote = says(&ann, &session, "Write the answer is 42 to notes.txt").await;
    assert!(wrote.contains("notes.txt (16 bytes)"), "{wrote}");
    assert!(says(&ann, &session, "Read notes.txt").await.contains("the answer is 42"));
    assert!(says(&ann, &session, "list my files").await.contains("- notes.txt"));
    assert!(says(&ann, &session, "write `other` to notes.txt").await.contains("File already exists at path"));
    assert!(says(&ann, &session, "Delete notes.txt").await.contains("Deleted"));
    assert!(says(&ann, &session, "read notes.txt").await.contains("File not found: notes.txt"));
}

#[tokio::test]
async fn an_uploaded_file_belongs_to_a_message_and_outlives_its_session() {
    let system = System::start(1, 1).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let form = Form::new().part("file", Part::bytes(vec![b'x'; 1536]).file_name("report.txt"));
    let uploaded = ann.request(Method::POST, "/../workspace/files/upload").multipart(form).send().await.unwrap();
    let uploaded: Value = uploaded.json().await.unwrap();
    let id = uploaded["file_id"].as_str().unwrap();
    let body = json!({"message": "What is this?", "file_ids": [id, "no-id", uuid::Uuid::new_v4()]});
    let sent = ann.request(Method::POST, &format!("/sessions/{session}/stream")).json(&body);
    assert!(crate::client::Stream::open(sent).await.unwrap().rest().await.done);
    let detail = ann.get(&format!("/sessions/{session}")).await;
    assert_eq!(
        detail["messages"][0]["content"],
        format!(
            "What is this?\n\n[Attached files]\n- report.txt (text/plain, 1.5 KB), file_id={id}\n\
             Use read_workspace_file with the file_id to access file contents."
        )
    );
    let deleted = ann.request(Method::DELETE, &format!("/sessions/{session}")).send().await.unwrap();
    assert!(deleted.status().is_success());
    let loaded = ann.request(Method::GET, &format!("/../workspace/files/{id}/download")).send().await.unwrap();
    assert_eq!(loaded.bytes().await.unwrap().len(), 1536);
}

#[tokio::test]
async fn what_commands_make_becomes_the_users_and_goes_back() {
    let system = System::start(1, 1).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let tool = |name: &str, arguments: Value| format!("demo:tool={name},args={arguments}");
    let script = [
        tool("bash_exec", json!({"command": "mkdir out && printf 'b\\na\\n' | sort > out/list"})),
        tool("write_workspace_file", json!({"filename": "list.txt", "source_path": "out/list"})),
        tool("read_workspace_file", json!({"path": "list.txt", "save_to_path": "again/list.txt"})),
        tool(
            "bash_exec",
            json!({"command": "diff out/list again/list.txt && echo c >> again/list.txt && cat again/*"}),
        ),
    ];
    let rest = ann.send(&session, &script.join(" ")).await.rest().await;
    assert!(rest.done);
    let outputs: Vec<Value> = outputs(&rest.chunks()).into_iter().map(|output| output.unwrap()).collect();
    if outputs[0]["error"] == "sandbox_unavailable" && std::env::var_os("COPILOT_SKIP_SANDBOX").is_some() {
        return;
    }
    assert_eq!(outputs.len(), 4, "{outputs:?}");
    assert_eq!(outputs[1]["size_bytes"], 4);
    assert_eq!(outputs[3]["stdout"], "a\nb\nc\n", "what a tool puts there is the command's own: {outputs:?}");
}

/// Holds something in the database until it is told to let go, so that a tool waits in the middle.
struct Hold(PgConnection);

impl Hold {
    async fn of(system: &System, statement: &'static str) -> Self {
        let mut connection = PgConnection::connect(&system.services.database_url).await.unwrap();
        connection.execute("BEGIN").await.unwrap();
        connection.execute(statement).await.unwrap();
        Self(connection)
    }

    async fn let_go(mut self) {
        self.0.execute("COMMIT").await.unwrap();
    }
}

/// The last write of a file waits for this.
const WORKSPACE: &str = "SELECT id FROM workspaces FOR UPDATE";
/// Every read of files waits for this.
const FILES: &str = "LOCK TABLE workspace_files IN ACCESS EXCLUSIVE MODE";

async fn in_the_middle(system: &System) {
    eventually("the call has started", Duration::from_secs(20), || async {
        (system.services.count("SELECT count(*) FROM tool_calls WHERE status = 'started'").await == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_cancel_in_the_middle_of_a_tool_ends_it_at_once() {
    let system = System::start(1, 1).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    says(&ann, &session, "write `one` to one.txt").await;
    let hold = Hold::of(&system, WORKSPACE).await;
    let stream = ann.send(&session, "write `two` to two.txt").await;
    in_the_middle(&system).await;
    let asked = Instant::now();
    assert_eq!(ann.cancel(&session).await["cancelled"], true);
    assert!(asked.elapsed() < Duration::from_secs(4), "the worker itself ended it: {:?}", asked.elapsed());
    let chunks = stream.rest().await.chunks();
    assert!(matches!(chunks.last(), Some(Chunk::Abort { .. })));
    assert!(outputs(&chunks)[0].is_err());
    hold.let_go().await;
    // Whatever still runs would come before this.
    let list = says(&ann, &session, "list my files").await;
    assert!(list.contains("one.txt") && !list.contains("two.txt"), "{list}");
}

#[tokio::test]
async fn a_call_that_is_not_safe_to_repeat_is_made_once_whatever_dies() {
    let mut system = System::start(1, 1).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    says(&ann, &session, "write `one` to one.txt").await;
    let hold = Hold::of(&system, WORKSPACE).await;
    let stream = ann.send(&session, "write `two` to two.txt").await;
    in_the_middle(&system).await;
    system.workers[0].kill().await;
    hold.let_go().await;
    system.workers.push(Process::worker(&system.services, &[]).await);
    let rest = stream.rest().await;
    assert!(rest.done);
    let chunks = rest.chunks();
    let outputs = outputs(&chunks);
    assert!(matches!(outputs.as_slice(), [Err(unknown)] if unknown.contains("outcome is unknown")), "{outputs:?}");
    assert!(matches!(chunks.last(), Some(Chunk::Finish { .. })));
    let made = "SELECT count(*) FROM workspace_files WHERE name = 'two.txt'";
    assert_eq!(system.services.count(made).await, 0, "nobody made it again");
    assert_eq!(ann.turn(&session, &rest.turn()).await["attempt"], 2);
}

#[tokio::test]
async fn a_call_that_is_safe_to_repeat_is_made_again_under_its_id() {
    let mut system = System::start(1, 1).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    says(&ann, &session, "write `one` to one.txt").await;
    let hold = Hold::of(&system, FILES).await;
    let stream = ann.send(&session, "list my files").await;
    in_the_middle(&system).await;
    system.workers[0].kill().await;
    system.workers.push(Process::worker(&system.services, &[]).await);
    eventually("another worker has the turn", Duration::from_secs(20), || async {
        (system.services.count("SELECT count(*) FROM turns WHERE attempt = 2").await == 1).then_some(())
    })
    .await;
    hold.let_go().await;
    let rest = stream.rest().await;
    assert!(rest.done);
    let chunks = rest.chunks();
    let outputs = outputs(&chunks);
    assert!(matches!(outputs.as_slice(), [Ok(list)] if list["total_count"] == 1), "{outputs:?}");
    let inputs = chunks.iter().filter(|chunk| matches!(chunk, Chunk::ToolInputAvailable { .. })).count();
    assert_eq!(inputs, 1, "its input is not sent again");
}
