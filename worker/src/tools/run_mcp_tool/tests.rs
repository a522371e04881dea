//! What the tool says to what it cannot do. What it can do is tried with real servers.

use copilot_shared::message::ToolOutcome;
use serde_json::json;

use super::super::{Toolbox, tests};
use super::*;
use crate::outbound::tests::{Server, outbound, reply};

async fn answer(user: Option<&str>, arguments: Value) -> Value {
    let toolbox = Toolbox::default().with(RunMcpTool).unwrap();
    let mut context = tests::context(user);
    context.resources.outbound = outbound("127.0.0.0/8");
    let end = toolbox.call("run_mcp_tool", context.clone(), arguments).await;
    let ToolOutcome::Output(Value::String(text)) = end.outcome(&context).await else { panic!("it answers") };
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn addresses_that_are_none_are_refused() {
    for (url, code) in [
        (" ", "missing_url"),
        ("ftp://mcp.example.org", "url_blocked"),
        ("https://user:secret@mcp.example.org/", "url_blocked"),
        ("http://169.254.169.254/mcp", "url_blocked"),
        ("https://mcp.example.org/mcp?token=s3cret", "invalid_url"),
        ("https://mcp.example.org/mcp#x", "invalid_url"),
    ] {
        let refusal = answer(Some("ann"), json!({"server_url": url})).await;
        assert_eq!((&refusal["type"], &refusal["error"]), (&json!("error"), &json!(code)), "{url}");
    }
    assert_eq!(answer(None, json!({"server_url": "https://mcp.example.org"})).await["type"], "need_login");
}

#[tokio::test]
async fn a_server_that_wants_credentials_must_be_connected_first() {
    let server = Server::start(|_| reply("401 Unauthorized", "", b"")).await;
    let asked = answer(Some("ann"), json!({"server_url": server.url("/mcp/")})).await;
    assert_eq!(asked["type"], "setup_requirements");
    let info = &asked["setup_info"];
    assert_eq!((&info["agent_id"], &info["agent_name"]), (&json!(server.url("/mcp")), &json!("127.0.0.1")));
    assert_eq!(info["requirements"]["execution_modes"], json!(["immediate"]));
    assert_eq!(info["requirements"]["credentials"][0]["types"], json!(["oauth2"]));
    assert!(info["user_readiness"]["missing_credentials"]["mcp_credentials"].is_object());
}

#[tokio::test]
async fn other_refusals_have_their_code() {
    let server = Server::start(|_| reply("503 Service Unavailable", "", b"")).await;
    let refusal = answer(Some("ann"), json!({"server_url": server.url("/"), "tool_name": "x"})).await;
    assert_eq!(refusal["error"], "mcp_http_error");
    assert!(refusal["message"].as_str().unwrap().starts_with("HTTP 503: "));
    let refusal = answer(Some("ann"), json!({"server_url": "http://127.0.0.1:1/"})).await;
    assert_eq!(refusal["error"], "mcp_unreachable");
}

#[test]
fn a_host_is_called_by_its_name() {
    let url = Url::parse("https://mcp.example.org/v1").unwrap();
    let ToolResponse::SetupRequirements(asked) = setup(&url, "https://mcp.example.org/v1").response else {
        panic!("it asks")
    };
    assert_eq!(asked.setup_info.agent_name, "example.org");
}
