//! `bash_exec` outside, in real turns: what is left there when turns, workers and sessions end.

use std::time::Duration;

use copilot_shared::chunk::Chunk;
use copilot_shared::testing::e2b::E2b;
use copilot_shared::testing::eventually;
use reqwest::{Method, StatusCode};

use crate::commands::{begun, none_sleeps, says, script, sleepers};
use crate::system::{Process, System};

async fn start() -> (E2b, System) {
    let e2b = E2b::start().await;
    let system = System::start_with(1, 1, &e2b.environment()).await;
    (e2b, system)
}

#[tokio::test]
async fn a_cancel_leaves_no_process_in_a_sandbox_outside() {
    let (e2b, system) = start().await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let seconds = 67_001_000 + std::process::id();
    let command = format!("echo kept > f; echo begun; setsid -f sleep {seconds}; sleep {seconds} & sleep {seconds}");
    let mut stream = ann.send(&session, &script(&command)).await;
    begun(&mut stream).await;
    eventually("all of it runs", Duration::from_secs(10), || async { (sleepers(seconds) == 3).then_some(()) }).await;
    assert_eq!(ann.cancel(&session).await["cancelled"], true);
    assert!(matches!(stream.rest().await.chunks().last(), Some(Chunk::Abort { .. })));
    none_sleeps(seconds).await;
    assert_eq!(says(&ann, &session, "cat f").await, "kept\n");
    assert_eq!(e2b.sandboxes().len(), 1);
}

#[tokio::test]
async fn a_command_outside_whose_worker_dies_ends_and_is_not_run_again() {
    let (e2b, mut system) = start().await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let seconds = 68_001_000 + std::process::id();
    let mut stream = ann.send(&session, &script(&format!("echo once >> log; echo begun; sleep {seconds}"))).await;
    begun(&mut stream).await;
    system.workers[0].kill().await;
    system.workers[0] = Process::worker(&system.services, &e2b.environment()).await;
    let chunks = stream.rest().await.chunks();
    let unknown = chunks.iter().any(
        |chunk| matches!(chunk, Chunk::ToolOutputError { error_text, .. } if error_text.contains("outcome is unknown")),
    );
    assert!(unknown, "{chunks:?}");
    assert!(matches!(chunks.last(), Some(Chunk::Finish { .. })));
    none_sleeps(seconds).await;
    assert_eq!(says(&ann, &session, "cat log").await, "once\n", "the other worker has the same sandbox");
    assert_eq!(e2b.sandboxes().len(), 1);
}

#[tokio::test]
async fn a_sandbox_outside_goes_with_its_session_even_in_the_middle_of_a_command() {
    let (e2b, system) = start().await;
    let ann = system.client(0, "ann");
    let (session, other) = (ann.session().await, ann.session().await);
    let seconds = 69_001_000 + std::process::id();
    let mut stream = ann.send(&session, &script(&format!("echo begun; sleep {seconds}"))).await;
    begun(&mut stream).await;
    says(&ann, &other, "true").await;
    assert_eq!(e2b.sandboxes().len(), 2);
    let deleted = ann.request(Method::DELETE, &format!("/sessions/{session}")).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    eventually("its sandbox is killed", Duration::from_secs(30), || async {
        (e2b.sandboxes().len() == 1).then_some(())
    })
    .await;
    none_sleeps(seconds).await;
}
