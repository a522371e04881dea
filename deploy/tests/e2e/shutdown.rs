//! Deploys: clients go elsewhere, turns change hands, and nobody sees a complete answer cut short.

use copilot_shared::chunk::Chunk;
use copilot_shared::testing::eventually;
use std::time::Duration;

use crate::client::message_of;
use crate::system::{Process, System};

#[tokio::test]
async fn a_stopped_api_cuts_its_streams_and_clients_go_on_elsewhere() {
    let mut system = System::start(2, 1).await;
    let session = system.client(0, "ann").session().await;
    let mut stream = system.client(0, "ann").send(&session, "demo:tokens=100,rate=50,bytes=4").await;
    let mut events = Vec::new();
    for _ in 0..20 {
        events.push(stream.next().await.unwrap());
    }
    let (first, _) = system.apis.remove(0);
    let (clean, cut) = tokio::join!(first.terminate(), stream.rest());
    assert!(clean);
    assert!(!cut.done, "a cut stream must not look complete");
    assert!(
        cut.comments.iter().any(|comment| comment.starts_with("broken")),
        "the connection is cut: {:?}",
        cut.comments
    );
    events.extend(cut.events);
    let cursor = events.last().unwrap().id.unwrap().to_string();
    let rest = system.client(0, "ann").resume(&session, Some(&cursor)).await.unwrap().rest().await;
    assert!(rest.done, "{rest:?}");
    events.extend(rest.events);
    let sequences: Vec<u64> = events.iter().map(|event| event.id.unwrap().sequence).collect();
    assert_eq!(sequences, (1..=u64::try_from(events.len()).unwrap()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_killed_workers_viewer_sees_the_answer_begin_again_and_end() {
    let mut system = System::start(1, 1).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let mut stream = ann.send(&session, "demo:tokens=240,rate=40,bytes=4").await;
    let mut chunks = Vec::new();
    for _ in 0..15 {
        chunks.push(stream.next().await.unwrap().chunk());
    }
    let second = Process::worker(&system.services, &[]).await;
    system.workers[0].kill().await;
    let rest = stream.rest().await;
    assert!(rest.done);
    chunks.extend(rest.chunks());
    let retries = chunks.iter().filter(|chunk| matches!(chunk, Chunk::DataRetry { .. })).count();
    assert_eq!(retries, 1);
    let late = ann.replay(&session, &rest.turn(), None).await.unwrap().rest().await;
    assert!(!late.chunks().iter().any(|chunk| matches!(chunk, Chunk::DataRetry { .. })), "a late client never sees it");
    assert_eq!(late.message(), message_of(chunks), "less what data-retry hides, both have the same");
    assert_eq!(late.text().len(), 960);
    drop(second);
}

/// Its step is longer than anybody can wait for.
#[tokio::test]
async fn a_worker_that_must_end_in_mid_step_hands_its_turn_over_where_it_stands() {
    let settings = [("SHUTDOWN_GRACE_SECONDS", "0"), ("TURN_LEASE_SECONDS", "60")];
    let mut system = System::start_with(1, 1, &settings).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let mut stream = ann.send(&session, "demo:tokens=160,rate=10,bytes=4").await;
    stream.until("text-delta").await;
    let (is_clean, second) =
        tokio::join!(system.workers.remove(0).terminate(), Process::worker(&system.services, &settings));
    assert!(!is_clean, "a step was cut");
    stream.until("data-retry").await;
    let first = tokio::time::timeout(Duration::from_secs(5), stream.until("text-delta")).await;
    first.expect("nobody waits for the lease of 60 s");
    let turn = ann.get(&format!("/sessions/{session}/turns")).await["turns"][0].clone();
    assert_eq!((&turn["attempt"], &turn["status"]), (&2.into(), &"running".into()));
    drop(second);
}

#[tokio::test]
async fn a_frozen_worker_loses_its_turn_and_writes_nothing_when_it_wakes() {
    let system = System::start(1, 1).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let mut stream = ann.send(&session, "demo:tokens=80,rate=40,bytes=4").await;
    let turn = stream.until("text-delta").await.id.unwrap().turn_id.to_string();
    system.workers[0].signal("STOP");
    let second = Process::worker(&system.services, &[]).await;
    eventually("the lease lapses and the turn is taken over", Duration::from_secs(8), || async {
        (ann.turn(&session, &turn).await["attempt"] == 2).then_some(())
    })
    .await;
    system.workers[0].signal("CONT");
    let rest = stream.rest().await;
    assert!(rest.done);
    assert!(rest.sequences().windows(2).all(|pair| pair[1] == pair[0] + 1));
    let record = ann.turn(&session, &turn).await;
    assert_eq!((&record["status"], &record["attempt"]), (&"completed".into(), &2.into()));
    let late = ann.replay(&session, &turn, None).await.unwrap().rest().await;
    assert_eq!(late.text().len(), 320);
    let detail = ann.get(&format!("/sessions/{session}")).await;
    assert_eq!(detail["messages"].as_array().unwrap().len(), 2, "one answer");
    assert_eq!(system.services.count("SELECT count(*) FROM turn_steps").await, 1, "one charge");
    drop(second);
}

/// It neither hangs nor is it cut off: it writes as fast as it can while another takes its turn.
#[tokio::test]
async fn a_worker_that_loses_its_turn_while_it_writes_is_cut_off_in_the_middle() {
    let system = System::start_with(1, 2, &[("TURN_LEASE_SECONDS", "60")]).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let mut stream = ann.send(&session, "demo:tokens=20000,rate=5000,bytes=4").await;
    let turn = stream.until("text-delta").await.id.unwrap().turn_id.to_string();
    let viewer = tokio::spawn(stream.rest());
    // The row learns once that the stream has begun, and is renewed with it.
    eventually("the row knows of the stream", Duration::from_secs(5), || async {
        (system.services.count("SELECT chunk_sequence FROM turns").await > 0).then_some(())
    })
    .await;
    system.services.sql("UPDATE turns SET lease_until = now() - interval '1 minute'").await;
    let rest = viewer.await.unwrap();
    assert!(rest.done);
    assert!(rest.sequences().windows(2).all(|pair| pair[1] == pair[0] + 1));
    let record = ann.turn(&session, &turn).await;
    assert_eq!(
        (&record["status"], &record["attempt"]),
        (&"completed".into(), &2.into()),
        "the second attempt is the last"
    );
    let late = ann.replay(&session, &turn, None).await.unwrap().rest().await;
    assert_eq!(late.text().len(), 80_000);
}
