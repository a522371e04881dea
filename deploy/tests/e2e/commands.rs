//! `bash_exec` in real turns: what a command leaves behind when its turn ends in the middle.
//!
//! A machine without a sandbox fails these tests, unless it says so: `COPILOT_SKIP_SANDBOX=1`.

use std::path::PathBuf;
use std::time::Duration;

use copilot_shared::chunk::Chunk;
use copilot_shared::testing::eventually;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::{Client, Stream};
use crate::system::{Process, System};

/// A system whose sandboxes are its own.
struct Sandboxed {
    system: System,
    directory: PathBuf,
}

impl Drop for Sandboxed {
    fn drop(&mut self) {
        // Left to the machine's own cleaning if it fails.
        let _left = std::fs::remove_dir_all(&self.directory);
    }
}

impl Sandboxed {
    /// `None` where there can be no sandbox and that was said.
    #[expect(clippy::print_stderr, reason = "a test that did not test must say so")]
    async fn start() -> Option<Self> {
        let directory = std::env::temp_dir().join(format!("copilot-e2e-{}", Uuid::new_v4()));
        let system = System::start_with(1, 1, &[("SANDBOX_DIR", directory.to_str().unwrap())]).await;
        let started = Self { system, directory };
        let ann = started.system.client(0, "ann");
        let tried = outputs(ann.send(&ann.session().await, "run `true`").await).await;
        if tried[0]["error"] == "sandbox_unavailable" && std::env::var_os("COPILOT_SKIP_SANDBOX").is_some() {
            eprintln!("NOT TESTED: this machine has no sandbox, and COPILOT_SKIP_SANDBOX is set");
            return None;
        }
        assert_eq!(tried[0]["exit_code"], 0, "no sandbox? See COPILOT_SKIP_SANDBOX: {tried:?}");
        Some(started)
    }

    /// Kills the worker as a power cut would, and starts another.
    async fn replace_worker(&mut self) {
        self.system.workers[0].kill().await;
        let environment = [("SANDBOX_DIR", self.directory.to_str().unwrap())];
        self.system.workers[0] = Process::worker(&self.system.services, &environment).await;
    }
}

/// What the tools of an answer put out in the end.
pub async fn outputs(stream: Stream) -> Vec<Value> {
    let chunks = stream.rest().await.chunks();
    let outputs = chunks.into_iter().filter_map(|chunk| match chunk {
        Chunk::ToolOutputAvailable { output: Value::String(text), preliminary: None, .. } => Some(text),
        Chunk::ToolOutputError { error_text, .. } => Some(json!({"failed": error_text}).to_string()),
        _ => None,
    });
    outputs.map(|text| serde_json::from_str(&text).unwrap()).collect()
}

/// A message that has a command run.
pub fn script(command: &str) -> String {
    format!("demo:tool=bash_exec,args={} demo:tokens=1", json!({"command": command, "timeout": 100}))
}

/// Waits until a command says that it has begun.
pub async fn begun(stream: &mut Stream) {
    loop {
        let event = stream.until("tool-output-available").await;
        if event.data.contains("begun") {
            return;
        }
    }
}

/// Processes of this machine that sleep for so long.
pub fn sleepers(seconds: u32) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line) == format!("sleep\0{seconds}\0")).count()
}

/// Waits until no process sleeps for so long any more.
pub async fn none_sleeps(seconds: u32) {
    let gone = || async { (sleepers(seconds) == 0).then_some(()) };
    eventually("no process is left", Duration::from_secs(30), gone).await;
}

/// What a command says.
pub async fn says(client: &Client, session: &str, command: &str) -> String {
    let output = outputs(client.send(session, &script(command)).await).await;
    output[0]["stdout"].as_str().expect("the command runs").to_owned()
}

#[tokio::test]
async fn a_command_answers_and_its_files_stay_with_the_session() {
    let Some(sandboxed) = Sandboxed::start().await else { return };
    let ann = sandboxed.system.client(0, "ann");
    let session = ann.session().await;
    let output = outputs(ann.send(&session, "Run `echo hello > greeting; echo oops >&2; exit 4` for me").await).await;
    assert_eq!((&output[0]["type"], &output[0]["exit_code"]), (&json!("bash_exec"), &json!(4)));
    assert_eq!(output[0]["stderr"], "oops\n");
    assert_eq!(says(&ann, &session, "cat greeting").await, "hello\n");
    assert_eq!(says(&ann, &ann.session().await, "ls").await, "");
    let environment = says(&ann, &session, "cat /proc/*/environ | tr '\\0' '\\n'; env").await;
    assert!(!environment.contains("DATABASE_URL") && !environment.contains("postgres"), "{environment}");
}

#[tokio::test]
async fn a_cancel_leaves_no_process_behind() {
    let Some(sandboxed) = Sandboxed::start().await else { return };
    let ann = sandboxed.system.client(0, "ann");
    let session = ann.session().await;
    let seconds = 61_001_000 + std::process::id();
    let command = format!("echo begun; setsid -f sleep {seconds}; sleep {seconds} & sleep {seconds}");
    let mut stream = ann.send(&session, &script(&command)).await;
    begun(&mut stream).await;
    assert_eq!(sleepers(seconds), 3);
    assert_eq!(ann.cancel(&session).await["cancelled"], true);
    assert!(matches!(stream.rest().await.chunks().last(), Some(Chunk::Abort { .. })));
    none_sleeps(seconds).await;
}

#[tokio::test]
async fn a_command_whose_worker_dies_is_not_run_again() {
    let Some(mut sandboxed) = Sandboxed::start().await else { return };
    let ann = sandboxed.system.client(0, "ann");
    let session = ann.session().await;
    let seconds = 62_001_000 + std::process::id();
    let mut stream = ann.send(&session, &script(&format!("echo once >> log; echo begun; sleep {seconds}"))).await;
    begun(&mut stream).await;
    sandboxed.replace_worker().await;
    let chunks = stream.rest().await.chunks();
    let unknown = chunks.iter().any(
        |chunk| matches!(chunk, Chunk::ToolOutputError { error_text, .. } if error_text.contains("outcome is unknown")),
    );
    assert!(unknown, "{chunks:?}");
    assert!(matches!(chunks.last(), Some(Chunk::Finish { .. })));
    none_sleeps(seconds).await;
    assert_eq!(says(&ann, &session, "cat log").await, "once\n");
}
