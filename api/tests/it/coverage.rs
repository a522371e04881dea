//! Who may do what, for every operation of the document.

use copilot_api::auth::DEVELOPMENT_KEY;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Api, Settings};
use crate::identity::{Signer, crafted};

pub(crate) struct Operation {
    pub(crate) path: String,
    pub(crate) method: String,
    pub(crate) id: String,
    pub(crate) schemes: Vec<String>,
}

impl Operation {
    pub(crate) fn needs_token(&self) -> bool {
        !self.schemes.is_empty()
    }

    pub(crate) fn is_admins(&self) -> bool {
        self.path.starts_with("/api/copilot/admin")
    }

    pub(crate) fn names_session(&self) -> bool {
        self.path.contains("/sessions/{id}") || self.path.contains("/chat/{id}")
    }

    /// The path with an id that is nobody's in place of each parameter.
    pub(crate) fn anywhere(&self) -> String {
        let part = |part: &str| if part.starts_with('{') { Uuid::new_v4().to_string() } else { part.to_owned() };
        self.path.split('/').map(part).collect::<Vec<_>>().join("/")
    }
}

pub(crate) async fn operations(api: &Api) -> Vec<Operation> {
    let document = api.get("/openapi.json").send().await.ok();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let security = operation["security"].as_array().cloned().unwrap_or_default();
            operations.push(Operation {
                path: path.clone(),
                method: method.to_uppercase(),
                id: operation["operationId"].as_str().unwrap().to_owned(),
                schemes: security.iter().flat_map(|scheme| scheme.as_object().unwrap().keys().cloned()).collect(),
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
        assert_eq!(operation.needs_token(), !OPEN.contains(&operation.id.as_str()), "{}", operation.id);
        if !operation.needs_token() {
            let answer = api.ask(&operation.method, operation.anywhere()).raw("{").send().await;
            assert!(answer.status != 401 && answer.status != 403, "{}: {answer:?}", operation.id);
        }
    }
}

/// What is sent as `Authorization`, and the code and text of the refusal (`usage-tools.md` §3).
fn wrong_tokens() -> Vec<(Option<String>, &'static str, &'static str)> {
    let good = json!({"sub": "u1", "aud": "authenticated", "role": "admin"});
    let but = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().insert(name.into(), value);
        claims
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    let ours = Signer::shared(DEVELOPMENT_KEY.as_bytes(), Algorithm::HS256);
    let (past, far) = (json!(1_000_000_000), json!(9_000_000_000_u64));
    let missing = "Authorization header is missing";
    let bearer = |token: String| Some(format!("Bearer {token}"));
    let algorithm = "Invalid token: The specified alg value is not allowed";
    vec![
        (None, "unauthorized", missing),
        (Some("Basic dTE6cA==".into()), "unauthorized", missing),
        (Some("Bearer ".into()), "unauthorized", missing),
        (bearer("garbage".into()), "unauthorized", "Invalid token: Not enough segments"),
        (bearer("e30.e30.x".into()), "unauthorized", algorithm),
        (bearer(ours.sign(&but("exp", past))), "token_expired", "Token has expired"),
        (
            bearer(Signer::shared(b"another key", Algorithm::HS256).sign(&good)),
            "unauthorized",
            "Invalid token: Signature verification failed",
        ),
        (bearer(ours.sign(&but("aud", json!("other")))), "unauthorized", "Invalid token: Audience doesn't match"),
        (bearer(ours.sign(&without("aud"))), "unauthorized", "Invalid token: Token is missing the \"aud\" claim"),
        (bearer(crafted(&json!({"alg": "none"}), &good, "")), "unauthorized", algorithm),
        (bearer(Signer::shared(DEVELOPMENT_KEY.as_bytes(), Algorithm::HS512).sign(&good)), "unauthorized", algorithm),
        (bearer(Signer::rsa().sign(&good)), "unauthorized", algorithm),
        (
            bearer(ours.sign(&but("nbf", far.clone()))),
            "unauthorized",
            "Invalid token: The token is not yet valid (nbf)",
        ),
        (bearer(ours.sign(&but("iat", far))), "unauthorized", "Invalid token: The token is not yet valid (iat)"),
        (bearer(ours.sign(&without("sub"))), "unauthorized", "User ID not found in token"),
        (bearer(ours.sign(&but("sub", json!("")))), "unauthorized", "User ID not found in token"),
        (bearer(ours.sign(&but("sub", json!(7)))), "unauthorized", "User ID not found in token"),
    ]
}

#[tokio::test]
async fn every_operation_refuses_every_wrong_token_and_says_why() {
    let tokens = wrong_tokens();
    let (closed, open) =
        tokio::join!(Api::start(), Api::start_with(Settings { anonymous: true, ..Settings::default() }));
    for operation in operations(&closed).await.iter().filter(|operation| operation.needs_token()) {
        for (authorization, code, detail) in &tokens {
            for (api, needed) in [(&closed, true), (&open, false)] {
                // Where nobody needs a token, only a wrong one is refused; another proof does not help it.
                if authorization.is_none() && !needed {
                    continue;
                }
                let mut ask = api.ask(&operation.method, operation.anywhere()).raw("{");
                if let Some(authorization) = authorization {
                    ask = ask.header("authorization", authorization).header("X-Claim-Token", "t");
                }
                let refused = ask.header("content-type", "application/json").send().await;
                refused.refused(401, code);
                assert_eq!(refused.body["detail"], *detail, "{} {authorization:?}", operation.id);
                assert!(!refused.headers.contains_key("www-authenticate"));
            }
        }
    }
    assert_eq!(closed.services.count("SELECT count(*) FROM audit_records").await, 0);
}

#[tokio::test]
async fn an_admins_operation_refuses_every_other_user() {
    let api = Api::start().await;
    let admins: Vec<_> = operations(&api).await.into_iter().filter(Operation::is_admins).collect();
    assert!(!admins.is_empty());
    for operation in admins {
        assert_eq!(operation.schemes, ["bearer"], "{}", operation.id);
        let refused = api.ask(&operation.method, operation.anywhere()).by("u1").raw("{").send().await;
        refused.refused(403, "admin_required");
        assert_eq!(refused.body["detail"], "Admin access required", "{}", operation.id);
    }
}

#[tokio::test]
async fn a_foreign_and_an_unknown_session_are_the_same_404_before_anything_else() {
    let api = Api::start_with(Settings { anonymous: true, ..Settings::default() }).await;
    let foreign = api.session("owner").await;
    let foreign = foreign.rsplit('/').next().unwrap().to_owned();
    let unknown = Uuid::new_v4().to_string();
    for operation in operations(&api).await.iter().filter(|operation| operation.names_session()) {
        let mut texts = Vec::new();
        for id in [foreign.as_str(), unknown.as_str(), "no-uuid"] {
            let path = operation.path.replace("{id}", id).replace("{turn_id}", &unknown);
            // A body and a query that are wrong: they must not be looked at. Claiming has no owner
            // to check before its body.
            let wrong = if operation.id == "assign_session_user" { "{}" } else { "{" };
            // An admin is nobody else's owner either, as long as they act as themselves.
            for admin in [false, true] {
                let ask = api.ask(&operation.method, format!("{path}?limit=wrong")).raw(wrong);
                let ask = if admin { ask.by_admin("intruder") } else { ask.by("intruder") };
                let answer = ask.header("content-type", "application/json").send().await;
                answer.refused(404, "session_not_found");
                texts.push(answer.body["detail"].as_str().unwrap().replace(id, "ID"));
            }
        }
        assert!(texts.iter().all(|text| text == "Session ID not found."), "{}: {texts:?}", operation.id);
    }
}

#[tokio::test]
async fn a_turn_of_another_session_is_none_of_this_one() {
    let api = Api::start().await;
    let (mine, others, second) = (api.session("u1").await, api.session("u2").await, api.session("u1").await);
    let foreign = api.submit(&others, "u2", "theirs").await;
    let elsewhere = api.submit(&second, "u1", "mine, but of another session").await;
    let mine = mine.rsplit('/').next().unwrap().to_owned();
    let named = |operation: &Operation| operation.names_session() && operation.path.contains("{turn_id}");
    for operation in operations(&api).await.iter().filter(|operation| named(operation)) {
        for turn in [foreign.to_string(), elsewhere.to_string(), Uuid::new_v4().to_string(), "no-uuid".into()] {
            let path = operation.path.replace("{id}", &mine).replace("{turn_id}", &turn);
            let answer = api.ask(&operation.method, path).by("u1").json(&json!({"message": "x"})).send().await;
            answer.refused(404, "turn_not_found");
        }
    }
}

#[tokio::test]
async fn every_refused_method_names_those_that_there_are() {
    let api = Api::start().await;
    for operation in operations(&api).await {
        let refused = api.ask("TRACE", operation.anywhere()).send().await;
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
async fn a_claim_token_opens_its_session_and_after_the_claim_nothing() {
    let api = Api::start_with(Settings { anonymous: true, ..Settings::default() }).await;
    let made = api.post("/api/chat/sessions").send().await.ok();
    let (id, token) = (made["id"].as_str().unwrap(), made["claim_token"].as_str().unwrap());
    let takes_it = |operation: &Operation| operation.schemes.iter().any(|scheme| scheme == "claim_token");
    let all = operations(&api).await;
    for operation in all.iter().filter(|operation| operation.names_session()) {
        // Claiming and deleting come afterwards; a stream of nothing has nothing to read.
        assert_eq!(takes_it(operation), operation.id != "assign_session_user", "{}", operation.id);
    }
    let ask = |operation: &Operation, token: &str| {
        let path = operation.path.replace("{id}", id).replace("{turn_id}", &Uuid::new_v4().to_string());
        // The aliases name the session in the body.
        let ask = api.ask(&operation.method, path).json(&json!({"id": id}));
        ask.header("X-Claim-Token", token).send()
    };
    let of_sessions = all.iter().filter(|operation| takes_it(operation) && operation.id != "delete_session");
    for operation in of_sessions {
        let answer = ask(operation, token).await;
        assert!(answer.status != 401, "{}: {answer:?}", operation.id);
        assert!(answer.body["code"] != "session_not_found", "{}: {answer:?}", operation.id);
    }
    let claim = api.ask("PATCH", format!("/api/chat/sessions/{id}/assign-user")).by("ann");
    claim.json(&json!({"claim_token": token})).send().await.ok();
    for operation in all.iter().filter(|operation| takes_it(operation)) {
        ask(operation, token).await.refused(404, "session_not_found");
    }
    assert_eq!(api.get(format!("/api/chat/sessions/{id}")).by("ann").send().await.status, 200);
}
