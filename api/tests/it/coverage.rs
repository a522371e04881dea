//! Who may do what, for every operation of the document.

use serde_json::Value;
use uuid::Uuid;

use crate::harness::{Api, Settings};

struct Operation {
    path: String,
    method: String,
    id: String,
    needs_token: bool,
}

async fn operations(api: &Api) -> Vec<Operation> {
    let document = api.get("/openapi.json").send().await.ok();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations.push(Operation {
                path: path.clone(),
                method: method.to_uppercase(),
                id: operation["operationId"].as_str().unwrap().to_owned(),
                needs_token: operation["security"].as_array().is_some_and(|schemes| !schemes.is_empty()),
            });
        }
    }
    assert!(operations.len() > 20);
    operations
}

#[tokio::test]
async fn without_a_token_only_the_listed_operations_answer() {
    const OPEN: [&str; 4] = ["get_health", "get_ttl_config", "get_tool_responses_schema", "get_stream_chunks_schema"];
    let api = Api::start().await;
    for operation in operations(&api).await {
        assert_eq!(operation.needs_token, !OPEN.contains(&operation.id.as_str()), "{}", operation.id);
        let path = operation.path.replace("{id}", &Uuid::new_v4().to_string()).replace("{turn_id}", "x");
        let answer = api.ask(&operation.method, &path).raw("{").send().await;
        assert_eq!(answer.status == 401, operation.needs_token, "{}: {answer:?}", operation.id);
        let forged = api.ask(&operation.method, path).header("authorization", "Bearer e30.e30.x").raw("{").send().await;
        assert_eq!(forged.status == 401, operation.needs_token, "{}: {forged:?}", operation.id);
    }
}

#[tokio::test]
async fn a_foreign_and_an_unknown_session_are_the_same_404_before_anything_else() {
    let api = Api::start_with(Settings { anonymous: true, ..Settings::default() }).await;
    let foreign = api.session("owner").await;
    let foreign = foreign.rsplit('/').next().unwrap().to_owned();
    let unknown = Uuid::new_v4().to_string();
    for operation in operations(&api).await.iter().filter(|operation| operation.path.contains("{id}")) {
        let mut texts = Vec::new();
        for id in [foreign.as_str(), unknown.as_str(), "no-uuid"] {
            let path = operation.path.replace("{id}", id).replace("{turn_id}", &unknown);
            // A body and a query that are wrong: they must not be looked at. Claiming has no owner
            // to check before its body.
            let wrong = if operation.id == "assign_session_user" { "{}" } else { "{" };
            let ask = api.ask(&operation.method, format!("{path}?limit=wrong")).by("intruder").raw(wrong);
            let answer = ask.header("content-type", "application/json").send().await;
            answer.refused(404, "session_not_found");
            texts.push(answer.body["detail"].as_str().unwrap().replace(id, "ID"));
        }
        assert!(texts.iter().all(|text| text == "Session ID not found."), "{}: {texts:?}", operation.id);
    }
}

#[tokio::test]
async fn every_refused_method_names_those_that_there_are() {
    let api = Api::start().await;
    for operation in operations(&api).await {
        let path = operation.path.replace("{id}", "x").replace("{turn_id}", "y");
        let refused = api.ask("TRACE", path).send().await;
        refused.refused(405, "method_not_allowed");
        let allow = refused.headers.get("allow").unwrap().to_str().unwrap();
        assert!(allow.split(", ").any(|method| method == operation.method), "{}: {allow}", operation.id);
    }
}

#[tokio::test]
async fn operations_without_a_token_answer() {
    let api = Api::start().await;
    assert_eq!(api.get("/api/chat/health").send().await.ok()["status"], "healthy");
    let ttl = api.get("/api/chat/config/ttl").send().await.ok();
    assert_eq!(ttl, serde_json::json!({"stream_ttl_seconds": 60, "stream_ttl_ms": 60_000}));
    for schema in ["tool-responses", "stream-chunks"] {
        api.get(format!("/api/chat/schema/{schema}")).send().await.refused(501, "not_implemented");
    }
    for page in ["/", "/docs"] {
        let answer = api.get(page).send().await;
        assert_eq!(answer.status, 200);
        assert!(answer.headers.contains_key("content-security-policy"));
        let Value::String(html) = answer.body else { panic!("{page} is no page") };
        assert!(!html.contains("{{TOKEN}}"));
    }
}

#[tokio::test]
async fn the_playground_loads_nothing_from_elsewhere_and_its_token_opens_the_api() {
    let api = Api::start().await;
    let Value::String(html) = api.get("/").send().await.body else { panic!("no page") };
    assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("src="));
    let (_, rest) = html.split_once("name=\"development-token\" content=\"").unwrap();
    let token = rest.split_once('"').unwrap().0;
    let list = api.get("/api/chat/sessions").header("authorization", &format!("Bearer {token}")).send().await;
    assert_eq!(list.status, 200);
}
