//! The toolbox as a whole, and the rules that every tool keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use copilot_shared::blobs::Blobs;
use copilot_shared::id::{SessionId, ToolCallId, TurnId, UserId};
use copilot_shared::store::{Store, StoreSettings};
use copilot_shared::tool::ToolResponse;
use copilot_shared::tool::plain::NoResults;
use copilot_shared::turn::Attempt;
use copilot_shared::workspace::{WorkspaceLimits, Workspaces};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::*;

/// The project's own pages, read once.
fn docs() -> Arc<crate::docs::Docs> {
    static DOCS: std::sync::LazyLock<Arc<crate::docs::Docs>> =
        std::sync::LazyLock::new(|| Arc::new(crate::docs::Docs::open(None, None).unwrap()));
    Arc::clone(&DOCS)
}

/// A context whose servers nobody asks.
pub(super) fn context(user: Option<&str>) -> ToolContext {
    let settings = StoreSettings { lease: Duration::from_secs(1), max_running: 0, max_in_flight: 0, connections: 2 };
    let store = Store::new("postgres://postgres@127.0.0.1:1/none", settings).unwrap();
    let blobs = Blobs::directory(&std::env::temp_dir()).unwrap();
    let limits = WorkspaceLimits { quota_bytes: 0, max_file_bytes: 1 };
    let outbound = crate::outbound::tests::outbound("");
    let sandbox = Arc::new(crate::sandbox::Sandbox::new(&std::env::temp_dir(), 1 << 20).unwrap());
    ToolContext {
        turn_id: TurnId::generate(),
        attempt: Attempt(1),
        session_id: SessionId::random(),
        user_id: user.and_then(UserId::parse),
        call_id: ToolCallId::generate(),
        stop: CancellationToken::new(),
        resources: Resources {
            workspaces: Workspaces::new(store.clone(), blobs, limits),
            store,
            outbound,
            sandbox,
            cloud: None,
            secrets_key: None,
            docs: docs(),
            linear: None,
        },
        outlet: Outlet::channel().0,
    }
}

async fn call(toolbox: &Toolbox, name: &str, user: Option<&str>, input: Value) -> Result<Value, Value> {
    let context = context(user);
    let end = toolbox.call(name, context.clone(), input).await;
    match end.outcome(&context).await {
        ToolOutcome::Output(output) => Ok(serde_json::from_str(output.as_str().unwrap()).unwrap()),
        ToolOutcome::Error(text) => Err(serde_json::from_str(&text).unwrap()),
    }
}

/// Does whatever its argument says.
struct Odd(Arc<AtomicBool>);

#[derive(Deserialize, JsonSchema)]
struct OddArguments {
    /// What to do.
    what: String,
}

/// Says when it is dropped.
struct Flag(Arc<AtomicBool>);

impl Drop for Flag {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Tool for Odd {
    type Arguments = OddArguments;
    const NAME: &'static str = "odd";
    const DESCRIPTION: &'static str = "Does odd things.";
    const ACCESS: Access = Access::SignedIn;
    const REPEAT: Repeat = Repeat::Never;
    const TIME_LIMIT: Duration = Duration::from_millis(50);

    async fn call(&self, context: &ToolContext, arguments: OddArguments) -> Result<ToolAnswer, ToolFailure> {
        match arguments.what.as_str() {
            "hang" => {
                let (flag, stop) = (Flag(Arc::clone(&self.0)), context.stop.clone());
                tokio::spawn(async move {
                    stop.cancelled().await;
                    drop(flag);
                });
                std::future::pending().await
            }
            "panic" => panic!("as asked"),
            "break" => Err(std::io::Error::other("the disk is full"))?,
            "talk" => Ok(ToolAnswer::new("é".repeat(300_000), ToolResponse::NoResults(NoResults::new(Vec::new())))),
            other => Ok(ToolAnswer::error("unknown_wish", format!("Nobody can {other}. {}", context.user()?))),
        }
    }
}

fn odd() -> (Toolbox, Arc<AtomicBool>) {
    let ended = Arc::new(AtomicBool::new(false));
    (Toolbox::default().with(Odd(Arc::clone(&ended))).unwrap(), ended)
}

#[tokio::test]
async fn an_unknown_tool_names_the_known_ones() {
    let answer = call(&Toolbox::built_in().unwrap(), "nope", None, json!({})).await.unwrap_err();
    assert_eq!(answer["error"], "unknown_tool");
    assert!(answer["message"].as_str().unwrap().contains("calculator"));
}

#[tokio::test]
async fn wrong_arguments_are_explained_to_the_model() {
    let toolbox = Toolbox::built_in().unwrap();
    for bad in [json!("not json"), json!({}), json!({"expression": 4}), json!({"expression": "1", "more": 2})] {
        let answer = call(&toolbox, "calculator", None, bad).await.unwrap_err();
        assert_eq!((&answer["type"], &answer["error"]), (&json!("error"), &json!("invalid_arguments")));
        assert!(answer["message"].as_str().unwrap().contains("arguments of calculator"));
    }
}

#[tokio::test]
async fn the_calculator_calculates_and_the_clock_ticks() {
    let toolbox = Toolbox::built_in().unwrap();
    let answer = call(&toolbox, "calculator", None, json!({"expression": "12*(3+4)"})).await.unwrap();
    assert_eq!((&answer["type"], &answer["result"]), (&json!("calculation"), &json!(84)));
    assert!(answer["session_id"].is_string());
    let answer = call(&toolbox, "get_current_time", None, json!({})).await.unwrap();
    assert_eq!(answer["type"], "current_time");
    let answer = call(&toolbox, "calculator", None, json!({"expression": "6*"})).await.unwrap_err();
    assert_eq!(answer["message"], "An error occurred while executing calculator");
    assert!(answer["error"].as_str().unwrap().contains("cannot be evaluated"));
}

#[tokio::test]
async fn a_tool_for_users_asks_others_to_sign_in() {
    let answer = call(&odd().0, "odd", None, json!({"what": "sing"})).await.unwrap();
    assert_eq!((&answer["type"], &answer["message"]), (&json!("need_login"), &json!("Please sign in to use odd")));
    let answer = call(&odd().0, "odd", Some("ann"), json!({"what": "sing"})).await.unwrap();
    assert_eq!((&answer["type"], &answer["error"]), (&json!("error"), &json!("unknown_wish")));
}

#[tokio::test]
async fn a_call_that_breaks_fails_with_a_sentence() {
    let answer = call(&odd().0, "odd", Some("ann"), json!({"what": "break"})).await.unwrap_err();
    assert_eq!(answer["error"], "the disk is full");
    let answer = call(&odd().0, "odd", Some("ann"), json!({"what": "panic"})).await.unwrap_err();
    assert_eq!(answer["error"], "The tool has a defect.");
}

#[tokio::test]
async fn the_time_limit_ends_what_the_call_started() {
    let (toolbox, ended) = odd();
    let answer = call(&toolbox, "odd", Some("ann"), json!({"what": "hang"})).await.unwrap_err();
    assert_eq!(answer["error"], "time_limit");
    copilot_eventually(&ended).await;
}

#[tokio::test]
async fn dropping_a_call_ends_what_it_started() {
    let (toolbox, ended) = odd();
    let asked = toolbox.call("odd", context(Some("ann")), json!({"what": "hang"}));
    assert!(tokio::time::timeout(Duration::from_millis(10), asked).await.is_err());
    copilot_eventually(&ended).await;
}

async fn copilot_eventually(flag: &AtomicBool) {
    let waiting = async {
        while !flag.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), waiting).await.expect("what the call started has ended");
}

#[tokio::test]
async fn no_output_is_longer_than_the_limit() {
    let context = context(Some("ann"));
    let end = odd().0.call("odd", context.clone(), json!({"what": "talk"})).await;
    let ToolOutcome::Output(Value::String(text)) = end.outcome(&context).await else { panic!("it answers") };
    assert_eq!(text.chars().count(), envelope::MAX_CHARS);
    assert!(text.starts_with("{\"type\":\"no_results\"") && text.ends_with('}'));
}

#[tokio::test]
async fn only_tools_that_need_arguments_can_lack_them() {
    let toolbox = Toolbox::built_in().unwrap();
    assert!(toolbox.lacks_arguments("calculator", &json!({})));
    assert!(!toolbox.lacks_arguments("calculator", &json!({"expression": ""})));
    assert!(!toolbox.lacks_arguments("get_current_time", &json!({})));
}

/// `usage-tools.md` §6.4.
#[test]
fn every_tool_is_described_as_models_want_it() {
    let specs = Toolbox::built_in().unwrap().specs();
    let names: std::collections::BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    assert_eq!(names.len(), specs.len(), "names are unique");
    for spec in specs.iter() {
        let name = &spec.name;
        assert!(name.len() <= 64 && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
        assert!(!spec.description.trim().is_empty(), "{name}");
        assert_eq!(
            (&spec.parameters["type"], &spec.parameters["additionalProperties"]),
            (&json!("object"), &json!(false))
        );
        let properties = spec.parameters["properties"].as_object().unwrap();
        for required in schema::strings(spec.parameters.get("required")) {
            assert!(properties.contains_key(&required), "{name}: {required}");
        }
        for (property, schema) in properties {
            let typed = ["type", "enum", "anyOf", "oneOf"].iter().any(|key| schema.get(*key).is_some());
            assert!(typed, "{name}: {property} has no type");
            let described = schema["description"].as_str().is_some_and(|text| !text.trim().is_empty());
            assert!(described, "{name}: {property} has no description");
        }
    }
    let size: usize = specs.iter().map(|spec| serde_json::to_string(spec).unwrap().len()).sum();
    assert!(size < 32_000, "the model reads all of it in every call: {size}");
}
