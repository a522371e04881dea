//! How long a viewer waits: after a worker was killed or hangs, and for a stop. `deploy/latency`
//! runs these and prints what it saw; nothing is asserted but that everybody was told.
#![expect(clippy::print_stdout, clippy::indexing_slicing, reason = "a measurement prints its table")]

use std::time::{Duration, Instant};

use copilot_shared::chunk::Chunk;
use futures_util::future::join_all;
use tokio::task::JoinHandle;

use crate::client::{Client, Stream};
use crate::system::{Process, System};

/// Turns on the worker that dies, each with a viewer.
const TURNS: usize = 5;
/// The lease of the hanging workers, the default of the shipped ones.
const LEASE_SECONDS: &str = "10";
const CAPLESS: [(&str, &str); 3] =
    [("MAX_RUNNING_TURNS_PER_USER", "0"), ("MAX_IN_FLIGHT_TURNS_PER_USER", "0"), ("WORKER_CONCURRENCY", "200")];

fn rounds(by_default: usize) -> usize {
    std::env::var("LATENCY_ROUNDS").map_or(by_default, |rounds| rounds.parse().expect("LATENCY_ROUNDS is a number"))
}

/// Prints one line of a table.
fn print(what: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let millis = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)].as_secs_f64() * 1e3;
    println!(
        "  {what:<58} n {:>4}   p50 {:>7.1}   p90 {:>7.1}   p99 {:>7.1}   max {:>7.1} ms",
        took.len(),
        millis(50),
        millis(90),
        millis(99),
        millis(100)
    );
}

/// How a worker is lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    Kill,
    Hang,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: deploy/latency takeover"]
async fn takeover_after_a_kill() {
    let (back, again) = losses(Loss::Kill, rounds(20)).await;
    print("kill -9 of a worker to the chunk that takes its step back", back);
    print("kill -9 of a worker to the first word of the new attempt", again);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: deploy/latency hang"]
async fn takeover_after_a_hang() {
    let (back, again) = losses(Loss::Hang, rounds(6)).await;
    print(&format!("SIGSTOP to the chunk that takes its step back, lease {LEASE_SECONDS} s"), back);
    print(&format!("SIGSTOP to the first word of the new attempt, lease {LEASE_SECONDS} s"), again);
}

/// Loses so many workers one after the other, with a fresh one beside each.
async fn losses(loss: Loss, rounds: usize) -> (Vec<Duration>, Vec<Duration>) {
    let mut environment = CAPLESS.to_vec();
    environment.push(("TURN_LEASE_SECONDS", LEASE_SECONDS));
    let mut system = System::start_with(1, 1, &environment).await;
    let (mut back, mut again) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let streams = join_all((0..TURNS).map(|n| {
            let client = system.client(0, &format!("user-{n}"));
            async move {
                let session = client.session().await;
                let mut stream = client.send(&session, "demo:tokens=60,rate=20,bytes=4").await;
                stream.until("text-delta").await;
                stream
            }
        }))
        .await;
        let next = Process::worker(&system.services, &environment).await;
        let mut lost = std::mem::replace(&mut system.workers[0], next);
        let at = Instant::now();
        match loss {
            Loss::Kill => lost.kill().await,
            Loss::Hang => lost.signal("STOP"),
        }
        for (taken_back, first_word) in join_all(streams.into_iter().map(|stream| after_retry(stream, at))).await {
            back.push(taken_back);
            again.push(first_word);
        }
        lost.kill().await;
    }
    (back, again)
}

/// When a viewer got the chunk that takes the step back, and the next word. It stays to the end.
async fn after_retry(mut stream: Stream, since: Instant) -> (Duration, Duration) {
    stream.until("data-retry").await;
    let back = since.elapsed();
    stream.until("text-delta").await;
    let again = since.elapsed();
    assert!(stream.rest().await.done);
    (back, again)
}

/// A running turn with its two viewers, of which the second came without a cursor to another API.
struct Watched {
    session: String,
    other: Client,
    viewers: [JoinHandle<Instant>; 2],
}

async fn watched(system: &System, n: usize) -> Watched {
    let (client, other) = (system.client(n, "ann"), system.client(n + 1, "ann"));
    let session = client.session().await;
    let mut first = client.send(&session, "demo:tokens=100000,rate=5,bytes=4").await;
    first.until("text-delta").await;
    let mut second = other.resume(&session, None).await.unwrap();
    second.until("text-delta").await;
    Watched { session, other, viewers: [tokio::spawn(aborted(first)), tokio::spawn(aborted(second))] }
}

async fn aborted(mut stream: Stream) -> Instant {
    let abort = stream.until("abort").await;
    let at = Instant::now();
    assert!(matches!(abort.chunk(), Chunk::Abort { .. }));
    assert!(stream.rest().await.done);
    at
}

impl Watched {
    /// From the request to each viewer's `abort`, and to the answer.
    async fn stop(self) -> (Vec<Duration>, Duration) {
        let asked = Instant::now();
        let answer = self.other.cancel(&self.session).await;
        let answered = asked.elapsed();
        assert_eq!((&answer["cancelled"], &answer["reason"]), (&true.into(), &serde_json::Value::Null));
        let viewers = join_all(self.viewers).await;
        (viewers.into_iter().map(|at| at.expect("the viewer was told").duration_since(asked)).collect(), answered)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: deploy/latency cancel"]
async fn cancel_to_every_viewer() {
    const TURNS_AT_ONCE: usize = 100;
    let system = System::start_with(2, 3, &CAPLESS).await;
    let (mut each, mut answers) = (Vec::new(), Vec::new());
    let (mut all, mut all_answers) = (Vec::new(), Vec::new());
    for _ in 0..rounds(5) {
        for turn in join_all((0..TURNS_AT_ONCE).map(|n| watched(&system, n))).await {
            let (viewers, answer) = turn.stop().await;
            each.extend(viewers);
            answers.push(answer);
        }
        let turns = join_all((0..TURNS_AT_ONCE).map(|n| watched(&system, n))).await;
        for (viewers, answer) in join_all(turns.into_iter().map(Watched::stop)).await {
            all.extend(viewers);
            all_answers.push(answer);
        }
    }
    print("one of 100 running turns stopped: POST to abort at a viewer", each);
    print("one of 100 running turns stopped: POST to its answer", answers);
    print("all 100 running turns stopped at once: POST to abort", all);
    print("all 100 running turns stopped at once: POST to its answer", all_answers);
}
