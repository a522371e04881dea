//! Against a server of the official SDK, and against servers that do as they please.

use std::time::{Duration, Instant};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rmcp::model::{
    CallToolResponse, CallToolResult, ContentBlock, ErrorData, ListToolsResult, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{RoleServer, ServerHandler};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::outbound::tests::{Server, outbound, reply};

/// Echoes, fails, hangs.
#[derive(Clone, Default)]
struct Parrot {
    /// A call that hangs has been dropped.
    dropped: CancellationToken,
}

impl ServerHandler for Parrot {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        page: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema = || serde_json::from_value::<JsonObject>(json!({"type": "object"})).unwrap();
        let mut result = ListToolsResult::default();
        match page.and_then(|page| page.cursor).as_deref() {
            None => {
                result.tools = vec![Tool::new("echo", "Says it again", schema())];
                result.next_cursor = Some("2".into());
            }
            Some(_) => result.tools = vec![Tool::new("fail", "Fails", schema())],
        }
        Ok(result)
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let text = |text: String| vec![ContentBlock::text(text)];
        match call.name.as_ref() {
            "echo" => Ok(CallToolResult::success(text(json!(call.arguments).to_string())).into()),
            "fail" => Ok(CallToolResult::error(text("it is broken".into())).into()),
            "hang" => {
                let _dropped = self.dropped.clone().drop_guard();
                context.ct.cancelled().await;
                Err(ErrorData::internal_error("cancelled", None))
            }
            other => Err(ErrorData::invalid_params(format!("no tool {other}"), None)),
        }
    }
}

/// Serves a parrot; `config` chooses between sessions with event streams, and plain JSON.
async fn serve(parrot: Parrot, config: StreamableHttpServerConfig) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/mcp", listener.local_addr().unwrap())).unwrap();
    let service =
        StreamableHttpService::new(move || Ok(parrot.clone()), Arc::new(LocalSessionManager::default()), config);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                // A client that goes away is no matter.
                let _gone = builder.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    url
}

fn events() -> StreamableHttpServerConfig {
    StreamableHttpServerConfig::default()
}

fn plain() -> StreamableHttpServerConfig {
    let mut config = StreamableHttpServerConfig::default();
    config.legacy_session_mode = false;
    config.json_response = true;
    config
}

async fn open(url: &Url) -> Result<McpConnection, McpError> {
    McpConnection::open(&outbound("127.0.0.0/8"), url, None).await
}

/// How a server that always answers the same is met.
async fn refusal(status: &str, headers: &str, body: &[u8]) -> (McpError, Vec<String>) {
    let answer = reply(status, headers, body);
    let server = Server::start(move |_| answer.clone()).await;
    let error = open(&Url::parse(&server.url("/mcp")).unwrap()).await.err().expect("it is refused");
    (error, server.asked.lock().unwrap().clone())
}

#[tokio::test]
async fn tools_are_listed_and_called_over_event_streams_and_json() {
    for config in [events(), plain()] {
        let url = serve(Parrot::default(), config).await;
        let server = open(&url).await.unwrap();
        let names: Vec<String> = server.tools().await.unwrap().into_iter().map(|tool| tool.name).collect();
        assert_eq!(names, ["echo", "fail"], "all pages");
        let arguments = json!({"a": [1, "é"]}).as_object().cloned();
        let said = server.call("echo", arguments).await.unwrap();
        assert_eq!(said, McpResult { value: json!({"a": [1, "é"]}), is_error: false });
        let said = server.call("fail", None).await.unwrap();
        assert_eq!(said, McpResult { value: json!("it is broken"), is_error: true });
        let error = server.call("nope", None).await.unwrap_err();
        assert!(matches!(&error, McpError::Server(words) if words.contains("no tool nope")), "{error}");
        server.close().await;
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_is_dropped_by_the_server_too() {
    let parrot = Parrot::default();
    let url = serve(parrot.clone(), events()).await;
    let server = open(&url).await.unwrap();
    let hanging = tokio::time::timeout(Duration::from_millis(300), server.call("hang", None)).await;
    assert!(hanging.is_err());
    drop(server);
    tokio::time::timeout(Duration::from_secs(10), parrot.dropped.cancelled()).await.expect("the server has noticed");
}

#[tokio::test]
async fn what_http_says_no_with_is_told_apart() {
    let (error, _) = refusal("401 Unauthorized", "www-authenticate: Bearer\r\n", b"").await;
    assert!(matches!(error, McpError::Unauthorized(401)), "{error}");
    let (error, _) = refusal("403 Forbidden", "content-type: application/json\r\n", b"{}").await;
    assert!(matches!(error, McpError::Unauthorized(403)), "{error}");
    let (error, asked) = refusal("500 Internal Server Error", "", b"oops").await;
    assert!(matches!(error, McpError::Http(500)), "{error}");
    assert_eq!(asked.len(), 1, "nothing is tried again");
    let (error, _) = refusal("404 Not Found", "", b"").await;
    assert!(matches!(error, McpError::Http(404)), "{error}");
    let (error, _) = refusal("200 OK", "content-type: text/html\r\n", b"<p>hello").await;
    assert!(matches!(error, McpError::Transport), "{error}");
}

#[tokio::test]
async fn a_redirect_to_the_inside_is_not_followed() {
    let inner = Server::start(|_| reply("200 OK", "", b"secret")).await;
    let target = format!("location: {}\r\n", inner.url("/"));
    let outer = Server::start(move |_| reply("307 Temporary Redirect", &target, b"")).await;
    let outbound = outbound(&format!("127.0.0.1:{}", outer.port));
    let url = Url::parse(&outer.url("/mcp")).unwrap();
    let error = McpConnection::open(&outbound, &url, Some("s3cret".into())).await.err().unwrap();
    assert!(matches!(error, McpError::Blocked(_)), "{error}");
    assert!(outer.asked.lock().unwrap().concat().contains("Bearer s3cret"));
    assert!(inner.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    let began = Instant::now();
    let flood = [b"data: ".as_slice(), &b"x".repeat(5 << 20)].concat();
    let (error, _) = refusal("200 OK", "content-type: text/event-stream\r\n", &flood).await;
    assert!(matches!(error, McpError::Transport), "{error}");
    let (error, _) = refusal("200 OK", "content-type: application/json\r\n", &flood).await;
    assert!(matches!(error, McpError::Transport), "{error}");
    assert!(began.elapsed() < Duration::from_secs(20));
}
