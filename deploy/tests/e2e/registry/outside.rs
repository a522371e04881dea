//! What is outside of a worker, in one server: a model that calls what it is told to, a page, an MCP
//! server, and Linear. All but the model can be held, so that a call stands still in its middle.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::provider::is_complete;

/// The server. It lives as long as the test's runtime.
pub struct Outside {
    pub url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    held: AtomicBool,
    waiting: AtomicUsize,
    seen: Mutex<Vec<Value>>,
}

enum Reply {
    Answer(u16, &'static str, String),
    /// Nothing, until the client is gone.
    Hang,
}

impl Reply {
    fn status(status: u16) -> Self {
        Self::Answer(status, "text/plain", String::new())
    }
}

impl Outside {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                // A client that goes away is what some tests are about.
                tokio::spawn(async move { serve(socket, &state).await });
            }
        });
        Self { url, state }
    }

    /// Answers nothing from now on, or does again.
    pub fn hold(&self, held: bool) {
        self.state.held.store(held, Ordering::SeqCst);
    }

    /// Requests that get no answer, and whose clients are still there.
    pub fn waiting(&self) -> usize {
        self.state.waiting.load(Ordering::SeqCst)
    }

    /// The tools that the model was told of.
    pub fn offered(&self) -> BTreeSet<String> {
        let seen = self.state.seen.lock().unwrap();
        let tools = seen.iter().filter_map(|body| body["tools"].as_array()).flatten();
        tools.map(|tool| tool["function"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// How often a tool of the MCP server was called.
    pub fn mcp_calls(&self) -> usize {
        self.state.seen.lock().unwrap().iter().filter(|body| body["method"] == "tools/call").count()
    }
}

async fn serve(mut socket: TcpStream, state: &State) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !is_complete(&request) {
        if socket.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let request = String::from_utf8_lossy(&request);
    let path = request.split(' ').nth(1).unwrap_or_default();
    let body = request.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok());
    let body: Value = body.unwrap_or_default();
    let reply = answer(path, &body, state.held.load(Ordering::SeqCst));
    state.seen.lock().unwrap().push(body);
    let (status, kind, body) = match reply {
        Reply::Answer(status, kind, body) => (status, kind, body),
        Reply::Hang => {
            state.waiting.fetch_add(1, Ordering::SeqCst);
            let gone = socket.read(&mut [0]).await;
            state.waiting.fetch_sub(1, Ordering::SeqCst);
            return gone.map(|_| ());
        }
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} So\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(body.as_bytes()).await?;
    socket.shutdown().await
}

fn answer(path: &str, body: &Value, held: bool) -> Reply {
    match path {
        "/v1/chat/completions" => model(body),
        "/page" if !held => Reply::Answer(200, "text/html", "<h1>A page</h1>".into()),
        "/picture" => Reply::Answer(200, "image/png", "PNG".into()),
        "/mcp" => mcp(body, held),
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
