//! Messages that nobody could handle end up where an admin finds them, whatever dies on the way.

use std::time::Duration;

use copilot_shared::dead_letter::{DELIVERY_LIMIT, DeadLetter, GivenUp};
use copilot_shared::id::{DeadLetterId, MessageId, SessionId, TurnId, UserId};
use copilot_shared::message::{Part, Speaker};
use copilot_shared::session::Caller;
use copilot_shared::store::{NewTurn, OnBusy, Store, Submitted};
use copilot_shared::testing::{Services, eventually};
use copilot_shared::turn::{Turn, TurnStatus};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::client::Client;
use crate::system::{Process, System};

const PATIENCE: Duration = Duration::from_secs(20);

async fn letters(admin: &Client, so_many: usize) -> Vec<Value> {
    eventually("the dead letters", PATIENCE, || async {
        let page = admin.get("/dead-letters?limit=200").await;
        page["dead_letters"].as_array().cloned().filter(|letters| letters.len() == so_many)
    })
    .await
}

#[tokio::test]
async fn a_message_that_nobody_can_read_is_found_and_replayed_and_found_again() {
    let system = System::start(1, 1).await;
    let admin = system.admin();
    let garbage = "no message of ours".as_bytes();
    system.services.publisher().replay(DeadLetterId::generate(), garbage).await.unwrap();
    let found = letters(&admin, 1).await.remove(0);
    assert_eq!((&found["reason"], &found["body"]), (&"unreadable_message".into(), &"no message of ours".into()));
    assert!(found["turn_id"].is_null());
    let replay = format!("/dead-letters/{}/replay", found["id"].as_str().unwrap());
    let replayed = admin.request(Method::POST, &replay).send().await.unwrap();
    assert_eq!(replayed.status(), StatusCode::OK);
    let again = eventually("the message dies again", PATIENCE, || async {
        let page = admin.get("/dead-letters").await;
        page["dead_letters"].as_array()?.first().cloned()
    })
    .await;
    assert_ne!(again["id"], found["id"]);
}

async fn submitted(services: &Services, store: &Store, says: &str) -> Turn {
    let ann = Caller::User(UserId::parse("ann").unwrap());
    let session = store.create_session(SessionId::random(), &ann).await.unwrap().id;
    let new = NewTurn {
        id: TurnId::generate(),
        message_id: MessageId::generate(),
        ui_id: None,
        speaker: Speaker::User,
        parts: vec![Part::Text { id: None, text: says.to_owned() }],
        on_busy: OnBusy::Enqueue,
        idempotency: None,
    };
    let submitted = store.submit(session, &ann, &new).await.unwrap();
    let Submitted::Ready(turn) = submitted else { unreachable!("the session is fresh") };
    // The dispatchers are to leave it alone.
    services.sql("UPDATE outbox SET due_at = now() + interval '1 hour'").await;
    turn
}

fn limit_reached(turn: &Turn) -> DeadLetter {
    let letter = DeadLetter::give_up(Some(turn.id), b"{}".to_vec(), GivenUp::AttemptsExhausted);
    let body = format!("{{\"turn_id\":\"{}\"}}", turn.id).into_bytes();
    DeadLetter { reason: DELIVERY_LIMIT.into(), body, ..letter }
}

#[tokio::test]
async fn a_turn_at_the_delivery_limit_fails_unless_a_worker_has_it() {
    let system = System::start(1, 1).await;
    let (services, store) = (&system.services, system.services.store());
    let free = submitted(services, &store, "never begun").await;
    let held = submitted(services, &store, "demo:tokens=3 demo:hang").await;
    services.publisher().publish_turn(held.id).await.unwrap();
    let row = async |turn: &Turn| store.find_turn(turn.session_id, turn.id).await.unwrap().unwrap();
    eventually("the turn runs", PATIENCE, || async { (row(&held).await.status == TurnStatus::Running).then_some(()) })
        .await;
    for turn in [&held, &free] {
        services.publisher().publish_dead(&limit_reached(turn)).await.unwrap();
    }
    letters(&system.admin(), 2).await;
    let failed = row(&free).await;
    assert_eq!((failed.status, failed.error_code.as_deref()), (TurnStatus::Failed, Some("attempts_exhausted")));
    let running = row(&held).await;
    assert_eq!((running.status, running.attempt.0), (TurnStatus::Running, 1));
}

#[tokio::test]
async fn a_letter_that_the_broker_refuses_is_kept_all_the_same() {
    let system = System::start(1, 1).await;
    let (services, store) = (&system.services, system.services.store());
    let turn = submitted(services, &store, "deadly").await;
    services.sql("UPDATE turns SET losses = 100").await;
    // Whoever connects declares the way again, so everybody has to be connected before it is taken away.
    let publisher = services.publisher();
    publisher.replay(DeadLetterId::generate(), b"garbage").await.unwrap();
    letters(&system.admin(), 1).await;
    services.broker().block_dead_letters().await.unwrap();
    publisher.publish_turn(turn.id).await.unwrap();
    let letter = letters(&system.admin(), 2).await.remove(0);
    assert_eq!((&letter["reason"], &letter["turn_id"]), (&"attempts_exhausted".into(), &turn.id.to_string().into()));
    let row = store.find_turn(turn.session_id, turn.id).await.unwrap().unwrap();
    assert_eq!(row.error_code.as_deref(), Some("attempts_exhausted"));
}

#[tokio::test]
async fn letters_survive_the_death_of_the_worker_that_keeps_them() {
    let mut system = System::start(1, 1).await;
    let publisher = system.services.publisher();
    for n in 0..150 {
        let letter = DeadLetter::give_up(None, format!("letter {n}").into_bytes(), GivenUp::UnreadableMessage);
        publisher.publish_dead(&letter).await.unwrap();
        if n == 100 {
            system.workers[0].kill().await;
        }
    }
    assert!(system.services.count("SELECT count(*) FROM dead_letters").await < 150);
    system.workers.push(Process::worker(&system.services, &[]).await);
    let mut said: Vec<_> = letters(&system.admin(), 150).await.iter().map(|letter| letter["body"].clone()).collect();
    said.sort_by_key(ToString::to_string);
    said.dedup();
    assert_eq!(said.len(), 150, "each is kept, and once");
}
