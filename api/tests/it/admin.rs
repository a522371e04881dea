//! What admins see and do across all users, and what is written down of it.

use std::time::Duration;

use copilot_shared::chunk::Chunk;
use copilot_shared::dead_letter::{DeadLetter, GivenUp};
use copilot_shared::id::{PartId, TurnId};
use copilot_shared::queue::{Broker, Intake, Publisher, Topology};
use copilot_shared::testing::{Services, eventually};
use copilot_shared::turn::TurnEnd;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::{Answer, Api, PATIENCE, Settings};

const TURNS: &str = "/api/copilot/admin/turns";

#[tokio::test]
async fn an_admins_list_has_everybodys_turns_newest_first_by_pages_and_filters() {
    let api = Api::start().await;
    let (ann, bob) = (api.session("ann").await, api.session("bob").await);
    let first = api.submit(&ann, "ann", "first").await;
    let second = api.submit(&bob, "bob", "second").await;
    let third = api.submit(&ann, "ann", "third").await;
    api.answer(first, "answer").await;
    let list = async |query: &str| {
        let page = api.get(format!("{TURNS}{query}")).by_admin("root").send().await.ok();
        let ids: Vec<Value> = page["turns"].as_array().unwrap().iter().map(|turn| turn["id"].clone()).collect();
        (ids, page)
    };
    let ids = |turns: &[copilot_shared::id::TurnId]| turns.iter().map(|turn| json!(turn)).collect::<Vec<_>>();

    let (all, page) = list("").await;
    assert_eq!(all, ids(&[third, second, first]));
    assert_eq!((&page["next_before"], &page["turns"][1]["user_id"]), (&Value::Null, &json!("bob")));
    assert!(bob.ends_with(page["turns"][1]["session_id"].as_str().unwrap()));
    let (newest, page) = list("?limit=2").await;
    assert_eq!(newest, ids(&[third, second]));
    let (rest, _) = list(&format!("?limit=2&before={}", page["next_before"])).await;
    assert_eq!(rest, ids(&[first]));
    assert_eq!(list("?user_id=ann").await.0, ids(&[third, first]));
    assert_eq!(list("?status=completed").await.0, ids(&[first]));
    assert_eq!(list("?status=queued&user_id=ann").await.0, ids(&[third]));
    assert_eq!(list("?user_id=nobody").await.0, ids(&[]));
    for wrong in ["status=x", "limit=0", "limit=201", "before=0", "user_id="] {
        api.get(format!("{TURNS}?{wrong}")).by_admin("root").send().await.refused(422, "validation_error");
    }
    let records = "SELECT count(*) FROM audit_records WHERE actor = 'root' AND action = 'list_turns'";
    assert_eq!(api.services.count(records).await, 7);
}

#[tokio::test]
async fn the_audit_is_only_ever_appended_to() {
    let api = Api::start().await;
    api.get(TURNS).by_admin("root").send().await.ok();
    for change in ["UPDATE audit_records SET actor = 'x'", "DELETE FROM audit_records", "TRUNCATE audit_records"] {
        let refused = format!(
            "DO $$ BEGIN {change}; RAISE 'it was changed'; EXCEPTION WHEN insufficient_privilege THEN NULL; END $$"
        );
        api.services.sql(&refused).await;
    }
    assert_eq!(api.services.count("SELECT count(*) FROM audit_records WHERE actor = 'root'").await, 1);
}

/// What arrives in the queue of turns.
fn arrivals(services: &Services) -> (mpsc::Receiver<copilot_shared::queue::TurnDelivery>, CancellationToken) {
    let (deliver, deliveries) = mpsc::channel(16);
    let stop = CancellationToken::new();
    tokio::spawn(Intake::new(services.broker(), 16).run(deliver, stop.clone(), stop.clone()));
    (deliveries, stop)
}

async fn act(api: &Api, turn: impl std::fmt::Display, act: &str) -> Answer {
    api.post(format!("{TURNS}/{turn}/{act}")).by_admin("root").send().await
}

async fn records(api: &Api, action: &str) -> i64 {
    let records = format!("SELECT count(*) FROM audit_records WHERE actor = 'root' AND action = '{action}'");
    api.services.count(&records).await
}

#[tokio::test]
async fn a_stuck_turn_is_published_again_and_one_that_is_not_stuck_is_left_alone() {
    let api = Api::start().await;
    let session = api.session("ann").await;
    let turn = api.submit(&session, "ann", "first").await;
    let waiting = api.submit(&session, "ann", "second").await;
    let (mut deliveries, stop) = arrivals(&api.services);
    let next = async |deliveries: &mut mpsc::Receiver<_>| {
        let delivery: copilot_shared::queue::TurnDelivery =
            tokio::time::timeout(PATIENCE, deliveries.recv()).await.unwrap().unwrap();
        let turn = delivery.message.as_ref().unwrap().turn_id;
        delivery.ack().await;
        turn
    };
    assert_eq!(next(&mut deliveries).await, turn);
    let record = act(&api, turn, "requeue").await.ok();
    assert_eq!((&record["id"], &record["status"]), (&json!(turn), &json!("queued")));
    assert_eq!(next(&mut deliveries).await, turn, "it was published again");

    let refused = act(&api, waiting, "requeue").await;
    refused.refused(409, "turn_waiting");
    assert_eq!(refused.body["turn_id"], json!(waiting));
    let running = api.begin(turn, "so far").await;
    act(&api, turn, "requeue").await.refused(409, "turn_running");
    api.complete(&running, "so far").await;
    act(&api, turn, "requeue").await.refused(409, "turn_ended");
    act(&api, Uuid::new_v4(), "requeue").await.refused(404, "turn_not_found");
    act(&api, "no-uuid", "requeue").await.refused(404, "turn_not_found");
    assert_eq!(records(&api, "requeue_turn").await, 1);
    stop.cancel();
}

#[tokio::test]
async fn an_admins_cancel_stops_one_turn_and_is_named_in_its_record() {
    let api = Api::start().await;
    let session = api.session("ann").await;
    let running = api.submit(&session, "ann", "first").await;
    let (second, third) = (api.submit(&session, "ann", "second").await, api.submit(&session, "ann", "third").await);
    let dropped = act(&api, second, "cancel").await.ok();
    assert_eq!(dropped, json!({"cancelled": true, "reason": "dequeued"}));

    let turn = api.begin(running, "so far").await;
    let work = async {
        let wanted = format!("SELECT count(*) FROM turns WHERE id = '{running}' AND cancel_requested_at IS NOT NULL");
        eventually("the intent", PATIENCE, || async { (api.services.count(&wanted).await == 1).then_some(()) }).await;
        let end = vec![Chunk::TextEnd { id: PartId::nth(1) }, Chunk::FinishStep, Chunk::Abort { reason: None }];
        api.append(&turn, 4, end).await;
        api.store.finish(&turn, &TurnEnd::Cancelled, None).await.unwrap();
    };
    let (answer, ()) = tokio::join!(act(&api, running, "cancel"), work);
    assert_eq!(answer.ok(), json!({"cancelled": true, "reason": null}));
    let record = async |turn: TurnId| api.get(format!("{session}/turns/{turn}")).by("ann").send().await.ok();
    for turn in [running, second] {
        let record = record(turn).await;
        assert_eq!((&record["status"], &record["cancelled_by"]), (&json!("cancelled"), &json!("root")));
    }
    assert_eq!(record(third).await["status"], "queued");
    let idle = act(&api, running, "cancel").await.ok();
    assert_eq!(idle, json!({"cancelled": true, "reason": "no_active_session"}));
    act(&api, Uuid::new_v4(), "cancel").await.refused(404, "turn_not_found");
    assert_eq!(records(&api, "cancel_turn").await, 3);
}

const LETTERS: &str = "/api/copilot/admin/dead-letters";

#[tokio::test]
async fn dead_letters_are_listed_as_often_as_one_likes_and_replayed_once() {
    let api = Api::start().await;
    let turn = TurnId::generate();
    let body = format!("{{\"turn_id\":\"{turn}\",\"v\":1}}");
    let named = DeadLetter::give_up(Some(turn), body.clone().into_bytes(), GivenUp::AttemptsExhausted);
    let garbage = DeadLetter::give_up(None, b"\xffgarbage\0".to_vec(), GivenUp::UnreadableMessage);
    for letter in [&named, &garbage] {
        api.store.keep_dead_letter(letter).await.unwrap();
    }
    let list = async |query: &str| api.get(format!("{LETTERS}{query}")).by_admin("root").send().await.ok();
    for _ in 0..30 {
        assert_eq!(list("").await["dead_letters"].as_array().unwrap().len(), 2);
    }
    let page = list("?limit=1").await;
    let shown = &page["dead_letters"][0];
    assert_eq!((&shown["id"], &shown["turn_id"], &shown["body_bytes"]), (&json!(garbage.id), &Value::Null, &json!(9)));
    assert_eq!((&shown["body"], &shown["reason"]), (&json!("\u{fffd}garbage\0"), &json!("unreadable_message")));
    let rest = list(&format!("?before={}", page["next_before"])).await;
    let shown = &rest["dead_letters"][0];
    assert_eq!((&shown["turn_id"], &shown["body"]), (&json!(turn), &json!(body)));
    assert!(shown["at"].is_string() && rest["next_before"].is_null());

    let replay = async |id: String| api.post(format!("{LETTERS}/{id}/replay")).by_admin("root").send().await;
    let (mut deliveries, stop) = arrivals(&api.services);
    let replayed = replay(named.id.to_string()).await.ok();
    assert_eq!(replayed, json!({"id": named.id, "turn_id": turn, "turn_status": null}));
    let delivery = tokio::time::timeout(PATIENCE, deliveries.recv()).await.unwrap().unwrap();
    assert_eq!(delivery.body, named.body);
    delivery.ack().await;
    replay(named.id.to_string()).await.refused(409, "dead_letter_replayed");
    assert_eq!(list("").await["dead_letters"].as_array().unwrap().len(), 1);
    replay(Uuid::new_v4().to_string()).await.refused(404, "dead_letter_not_found");
    replay("no-uuid".into()).await.refused(404, "dead_letter_not_found");
    assert_eq!(records(&api, "replay_dead_letter").await, 1);
    stop.cancel();
}

#[tokio::test]
async fn a_letter_that_the_broker_does_not_take_stays() {
    let services = Services::isolated().await;
    let (store, streams) = (services.store(), services.streams());
    let nowhere = Broker::new("amqp://guest:guest@127.0.0.1:1/%2f", Topology::new("none"), "test");
    let api = Api::over(services, store, streams, Publisher::new(nowhere), Settings::default());
    let letter = DeadLetter::give_up(None, b"x".to_vec(), GivenUp::UnreadableMessage);
    api.store.keep_dead_letter(&letter).await.unwrap();
    let replayed = api.post(format!("{LETTERS}/{}/replay", letter.id)).by_admin("root").send();
    tokio::time::timeout(Duration::from_secs(10), replayed).await.unwrap().refused(503, "unavailable");
    let list = api.get(LETTERS).by_admin("root").send().await.ok();
    assert_eq!(list["dead_letters"][0]["id"], json!(letter.id));
}
