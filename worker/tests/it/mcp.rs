//! Tokens that users have stored for MCP servers: whom they are sent to, and when.

use std::sync::{Arc, Mutex};

use copilot_shared::id::{SessionId, ToolCallId, TurnId, UserId};
use copilot_shared::message::ToolOutcome;
use copilot_shared::secret::SecretsKey;
use copilot_shared::store::McpServer;
use copilot_shared::testing::Services;
use copilot_shared::turn::Attempt;
use copilot_worker::docs::Docs;
use copilot_worker::outbound::Outbound;
use copilot_worker::sandbox::Sandbox;
use copilot_worker::tools::{Outlet, Resources, ToolContext, Toolbox};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// A server that lets nobody in, and remembers what it was asked.
async fn closed_server() -> (String, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(String::new()));
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = vec![0; 16_384];
            let read = socket.read(&mut request).await.unwrap();
            log.lock().unwrap().push_str(&String::from_utf8_lossy(&request[..read]));
            let refusal = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            socket.write_all(refusal).await.unwrap();
        }
    });
    (url, asked)
}

async fn list_tools(services: &Services, user: &UserId, url: &str) -> Value {
    crate::provider::tls();
    let context = ToolContext {
        turn_id: TurnId::generate(),
        attempt: Attempt(1),
        session_id: SessionId::random(),
        user_id: Some(user.clone()),
        call_id: ToolCallId::generate(),
        stop: CancellationToken::new(),
        resources: Resources {
            store: services.store(),
            workspaces: services.workspaces(1 << 20),
            outbound: Outbound::new("127.0.0.0/8".parse().unwrap()).unwrap(),
            sandbox: Arc::new(Sandbox::new(&std::env::temp_dir(), 1 << 20).unwrap()),
            cloud: None,
            secrets_key: Some(KEY.parse().unwrap()),
            docs: Arc::new(Docs::open(None, None).unwrap()),
            linear: None,
        },
        outlet: Outlet::channel().0,
    };
    let end = Toolbox::built_in().unwrap().call("run_mcp_tool", context.clone(), json!({"server_url": url})).await;
    let ToolOutcome::Output(Value::String(text)) = end.outcome(&context).await else { panic!("it answers") };
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn a_stored_token_is_sent_to_its_server_for_its_user() {
    let services = Services::isolated().await;
    let store = services.store();
    let (url, asked) = closed_server().await;
    let [ann, ben] = ["ann", "ben"].map(|id| UserId::parse(id).unwrap());
    let key: SecretsKey = KEY.parse().unwrap();
    let server = McpServer::of(&url);
    let sealed = key.seal("t0ken", &server.place(&ann)).unwrap();
    store.save_mcp_token(&ann, &server, &sealed, None).await.unwrap();

    let refused = list_tools(&services, &ann, &format!("{url}/")).await;
    assert_eq!(refused["error"], "mcp_http_error", "who has a token is not asked to get one: {refused}");
    assert!(refused["message"].as_str().unwrap().starts_with("HTTP 401: "));
    assert!(asked.lock().unwrap().contains("authorization: Bearer t0ken"));

    asked.lock().unwrap().clear();
    assert_eq!(list_tools(&services, &ben, &url).await["type"], "setup_requirements");
    // A row that was copied from another user opens nothing.
    store.save_mcp_token(&ben, &server, &sealed, None).await.unwrap();
    assert_eq!(list_tools(&services, &ben, &url).await["type"], "setup_requirements");
    assert!(!asked.lock().unwrap().contains("t0ken"));
    store.close().await;
}
