//! Stop means stop: every turn, at every viewer, whichever worker has it.

use std::time::{Duration, Instant};

use copilot_shared::chunk::{Chunk, EndStatus};
use futures_util::future::join_all;

use crate::system::System;

#[tokio::test]
async fn thirty_turns_on_three_workers_stop_at_every_viewer() {
    // Under a lease that is renewed so seldom that only the fanout can stop a turn at once.
    let no_caps = [("MAX_RUNNING_TURNS_PER_USER", "0"), ("MAX_IN_FLIGHT_TURNS_PER_USER", "0")];
    let system = System::start_with(2, 3, &[no_caps[0], no_caps[1], ("TURN_LEASE_SECONDS", "60")]).await;
    let running = join_all((0..30).map(|n| {
        let client = system.client(n, "ann");
        async move {
            let session = client.session().await;
            let mut stream = client.send(&session, "demo:tokens=5,bytes=4 demo:hang").await;
            stream.until("text-delta").await;
            (session, stream)
        }
    }))
    .await;
    let stopped = join_all(running.into_iter().enumerate().map(|(n, (session, stream))| {
        // The cancel goes to the other API, and a second viewer watches there.
        let other = system.client(n + 1, "ann");
        async move {
            let second = other.resume(&session, None).await.unwrap();
            let viewers = [tokio::spawn(stream.rest()), tokio::spawn(second.rest())];
            let asked = Instant::now();
            let answer = other.cancel(&session).await;
            assert_eq!((&answer["cancelled"], &answer["reason"]), (&true.into(), &serde_json::Value::Null));
            let [first, second] = viewers.map(|viewer| async { viewer.await.unwrap() });
            let (first, second) = tokio::join!(first, second);
            (session, asked.elapsed(), first, second)
        }
    }))
    .await;
    let mut slowest = Duration::ZERO;
    for (session, took, first, second) in stopped {
        slowest = slowest.max(took);
        for viewer in [&first, &second] {
            assert!(viewer.done);
            let chunks = viewer.chunks();
            assert!(matches!(chunks.last(), Some(Chunk::Abort { .. })));
            assert!(chunks.iter().any(
                |c| matches!(c, Chunk::MessageMetadata { message_metadata } if message_metadata.status == EndStatus::Stopped)
            ));
        }
        let ann = system.client(0, "ann");
        let record = ann.turn(&session, &first.turn()).await;
        assert_eq!((&record["status"], &record["cancelled_by"]), (&"cancelled".into(), &"ann".into()));
        assert!(record["usage"]["completion_tokens"].as_i64().unwrap() > 0, "what was said is charged");
        let detail = ann.get(&format!("/sessions/{session}")).await;
        assert!(!second.text().is_empty());
        assert_eq!(detail["messages"][1]["content"], second.text(), "what was said is kept");
        assert!(detail["active_stream"].is_null());
    }
    // From then on the route ends a turn itself, in its worker's place, and raises the attempt.
    assert!(slowest < Duration::from_secs(5), "the slowest took {slowest:?}");
    assert_eq!(system.services.count("SELECT count(*) FROM turns WHERE attempt > 1").await, 0);
}

#[tokio::test]
async fn a_cancel_of_one_turn_never_touches_the_next() {
    let system = System::start(1, 1).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let mut first = ann.send(&session, "demo:tokens=3 demo:hang").await;
    first.until("text-delta").await;
    let second = ann.send(&session, "demo:tokens=4,bytes=4").await;
    assert_eq!(ann.cancel(&session).await["reason"], serde_json::Value::Null);
    assert!(matches!(first.rest().await.chunks().last(), Some(Chunk::Abort { .. })));
    let second = second.rest().await;
    assert!(second.done);
    assert!(matches!(second.chunks().last(), Some(Chunk::Finish { .. })));
    assert_eq!(ann.cancel(&session).await["reason"], "no_active_session");
}

#[tokio::test]
async fn with_no_worker_alive_a_running_turn_is_ended_all_the_same() {
    let mut system = System::start_with(1, 1, &[("TURN_LEASE_SECONDS", "60")]).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let mut stream = ann.send(&session, "demo:tokens=5,bytes=4 demo:hang").await;
    let turn = stream.until("text-delta").await;
    system.workers[0].kill().await;
    let turn = turn.id.unwrap().turn_id.to_string();
    let viewer = tokio::spawn(stream.rest());
    assert_eq!(ann.cancel(&session).await["cancelled"], true);
    assert_eq!(ann.turn(&session, &turn).await["status"], "cancelled", "the answer comes when it is closed");
    let seen = viewer.await.unwrap();
    assert!(matches!(seen.chunks().last(), Some(Chunk::Abort { .. })));
    let record = ann.turn(&session, &seen.turn()).await;
    assert_eq!(record["status"], "cancelled");
    let detail = ann.get(&format!("/sessions/{session}")).await;
    let replayed = ann.replay(&session, &seen.turn(), None).await.unwrap().rest().await;
    assert_eq!(detail["messages"][1]["content"], replayed.text());
}

#[tokio::test]
async fn what_waits_without_a_worker_is_dropped_and_its_viewer_told() {
    let system = System::start(1, 0).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let stream = ann.send(&session, "hello").await;
    let viewer = tokio::spawn(stream.rest());
    assert_eq!(ann.cancel(&session).await["reason"], "dequeued");
    let seen = viewer.await.unwrap();
    assert!(seen.done);
    assert!(matches!(seen.chunks().last(), Some(Chunk::Abort { .. })));
    assert!(ann.get(&format!("/sessions/{session}")).await["messages"].as_array().unwrap().is_empty());
}

/// What an API wrote before it died: the fanout never heard of it.
const INTENT: &str = "UPDATE turns SET cancel_requested_at = now(), cancelled_by = 'ann' WHERE status = 'running'";

#[tokio::test]
async fn a_stop_that_the_fanout_missed_is_found_when_the_lease_is_renewed() {
    let system = System::start(1, 1).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let mut stream = ann.send(&session, "demo:tokens=5,bytes=4 demo:hang").await;
    stream.until("text-delta").await;
    system.services.sql(INTENT).await;
    // The worker itself, since whoever stops it from outside raises the attempt.
    let seen = stream.rest().await;
    assert!(matches!(seen.chunks().last(), Some(Chunk::Abort { .. })));
    assert_eq!(system.services.count("SELECT attempt::bigint FROM turns").await, 1);
}

#[tokio::test]
async fn a_turn_that_is_to_be_stopped_is_not_begun_again_by_the_worker_that_takes_it_over() {
    let mut system = System::start_with(1, 1, &[("TURN_LEASE_SECONDS", "60")]).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let mut stream = ann.send(&session, "demo:tokens=5,bytes=4 demo:hang").await;
    stream.until("text-delta").await;
    system.workers[0].kill().await;
    system.services.sql(INTENT).await;
    let _second = crate::system::Process::worker(&system.services, &[("TURN_LEASE_SECONDS", "60")]).await;
    let seen = stream.rest().await;
    assert!(matches!(seen.chunks().last(), Some(Chunk::Abort { .. })));
    assert_eq!(system.services.count("SELECT attempt::bigint FROM turns").await, 2, "the new worker stopped it");
    let said_again = seen.chunks().iter().filter(|chunk| matches!(chunk, Chunk::TextDelta { .. })).count();
    assert!(said_again <= 5, "the model is not asked again: {said_again}");
}
