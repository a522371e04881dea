//! What is outside of a worker, in one server: a model that calls what it is told to, a page, an MCP
//! server, and Linear. All but the model can be held, so that a call stands still in its middle.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use copilot_shared::testing::{Reply, Seen, Witness};
use serde_json::{Value, json};

pub struct Outside {
    pub server: Witness,
    held: Arc<AtomicBool>,
}

impl Outside {
    pub async fn start() -> Self {
        let held = Arc::new(AtomicBool::new(false));
        let switch = Arc::clone(&held);
        let server = Witness::answering(move |seen| answer(seen, switch.load(Ordering::SeqCst))).await;
        Self { server, held }
    }

    /// Answers nothing from now on, or does again.
    pub fn hold(&self, held: bool) {
        self.held.store(held, Ordering::SeqCst);
    }

    /// The tools that the model was told of.
    pub fn offered(&self) -> BTreeSet<String> {
        let seen = self.server.seen();
        let bodies = seen.iter().filter_map(|seen| seen.body["tools"].as_array());
        bodies.flatten().map(|tool| tool["function"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// How often a tool of the MCP server was called.
    pub fn mcp_calls(&self) -> usize {
        self.server.seen().iter().filter(|seen| seen.body["method"] == "tools/call").count()
    }
}

fn answer(seen: &Seen, held: bool) -> Reply {
    match seen.path.as_str() {
        "/v1/chat/completions" => model(&seen.body),
        "/page" if !held => Reply::Answer(200, "text/html", "<h1>A page</h1>".into()),
        "/picture" => Reply::Answer(200, "image/png", "PNG".into()),
        "/mcp" => mcp(&seen.body, held),
        "/page" | "/graphql" if held => Reply::Hang,
        _ => Reply::status(404),
    }
}

/// Calls what the last message names as `[[tool, arguments], …]`, all in one step; says "Well." else.
fn model(asked: &Value) -> Reply {
    let last = asked["messages"].as_array().and_then(|messages| messages.last()).cloned().unwrap_or_default();
    let wanted = last["content"].as_str().filter(|_| last["role"] == "user");
    let wanted: Option<Vec<(String, Value)>> = wanted.and_then(|text| serde_json::from_str(text).ok());
    let (delta, reason) = match wanted {
        None => (json!({"content": "Well."}), "stop"),
        Some(wanted) => {
            let calls = wanted.into_iter().enumerate().map(|(index, (name, arguments))| {
                let function = json!({"name": name, "arguments": arguments.to_string()});
                json!({"index": index, "id": format!("c{index}"), "type": "function", "function": function})
            });
            (json!({"tool_calls": calls.collect::<Vec<_>>()}), "tool_calls")
        }
    };
    let chunk = |delta: &Value, reason: &Value| {
        let choices = json!([{"index": 0, "delta": delta, "finish_reason": reason}]);
        format!("data: {}\n\n", json!({"id": "c", "object": "chat.completion.chunk", "choices": choices}))
    };
    let (said, end) = (chunk(&delta, &Value::Null), chunk(&json!({}), &json!(reason)));
    Reply::Answer(200, "text/event-stream", format!("{said}{end}data: [DONE]\n\n"))
}

fn mcp(asked: &Value, held: bool) -> Reply {
    let result = match asked["method"].as_str() {
        Some("initialize") => json!({"protocolVersion": "2025-03-26", "capabilities": {"tools": {}},
            "serverInfo": {"name": "parrot", "version": "1"}}),
        Some("tools/list") => json!({"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}),
        Some("tools/call") if held => return Reply::Hang,
        Some("tools/call") => {
            let text = asked["params"]["arguments"].to_string();
            json!({"content": [{"type": "text", "text": text}], "isError": asked["params"]["name"] == "fail"})
        }
        Some(_) => return Reply::status(202),
        None => return Reply::status(405),
    };
    Reply::Answer(200, "application/json", json!({"jsonrpc": "2.0", "id": asked["id"], "result": result}).to_string())
}
