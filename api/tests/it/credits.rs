//! Credits as their owner sees them.

use copilot_shared::credit::{Amount, Cents, Metadata, TransactionKey};
use copilot_shared::id::UserId;
use copilot_shared::ledger::Mode;
use serde_json::{Value, json};

use crate::harness::{Api, Settings};

async fn with_credits(refill: i64) -> Api {
    Api::start_with(Settings { credits: Mode::Enabled { refill: Cents(refill) }, ..Settings::default() }).await
}

#[tokio::test]
async fn a_users_balance_begins_with_the_months_refill() {
    let api = with_credits(1500).await;
    assert_eq!(api.get("/api/credits").by("ann").send().await.ok(), json!({"credits": 1500}));
    let list = api.get("/api/credits/transactions").by("ann").send().await.ok();
    assert_eq!(list["next_before"], json!(null));
    let refill = &list["transactions"][0];
    assert_eq!((&refill["kind"], &refill["amount"]), (&json!("GRANT"), &json!(1500)));
    assert_eq!((&refill["running_balance"], &refill["sequence"]), (&json!(1500), &json!(1)));
    assert_eq!(refill["metadata"], json!({"reason": "Monthly credits"}));
}

#[tokio::test]
async fn nobody_sees_what_another_user_has() {
    let api = with_credits(0).await;
    let (ann, key) = (UserId::parse("ann").unwrap(), TransactionKey::new("test", "a").unwrap());
    api.store.ensure_user(&ann).await.unwrap();
    let amount = Amount::new(700).unwrap();
    api.store.grant_credits(&ann, amount, &key, &Metadata::reason("a gift")).await.unwrap();
    assert_eq!(api.get("/api/credits").by("ann").send().await.ok(), json!({"credits": 700}));
    assert_eq!(api.get("/api/credits").by("bob").send().await.ok(), json!({"credits": 0}));
    let list = api.get("/api/credits/transactions").by("bob").send().await.ok();
    assert_eq!(list, json!({"transactions": [], "next_before": null}));
}

#[tokio::test]
async fn the_ledger_is_paged_backwards() {
    let api = with_credits(0).await;
    let ann = UserId::parse("ann").unwrap();
    api.store.ensure_user(&ann).await.unwrap();
    for cents in 1..=4 {
        let key = TransactionKey::new("test", &cents.to_string()).unwrap();
        api.store.grant_credits(&ann, Amount::new(cents).unwrap(), &key, &Metadata::reason("a gift")).await.unwrap();
    }
    let (mut seen, mut path) = (Vec::new(), "/api/credits/transactions?limit=2".to_owned());
    loop {
        let page = api.get(&path).by("ann").send().await.ok();
        let amounts = page["transactions"].as_array().unwrap().iter().map(|one| one["amount"].as_i64().unwrap());
        seen.push(amounts.collect::<Vec<_>>());
        let Some(before) = page["next_before"].as_i64() else { break };
        path = format!("/api/credits/transactions?limit=2&before={before}");
    }
    assert_eq!(seen, [[4, 3], [2, 1]], "and no empty page at the end");
    for bad in ["limit=0", "limit=1001", "limit=x", "before=0"] {
        let refused = api.get(format!("/api/credits/transactions?{bad}")).by("ann").send().await;
        refused.refused(422, "validation_error");
    }
}

#[tokio::test]
async fn where_credits_are_disabled_everybody_has_the_same_and_nothing_happens() {
    let api = Api::start().await;
    assert_eq!(api.get("/api/credits").by("ann").send().await.ok(), json!({"credits": 100}));
    let list = api.get("/api/credits/transactions").by("ann").send().await.ok();
    assert_eq!(list["transactions"], json!([]));
}

const GRANT: &str = "/api/copilot/admin/credits/grant";

fn gift(amount: i64) -> Value {
    json!({"user_id": "ann", "amount": amount, "key": "gift-1", "reason": "for your patience"})
}

#[tokio::test]
async fn an_admins_gift_is_given_once_and_written_down() {
    let api = with_credits(0).await;
    let grant = |body: Value| api.post(GRANT).by_admin("root").json(&body).send();
    grant(gift(250)).await.refused(404, "user_not_found");
    api.get("/api/credits").by("ann").send().await.ok();
    let given = grant(gift(250)).await.ok();
    let expected =
        json!({"user_id": "ann", "key": "admin:gift-1", "amount": 250, "running_balance": 250, "repeated": false});
    assert_eq!(given, expected);
    assert_eq!(grant(gift(250)).await.ok()["repeated"], true);
    grant(gift(251)).await.refused(422, "idempotency_conflict");
    assert_eq!(api.get("/api/credits").by("ann").send().await.ok(), json!({"credits": 250}));
    let list = api.get("/api/credits/transactions").by("ann").send().await.ok();
    assert_eq!(list["transactions"][0]["metadata"], json!({"reason": "for your patience"}));
    let records = "SELECT count(*) FROM audit_records WHERE actor = 'root' AND action = 'grant_credits' \
        AND target = 'user:ann' AND details->>'reason' = 'for your patience'";
    assert_eq!(api.services.count(records).await, 4, "whatever became of it");
}

#[tokio::test]
async fn gifts_are_bounded_and_for_admins_to_give() {
    let api = with_credits(0).await;
    api.get("/api/credits").by("ann").send().await.ok();
    api.post(GRANT).by("ann").json(&gift(250)).send().await.refused(403, "admin_required");
    for (field, value) in [
        ("amount", "0"),
        ("amount", "-1"),
        ("amount", "2147483648"),
        ("amount", "99999999999999999999"),
        ("amount", "1e400"),
        ("amount", "1.5"),
        ("amount", "\"5\""),
        ("user_id", "\"\""),
        ("user_id", "\"a\\u0000\""),
        ("key", "\"\""),
        ("key", "null"),
        ("reason", "\"  \""),
        ("reason", "\"a\\u0000\""),
    ] {
        let mut fields = gift(250);
        fields[field] = json!("PLACE");
        let body = fields.to_string().replace("\"PLACE\"", value);
        let ask = api.post(GRANT).by_admin("root").raw(body).header("content-type", "application/json");
        let refused = ask.send().await;
        refused.refused(422, "validation_error");
        assert_eq!(refused.body["detail"][0]["loc"], json!(["body", field]), "{value}");
    }
    assert_eq!(api.services.count("SELECT count(*) FROM credit_transactions").await, 0);
    let disabled = Api::start().await;
    disabled.post(GRANT).by_admin("root").json(&gift(250)).send().await.refused(400, "credits_disabled");
}

#[tokio::test]
async fn without_a_payment_provider_nothing_can_be_bought_and_a_code_says_so() {
    let api = with_credits(0).await;
    let buy = |cents: Value| api.post("/api/credits").by("ann").json(&json!({ "credit_amount": cents })).send();
    buy(json!(500)).await.refused(400, "payments_not_configured");
    for wrong in [json!(499), json!(550), json!(0), json!(-500), json!(500.5), json!("500"), json!(1e300)] {
        buy(wrong).await.refused(422, "validation_error");
    }
    let free = Api::start().await;
    let ask = free.post("/api/credits").by("ann").json(&json!({ "credit_amount": 500 }));
    ask.send().await.refused(400, "credits_disabled");
}
