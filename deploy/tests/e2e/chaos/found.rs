//! What chaos has found, each by itself.

use std::time::Duration;

use copilot_shared::chunk::Chunk;
use copilot_shared::testing::eventually;

use super::arena::Arena;
use crate::client::{Client, Event, message_of};
use crate::system::{Process, System};

/// Worker and stream die together before a step was committed: nobody knows any more how far the
/// stream had come.
#[tokio::test]
async fn a_stream_that_is_lost_with_its_worker_is_never_mixed_with_the_one_begun_anew() {
    // None is renewed before the worker dies, so that it does not help.
    let leases = [("TURN_LEASE_SECONDS", "60")];
    let mut system = System::start_with(1, 1, &leases).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let mut stream = ann.send(&session, "demo:tokens=120,rate=40,bytes=4").await;
    let mut events = Vec::new();
    let turn = stream.until("text-delta").await.id.unwrap().turn_id;
    // The row learns soon that the stream has begun.
    while events.len() < 40 {
        events.push(stream.next().await.unwrap());
    }
    system.workers[0].kill().await;
    system.services.streams().forget(turn).await.unwrap();
    let second = Process::worker(&system.services, &leases).await;
    let rest = stream.rest().await;
    let told = rest.events.iter().any(|event| event.id.is_none() && event.data.contains("[code:stream_lost]"));
    // What was on its way when the worker died still comes, and nothing of another stream.
    let last = events.last().and_then(|event: &Event| event.id).unwrap().sequence;
    let more = rest.sequences();
    let goes_on = more.iter().zip(last + 1..).all(|(got, next)| *got == next);
    assert!(told && goes_on && more.len() < 10, "told: {told}, and got {more:?} behind {last}");
    eventually("the turn ends", Duration::from_secs(20), || async {
        (ann.turn(&session, &turn.to_string()).await["status"] == "completed").then_some(())
    })
    .await;
    let late = ann.replay(&session, &turn.to_string(), None).await.unwrap().rest().await;
    assert_eq!(late.text().len(), 480);
    let old = events.last().and_then(|event: &Event| event.id).unwrap().to_string();
    assert_eq!(ann.replay(&session, &turn.to_string(), Some(&old)).await.err().map(|s| s.as_u16()), Some(409));
    let detail = ann.get(&format!("/sessions/{session}")).await;
    assert_eq!(detail["messages"][1]["content"], late.text());
    assert!(
        message_of(late.chunks()).len() < 10 && !late.chunks().iter().any(|c| matches!(c, Chunk::DataRetry { .. }))
    );
    drop(second);
}

/// Nobody could renew a lease meanwhile, and nobody needs to be replaced for it.
#[tokio::test]
async fn workers_keep_their_turns_over_an_absence_of_postgres_that_outlasts_the_lease() {
    let arena = Arena::start().await;
    let address = arena.apis.lock().await[0].1;
    let mut streams = Vec::new();
    for n in 0..6 {
        let client = Client::new(address, &format!("user-{n}"));
        let session = client.session().await;
        let mut stream = client.send(&session, "demo:tokens=3 demo:hang").await;
        stream.until("text-delta").await;
        streams.push(stream);
    }
    arena.networks.postgres.outage(Duration::from_secs(4)).await;
    let renewed = "SELECT count(*) FROM turns WHERE lease_until > clock_timestamp()";
    eventually("all leases are renewed", Duration::from_secs(10), || async {
        (arena.services.count(renewed).await == 6).then_some(())
    })
    .await;
    assert_eq!(arena.services.count("SELECT sum(attempt)::bigint FROM turns").await, 6, "no turn changed hands");
    drop(streams);
}
