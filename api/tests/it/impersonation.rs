//! Admins who act as a user.

use copilot_shared::testing::eventually;
use serde_json::{Value, json};

use crate::coverage::operations;
use crate::harness::{Api, PATIENCE, Settings};

const ACT_AS: &str = "X-Act-As-User-Id";

async fn records(api: &Api) -> i64 {
    let impersonated = "SELECT count(*) FROM audit_records WHERE action = 'impersonate' AND actor = 'root' \
        AND acting_as = 'ann' AND target = 'user:ann'";
    api.services.count(impersonated).await
}

#[tokio::test]
async fn on_every_users_operation_an_admin_may_act_as_a_user_and_nobody_else_may() {
    let api = Api::start().await;
    let mut noted = 0;
    for operation in operations(&api).await.iter().filter(|operation| operation.needs_token()) {
        let ask = || {
            let ask = api.ask(&operation.method, operation.anywhere()).raw("{").header(ACT_AS, "ann");
            ask.header("content-type", "application/json")
        };
        if operation.is_admins() {
            // The admins' own operations have nobody to act as.
            ask().by("u1").send().await.refused(403, "admin_required");
            continue;
        }
        let refused = ask().by("u1").send().await;
        refused.refused(403, "impersonation_forbidden");
        assert_eq!(refused.body["detail"], "Only admin users can impersonate other users", "{}", operation.id);
        ask().by("ann").send().await.refused(403, "impersonation_forbidden");

        let answer = ask().by_admin("root").send().await;
        assert!(answer.status != 401 && answer.status != 403, "{}: {answer:?}", operation.id);
        noted += 1;
        assert_eq!(records(&api).await, noted, "{} is written down once", operation.id);
        for wrong in ["", "a\tb"] {
            let ask = api.ask(&operation.method, operation.anywhere()).header(ACT_AS, wrong).by_admin("root");
            let refused = ask.send().await;
            refused.refused(422, "validation_error");
            assert_eq!(refused.body["detail"][0]["loc"], json!(["header", ACT_AS]));
        }
    }
    assert_eq!(records(&api).await, noted);
}

#[tokio::test]
async fn acting_as_a_user_is_to_see_and_do_what_is_theirs_and_to_be_named_for_it() {
    let api = Api::start().await;
    let session = api.session("ann").await;
    api.get(&session).by_admin("root").send().await.refused(404, "session_not_found");
    let list = api.get("/api/chat/sessions").by_admin("root").header(ACT_AS, "ann").send().await.ok();
    assert_eq!(list["total"], 1);
    let own = api.get("/api/chat/sessions").by_admin("root").send().await.ok();
    assert_eq!(own["total"], 0);

    let made = api.post("/api/chat/sessions").by_admin("root").header(ACT_AS, "ann").send().await.ok();
    assert_eq!(made["user_id"], "ann");
    let body = json!({"message": "in her name", "message_id": uuid::Uuid::new_v4()});
    let submit = || api.post(format!("{session}/messages")).json(&body);
    let sent = submit().by_admin("root").header(ACT_AS, "ann").send().await.ok();
    let again = submit().by("ann").send().await.ok();
    assert_eq!(sent["turn_id"], again["turn_id"], "her idempotency keys are meant");
    let cancelled = api.post(format!("{session}/cancel")).by_admin("root").header(ACT_AS, "ann").send().await.ok();
    assert_eq!(cancelled["reason"], "dequeued");
    let turns = api.get(format!("{session}/turns")).by("ann").send().await.ok();
    assert_eq!(
        (&turns["turns"][0]["status"], &turns["turns"][0]["cancelled_by"]),
        (&json!("cancelled"), &json!("root"))
    );

    let noted = "SELECT count(*) FROM audit_records WHERE action = 'impersonate' AND details->>'method' = 'POST' \
        AND details->>'path' LIKE '/api/chat/sessions/%/cancel'";
    assert_eq!(api.services.count(noted).await, 1);
}

#[tokio::test]
async fn a_stream_can_be_followed_in_a_users_name() {
    let api = Api::start().await;
    let session = api.session("ann").await;
    let turn = api.submit(&session, "ann", "hi").await;
    api.answer(turn, "hello").await;
    let stream = api.get(format!("{session}/turns/{turn}/stream")).by_admin("root").header(ACT_AS, "ann");
    assert_eq!(crate::harness::text_of(&stream.events().await.all().await), "hello");
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_done() {
    let api = Api::start().await;
    let session = api.session("ann").await;
    api.services.sql("ALTER TABLE audit_records RENAME TO lost").await;
    let refused = api.ask("DELETE", &session).by_admin("root").header(ACT_AS, "ann").send().await;
    refused.refused(500, "internal_error");
    api.services.sql("ALTER TABLE lost RENAME TO audit_records").await;
    assert_eq!(api.get(&session).by("ann").send().await.status, 200);
    assert_eq!(api.ask("DELETE", &session).by_admin("root").header(ACT_AS, "ann").send().await.status, 204);
    eventually("the record", PATIENCE, || async { (records(&api).await == 1).then_some(()) }).await;
}

#[tokio::test]
async fn the_bearer_of_a_claim_token_acts_as_nobody() {
    let api = Api::start_with(Settings { anonymous: true, ..Settings::default() }).await;
    let made: Value = api.post("/api/chat/sessions").send().await.ok();
    let path = format!("/api/chat/sessions/{}", made["id"].as_str().unwrap());
    let token = made["claim_token"].as_str().unwrap();
    let bearer = api.get(&path).header("X-Claim-Token", token).header(ACT_AS, "ann").send().await;
    bearer.refused(403, "impersonation_forbidden");
    api.post("/api/chat/sessions").header(ACT_AS, "ann").send().await.refused(403, "impersonation_forbidden");
}
