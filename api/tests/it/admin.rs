//! What admins see and do across all users, and what is written down of it.

use serde_json::{Value, json};

use crate::harness::Api;

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
