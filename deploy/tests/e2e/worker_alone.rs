//! Workers without an API: turns go in through the store, chunks come out of the stream.

use std::time::Duration;

use copilot_shared::chunk::{Chunk, Frame};
use copilot_shared::id::{MessageId, SessionId, ToolCallId, TurnId, UserId, WorkerId};
use copilot_shared::message::{Part, Role, Speaker, ToolOutcome, text_of};
use copilot_shared::session::Caller;
use copilot_shared::store::{Claim, NewTurn, OnBusy, StepCommit, Store, Submitted};
use copilot_shared::stream::Streams;
use copilot_shared::testing::{Services, eventually};
use copilot_shared::turn::{Turn, TurnStatus};
use copilot_shared::usage::TokenUsage;
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::system::Process;

async fn submit(services: &Services, store: &Store, session: SessionId, caller: &Caller, says: &str) -> Turn {
    let new = NewTurn {
        id: TurnId::generate(),
        message_id: MessageId::generate(),
        ui_id: None,
        speaker: Speaker::User,
        parts: vec![Part::Text { id: None, text: says.to_owned() }],
        on_busy: OnBusy::Enqueue,
        idempotency: None,
    };
    match store.submit(session, caller, &new).await.unwrap() {
        Submitted::Ready(turn) => {
            services.publisher().publish_turn(turn.id).await.unwrap();
            turn
        }
        Submitted::Waiting(turn, _) | Submitted::Steering(turn) | Submitted::Repeated(turn) => turn,
    }
}

async fn ended(store: &Store, turn: &Turn) -> Turn {
    eventually("the turn ends", Duration::from_secs(20), || async {
        store.find_turn(turn.session_id, turn.id).await.unwrap().filter(|row| row.status.is_terminal())
    })
    .await
}

async fn replayed(streams: &Streams, turn: &Turn) -> Vec<Chunk> {
    let fold = eventually("the stream is closed", Duration::from_secs(10), || async {
        streams.read_fold(turn.id).await.unwrap().filter(copilot_shared::fold::Fold::has_ended)
    })
    .await;
    fold.replay()
        .into_iter()
        .filter_map(|frame| match frame {
            Frame::Chunk(_, chunk) => Some(chunk),
            Frame::Usage(_) => None,
        })
        .collect()
}

fn said(chunks: &[Chunk]) -> String {
    chunks
        .iter()
        .filter_map(|chunk| match chunk {
            Chunk::TextDelta { delta, .. } => Some(delta.as_str()),
            _ => None,
        })
        .collect()
}

struct Scene {
    services: Services,
    store: Store,
    streams: Streams,
    ann: Caller,
    session: SessionId,
}

async fn scene() -> Scene {
    let services = Services::isolated().await;
    let (store, streams) = (services.store(), services.streams());
    let ann = Caller::User(UserId::parse("ann").unwrap());
    let session = store.create_session(SessionId::random(), &ann).await.unwrap().id;
    Scene { services, store, streams, ann, session }
}

#[tokio::test]
async fn a_turn_is_answered_and_the_history_equals_the_stream() {
    let Scene { services, store, streams, ann, session } = scene().await;
    let _worker = Process::worker(&services, &[]).await;
    let turn = submit(&services, &store, session, &ann, "demo:tokens=200,bytes=4").await;
    let row = ended(&store, &turn).await;
    assert_eq!(row.status, TurnStatus::Completed);
    assert!(row.usage.total() > 0 && !row.usage.estimated);
    let chunks = replayed(&streams, &turn).await;
    let history = store.turn_messages(turn.id).await.unwrap();
    assert_eq!(text_of(&history[1].parts), said(&chunks));
    assert_eq!(said(&chunks).len(), 800);
    eventually("the session has a title", Duration::from_secs(10), || async {
        store.find_session(session, &ann).await.unwrap().and_then(|session| session.title)
    })
    .await;
}

#[tokio::test]
async fn a_turn_calls_a_tool_and_answers_with_its_result() {
    let Scene { services, store, streams, ann, session } = scene().await;
    let _worker = Process::worker(&services, &[]).await;
    let turn =
        submit(&services, &store, session, &ann, "demo:tool=calculator,args={\"expression\":\"6*7\"} demo:tokens=3")
            .await;
    assert_eq!(ended(&store, &turn).await.status, TurnStatus::Completed);
    let roles: Vec<Role> = store.turn_messages(turn.id).await.unwrap().into_iter().map(|m| m.role).collect();
    assert_eq!(roles, [Role::User, Role::Assistant, Role::Tool, Role::Assistant]);
    let chunks = replayed(&streams, &turn).await;
    let is_42 = |output: &serde_json::Value| output.as_str().is_some_and(|text| text.contains("\"result\":42}"));
    assert!(chunks.iter().any(|c| matches!(c, Chunk::ToolOutputAvailable { output, .. } if is_42(output))));
}

/// Leases that lapse in no test: only the broker and the dead worker's lock can tell.
const LONG_LEASE: &[(&str, &str)] = &[("TURN_LEASE_SECONDS", "60")];

#[tokio::test]
async fn a_killed_workers_turn_goes_on_with_another() {
    let Scene { services, store, streams, ann, session } = scene().await;
    let mut first = Process::worker(&services, LONG_LEASE).await;
    let says = "demo:tool=calculator,args={\"expression\":\"6*7\"} demo:tokens=180,rate=30,bytes=4";
    let turn = submit(&services, &store, session, &ann, says).await;
    eventually("the answer is under way", Duration::from_secs(10), || async {
        let fold = streams.read_fold(turn.id).await.unwrap()?;
        (fold.steps_begun() == 2 && fold.sequence > 20).then_some(())
    })
    .await;
    let _second = Process::worker(&services, LONG_LEASE).await;
    let killed = std::time::Instant::now();
    first.kill().await;
    eventually("the turn is taken over", Duration::from_secs(10), || async {
        let row = store.find_turn(session, turn.id).await.unwrap()?;
        (row.attempt.0 == 2).then_some(())
    })
    .await;
    assert!(killed.elapsed() < Duration::from_secs(10), "took {:?}", killed.elapsed());
    assert_eq!(ended(&store, &turn).await.status, TurnStatus::Completed);
    let chunks = replayed(&streams, &turn).await;
    assert_eq!(said(&chunks).len(), 720, "nothing of the abandoned step is left");
    assert_eq!(services.count("SELECT count(*) FROM tool_calls").await, 1, "the finished call is not made again");
    let history = store.turn_messages(turn.id).await.unwrap();
    assert_eq!(text_of(&history.last().unwrap().parts), said(&chunks));
}

#[tokio::test]
async fn a_terminated_worker_hands_its_turn_over_and_ends_cleanly() {
    let Scene { services, store, streams, ann, session } = scene().await;
    let first = Process::worker(&services, &[("SHUTDOWN_GRACE_SECONDS", "0")]).await;
    let says = "demo:tokens=30,rate=30 demo:tool=calculator,args={\"expression\":\"1+1\"} demo:tokens=5";
    let turn = submit(&services, &store, session, &ann, says).await;
    eventually("the answer is under way", Duration::from_secs(10), || async {
        streams.read_fold(turn.id).await.unwrap().filter(|fold| fold.sequence > 5)
    })
    .await;
    // Asked to end at once: while the second one starts, the answer would come to its own end.
    let (is_clean, _second) = tokio::join!(first.terminate(), Process::worker(&services, &[]));
    assert!(is_clean, "a handed-over turn is a clean end");
    let row = ended(&store, &turn).await;
    assert_eq!((row.status, row.attempt.0), (TurnStatus::Completed, 2));
    let all = streams.read_after(turn.id, 0).await.unwrap();
    let text: Vec<u8> = all.batches.iter().flat_map(|batch| batch.frames.to_vec()).collect();
    assert!(!String::from_utf8(text).unwrap().contains("data-retry"), "a step boundary leaves no trace");
}

/// The dead worker is the test itself, so that it dies at every place of the ledger at once.
#[tokio::test]
async fn a_takeover_reuses_finished_calls_and_makes_those_that_may_be_made() {
    let Scene { services, store, streams, ann, session } = scene().await;
    let turn = submit(&services, &store, session, &ann, "demo:tool=calculator,args={\"expression\":\"6*7\"}").await;
    let Claim::Claimed(claim) = store.claim(turn.id, WorkerId::generate(), false).await.unwrap() else {
        panic!("the turn is free")
    };
    let attempt = claim.turn.attempt;
    let call = |id: &str| Part::ToolCall {
        id: ToolCallId(id.into()),
        name: "calculator".into(),
        input: json!({"expression": "6*7"}),
    };
    let parts = vec![call("finished"), call("started"), call("requested")];
    let step =
        StepCommit { step: 1, parts, usage: TokenUsage::default(), used_at: chrono::Utc::now(), chunk_sequence: 9 };
    store.commit_step(turn.id, attempt, &step).await.unwrap();
    let calls = store.calls_of_step(turn.id, 1).await.unwrap();
    store.start_calls(turn.id, attempt, &[calls[0].id.clone(), calls[1].id.clone()]).await.unwrap();
    store.finish_call(turn.id, attempt, &calls[0], &ToolOutcome::Output(json!("kept"))).await.unwrap();
    services.sql("UPDATE turns SET lease_until = now() - interval '1 minute'").await;

    let _worker = Process::worker(&services, &[]).await;
    assert_eq!(ended(&store, &turn).await.status, TurnStatus::Completed);
    let made =
        "SELECT count(*) FROM tool_calls WHERE (id, attempt) IN (('finished', 1), ('started', 2), ('requested', 2))";
    assert_eq!(services.count(made).await, 3, "the finished one is not made again");
    let chunks = replayed(&streams, &turn).await;
    let outputs: Vec<_> = chunks
        .iter()
        .filter_map(|chunk| match chunk {
            Chunk::ToolOutputAvailable { tool_call_id, output, .. } => Some((tool_call_id.as_str(), output)),
            _ => None,
        })
        .collect();
    assert_eq!(outputs.len(), 3, "each has one outcome: {outputs:?}");
    assert!(outputs.contains(&("finished", &json!("kept"))), "{outputs:?}");
}

/// It says nothing, so that no refused append can tell it; only the renewal does.
#[tokio::test]
async fn a_silent_attempt_stops_once_the_renewal_finds_its_turn_with_another_worker() {
    let Scene { services, store, streams, ann, session } = scene().await;
    let _worker = Process::worker(&services, &[("WORKER_CONCURRENCY", "1")]).await;
    let turn = submit(&services, &store, session, &ann, "demo:hang").await;
    eventually("the model is asked", Duration::from_secs(10), || async {
        streams.read_fold(turn.id).await.unwrap().filter(|fold| fold.steps_begun() == 1)
    })
    .await;
    let claimed = format!(
        "UPDATE turns SET attempt = attempt + 1, worker_id = '{}', lease_until = now() + interval '1 hour'",
        WorkerId::generate()
    );
    services.sql(&claimed).await;
    let other = store.create_session(SessionId::random(), &ann).await.unwrap().id;
    let next = submit(&services, &store, other, &ann, "demo:tokens=2").await;
    assert_eq!(ended(&store, &next).await.status, TurnStatus::Completed, "the place of the lost one is free");
}

/// The broker is quicker than PostgreSQL: it redelivers while the dead worker's lock is still held.
#[tokio::test]
async fn a_redelivered_turn_whose_holder_seems_alive_is_looked_at_again() {
    let Scene { services, store, streams, ann, session } = scene().await;
    let mut first = Process::worker(&services, LONG_LEASE).await;
    let turn = submit(&services, &store, session, &ann, "demo:hang").await;
    eventually("the model is asked", Duration::from_secs(10), || async {
        streams.read_fold(turn.id).await.unwrap().filter(|fold| fold.steps_begun() == 1)
    })
    .await;
    let mut connection = PgConnection::connect(&services.database_url).await.unwrap();
    let holder: WorkerId = sqlx::query_scalar("SELECT worker_id FROM turns").fetch_one(&mut connection).await.unwrap();
    // Waits for the lock, and has it the moment that the worker dies.
    let heir = store.clone();
    let lock = tokio::spawn(async move { heir.lock_worker(holder).await.unwrap() });
    eventually("the lock is waited for", Duration::from_secs(5), || async {
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        (services.count(waiting).await == 1).then_some(())
    })
    .await;
    let _second = Process::worker(&services, LONG_LEASE).await;
    first.kill().await;
    let lock = lock.await.unwrap();
    // A worker that looked only once would have looked by now.
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(lock);
    eventually("the turn is taken over", Duration::from_secs(15), || async {
        store.find_turn(session, turn.id).await.unwrap().filter(|row| row.attempt.0 == 2)
    })
    .await;
}

/// Every write of a step finds the server shutting down, twice.
const SHUTTING_DOWN: &str = "CREATE SEQUENCE tries; \
    CREATE FUNCTION shut_down() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
        IF nextval('tries') % 3 <> 0 THEN RAISE EXCEPTION 'shutting down' USING ERRCODE = '57P01'; END IF; \
        RETURN NEW; END $$; \
    CREATE TRIGGER shut_down BEFORE INSERT ON turn_steps FOR EACH ROW EXECUTE FUNCTION shut_down()";

#[tokio::test]
async fn a_commit_that_postgresql_cannot_take_now_is_made_again_by_the_same_attempt() {
    let Scene { services, store, streams, ann, session } = scene().await;
    services.sql(SHUTTING_DOWN).await;
    let _worker = Process::worker(&services, &[]).await;
    let says = "demo:tool=calculator,args={\"expression\":\"6*7\"} demo:tokens=3,bytes=4";
    let turn = submit(&services, &store, session, &ann, says).await;
    let row = ended(&store, &turn).await;
    assert_eq!((row.status, row.attempt.0), (TurnStatus::Completed, 1));
    assert_eq!(said(&replayed(&streams, &turn).await).len(), 12);
    assert_eq!(services.count("SELECT last_value FROM tries").await, 6);
}
