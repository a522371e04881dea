//! Busy sessions: waiting, interrupting, cancelling, and the records that remain.

use serde_json::{Value, json};
use uuid::Uuid;

use copilot_shared::chunk::Chunk;
use copilot_shared::id::PartId;
use copilot_shared::turn::TurnEnd;

use crate::harness::Api;

#[tokio::test]
async fn what_waits_can_be_seen_edited_and_dropped() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let running = api.submit(&session, "u1", "first").await;
    let second = api.submit(&session, "u1", "second").await;
    let third = api.submit(&session, "u1", "third").await;
    let queue = api.get(format!("{session}/queue")).by("u1").send().await.ok();
    let waiting = queue["queue"].as_array().unwrap();
    assert_eq!(waiting.len(), 2);
    assert_eq!((&waiting[0]["turn_id"], &waiting[0]["position"]), (&json!(second), &json!(1)));
    assert_eq!((&waiting[1]["message"], &waiting[1]["position"]), (&json!("third"), &json!(2)));

    let edit = |turn: String, body: Value| api.ask("PATCH", format!("{session}/queue/{turn}")).by("u1").json(&body);
    assert_eq!(edit(third.to_string(), json!({"message": "changed"})).send().await.status, 200);
    edit(third.to_string(), json!({"message": " "})).send().await.refused(422, "validation_error");
    edit(running.to_string(), json!({"message": "x"})).send().await.refused(404, "turn_not_found");
    edit(Uuid::new_v4().to_string(), json!({"message": "x"})).send().await.refused(404, "turn_not_found");

    let drop = |turn: String| api.ask("DELETE", format!("{session}/queue/{turn}")).by("u1").send();
    assert_eq!(drop(second.to_string()).await.status, 204);
    drop(second.to_string()).await.refused(404, "turn_not_found");
    drop(running.to_string()).await.refused(404, "turn_not_found");
    let queue = api.get(format!("{session}/queue")).by("u1").send().await.ok();
    assert_eq!(queue["queue"][0]["message"], "changed");
    let record = api.get(format!("{session}/turns/{second}")).by("u1").send().await.ok();
    assert_eq!((&record["status"], &record["cancelled_by"]), (&json!("cancelled"), &json!("u1")));
}

#[tokio::test]
async fn reject_says_which_turn_is_in_the_way() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let running = api.submit(&session, "u1", "first").await;
    let body = json!({"message": "second", "on_busy": "reject"});
    let refused = api.post(format!("{session}/stream")).by("u1").json(&body).send().await;
    refused.refused(409, "turn_in_progress");
    assert_eq!(refused.body["turn_id"], json!(running));
}

#[tokio::test]
async fn interrupt_stops_what_runs_and_goes_before_what_waits() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let running = api.submit(&session, "u1", "first").await;
    let waiting = api.submit(&session, "u1", "second").await;
    let turn = api.begin(running, "so far").await;
    let body = json!({"message": "now", "on_busy": "interrupt"});
    let made = api.post(format!("{session}/messages")).by("u1").json(&body).send().await.ok();
    assert_eq!(made["position"], 1);
    let intents = format!("SELECT count(*) FROM turns WHERE id = '{running}' AND cancel_requested_at IS NOT NULL");
    assert_eq!(api.services.count(&intents).await, 1);
    let next = api.store.finish(&turn, &TurnEnd::Cancelled, None).await.unwrap().next;
    assert_eq!(json!(next), json!([made["turn_id"]]));
    assert_ne!(json!(next), json!([waiting]));
}

#[tokio::test]
async fn an_interrupt_that_is_sent_again_stops_what_the_first_try_did_not() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let running = api.submit(&session, "u1", "first").await;
    api.begin(running, "so far").await;
    let body = json!({"message": "now", "on_busy": "interrupt"});
    let send = || api.post(format!("{session}/messages")).by("u1").header("idempotency-key", "k").json(&body).send();
    let made = send().await.ok();
    // As if the API had died between saving the message and stopping what runs.
    api.services.sql("UPDATE turns SET cancel_requested_at = NULL, cancelled_by = NULL").await;
    assert_eq!(send().await.ok()["turn_id"], made["turn_id"]);
    let intents = format!("SELECT count(*) FROM turns WHERE id = '{running}' AND cancel_requested_at IS NOT NULL");
    assert_eq!(api.services.count(&intents).await, 1);
}

#[tokio::test]
async fn cancel_answers_when_the_worker_has_stopped_and_never_touches_the_next_turn() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let running = api.submit(&session, "u1", "first").await;
    let next = api.submit(&session, "u1", "second").await;
    let turn = api.begin(running, "so far").await;
    let cancel = api.post(format!("{session}/cancel")).by("u1").send();
    let work = async {
        let wanted = format!("SELECT count(*) FROM turns WHERE id = '{running}' AND cancel_requested_at IS NOT NULL");
        copilot_shared::testing::eventually("the intent", crate::harness::PATIENCE, || async {
            (api.services.count(&wanted).await == 1).then_some(())
        })
        .await;
        let end = vec![Chunk::TextEnd { id: PartId::nth(1) }, Chunk::FinishStep, Chunk::Abort { reason: None }];
        api.append(&turn, 4, end).await;
        api.store.finish(&turn, &TurnEnd::Cancelled, None).await.unwrap();
    };
    let (answer, ()) = tokio::join!(cancel, work);
    assert_eq!(answer.ok(), json!({"cancelled": true, "reason": null}));
    let record = |turn| api.get(format!("{session}/turns/{turn}")).by("u1").send();
    assert_eq!(record(running).await.ok()["status"], "cancelled");
    assert_eq!(record(next).await.ok()["status"], "queued");
}

#[tokio::test]
async fn a_worker_that_does_not_stop_is_fenced_off_and_what_it_wrote_is_kept() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let running = api.submit(&session, "u1", "first").await;
    let turn = api.begin(running, "so far").await;
    let answer = api.post(format!("{session}/cancel")).by("u1").send().await;
    assert_eq!(answer.ok(), json!({"cancelled": true, "reason": null}));
    assert!(!api.store.holds(turn.id, turn.attempt).await.unwrap());
    let read = api.get(&session).by("u1").send().await.ok();
    assert_eq!(read["messages"][1]["content"], "so far");
    let replay = api.get(format!("{session}/turns/{running}/stream")).by("u1").events().await.all().await;
    assert_eq!(replay.last().unwrap().json()["type"], "abort");
}

#[tokio::test]
async fn cancel_with_nothing_running_drops_what_waits_or_says_that_there_is_nothing() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let cancel = || api.post(format!("{session}/cancel")).by("u1").send();
    assert_eq!(cancel().await.ok(), json!({"cancelled": true, "reason": "no_active_session"}));
    let stream = api.post(format!("{session}/stream")).by("u1").json(&json!({"message": "hi"})).events().await;
    assert_eq!(cancel().await.ok(), json!({"cancelled": true, "reason": "dequeued"}));
    assert_eq!(stream.all().await.last().unwrap().json()["type"], "abort");
    assert_eq!(api.get(&session).by("u1").send().await.ok()["messages"], json!([]));
}

#[tokio::test]
async fn a_turns_record_tells_how_it_went() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let turn = api.submit(&session, "u1", "hi").await;
    api.answer(turn, "hello").await;
    let list = api.get(format!("{session}/turns")).by("u1").send().await.ok();
    let record = &list["turns"][0];
    assert_eq!((&record["id"], &record["status"], &record["attempt"]), (&json!(turn), &json!("completed"), &json!(1)));
    assert_eq!(
        record["usage"],
        json!({
            "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5,
            "cache_read_tokens": 0, "cache_creation_tokens": 0, "estimated": false,
        })
    );
    assert!(record["finished_at"].is_string() && record["error_code"].is_null());
    assert_eq!(&api.get(format!("{session}/turns/{turn}")).by("u1").send().await.ok(), record);
}
