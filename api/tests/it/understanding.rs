//! What is known of a user, as they tell it, see it and forget it.

use serde_json::{Value, json};

use crate::harness::Api;

const UNDERSTANDING: &str = "/api/chat/understanding";
const PROMPTS: &str = "/api/chat/suggested-prompts";

async fn tell(api: &Api, user: &str, news: Value) -> Value {
    api.ask("PATCH", UNDERSTANDING).by(user).json(&news).send().await.ok()
}

#[tokio::test]
async fn who_told_nothing_is_unknown() {
    let api = Api::start().await;
    assert_eq!(api.get(PROMPTS).by("ann").send().await.ok(), json!({"themes": []}));
    let known = api.get(UNDERSTANDING).by("ann").send().await.ok();
    assert_eq!((&known["name"], &known["business"]["job_title"]), (&Value::Null, &Value::Null));
    assert_eq!((&known["business"]["pain_points"], &known["suggested_prompts"]), (&json!([]), &json!([])));
    tell(&api, "ann", json!({"name": "Ann"})).await;
    assert_eq!(api.get(PROMPTS).by("ann").send().await.ok(), json!({"themes": []}), "and has no prompts");
}

#[tokio::test]
async fn news_are_merged_and_seen_by_their_owner_alone() {
    let api = Api::start().await;
    let first = json!({"name": "Ann", "business": {"job_title": "clerk", "pain_points": ["forms", "forms"]}});
    tell(&api, "ann", first).await;
    let then = json!({"name": null, "business": {"job_title": "head clerk", "pain_points": ["stairs", "forms"], "industry": " "}});
    let known = tell(&api, "ann", then).await;
    assert_eq!(known["name"], "Ann");
    assert_eq!(known["business"]["job_title"], "head clerk");
    assert_eq!(known["business"]["pain_points"], json!(["forms", "stairs"]));
    assert_eq!(known["business"]["industry"], Value::Null);
    assert_eq!(api.get(UNDERSTANDING).by("ann").send().await.ok(), known);
    assert_eq!(api.get(UNDERSTANDING).by("bob").send().await.ok()["name"], Value::Null);
}

#[tokio::test]
async fn suggested_prompts_come_by_theme_in_their_order() {
    let api = Api::start().await;
    let themes = json!([
        {"name": "Organize", "prompts": ["Sort my files"]},
        {"name": "Learn", "prompts": ["What is a ledger?", "What is a lease?"]},
        {"name": "Automate", "prompts": []},
    ]);
    tell(&api, "ann", json!({"suggested_prompts": themes})).await;
    tell(&api, "ann", json!({"name": "Ann"})).await;
    assert_eq!(api.get(PROMPTS).by("ann").send().await.ok(), json!({"themes": themes}));
    tell(&api, "ann", json!({"suggested_prompts": []})).await;
    assert_eq!(api.get(PROMPTS).by("ann").send().await.ok(), json!({"themes": []}));
}

#[tokio::test]
async fn everything_is_forgotten_when_its_owner_says_so() {
    let api = Api::start().await;
    tell(&api, "ann", json!({"name": "Ann"})).await;
    tell(&api, "bob", json!({"name": "Bob"})).await;
    for _ in 0..2 {
        assert_eq!(api.ask("DELETE", UNDERSTANDING).by("ann").send().await.status, 204);
    }
    assert_eq!(api.get(UNDERSTANDING).by("ann").send().await.ok()["name"], Value::Null);
    assert_eq!(api.get(UNDERSTANDING).by("bob").send().await.ok()["name"], "Bob");
}

#[tokio::test]
async fn too_much_is_refused_with_its_place_and_nothing_of_it_is_learned() {
    let api = Api::start().await;
    for (news, place) in [
        (json!({"name": "x".repeat(301)}), json!(["body", "name"])),
        (json!({"name": 5}), json!(["body", "name"])),
        (json!({"name": "Ann", "business": {"industry": "x".repeat(301)}}), json!(["body", "business", "industry"])),
        (json!({"business": {"bottlenecks": vec!["x"; 26]}}), json!(["body", "business", "bottlenecks"])),
        (json!({"business": {"bottlenecks": ["a", "x".repeat(201)]}}), json!(["body", "business", "bottlenecks", "1"])),
        (
            json!({"suggested_prompts": [{"name": " ", "prompts": []}]}),
            json!(["body", "suggested_prompts", "0", "name"]),
        ),
    ] {
        let refused = api.ask("PATCH", UNDERSTANDING).by("ann").json(&news).send().await;
        refused.refused(422, "validation_error");
        assert_eq!(refused.body["detail"][0]["loc"], place);
    }
    assert_eq!(api.services.count("SELECT count(*) FROM user_understandings").await, 0);
    let odd = json!({"name": "A\u{0}n\u{1b}n", "unknown": 1, "business": {"later": {"x": "y"}, "version": 9}});
    assert_eq!(tell(&api, "ann", odd).await["name"], "Ann");
    let stored = "SELECT count(*) FROM user_understandings WHERE understanding->'business' = \
        '{\"version\":1,\"job_title\":null,\"business_name\":null,\"industry\":null,\"business_size\":null,\"user_role\":null,\
          \"additional_notes\":null,\"key_workflows\":[],\"daily_activities\":[],\"pain_points\":[],\"bottlenecks\":[],\
          \"manual_tasks\":[],\"automation_goals\":[],\"current_software\":[],\"existing_automation\":[]}'";
    assert_eq!(api.services.count(stored).await, 1, "nothing is stored that nobody knows");
}
