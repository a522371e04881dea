//! Tokens for MCP servers: one a user and server, until it expires.

use chrono::{Duration, Utc};
use copilot_shared::id::UserId;
use copilot_shared::store::McpServer;
use copilot_shared::testing::Services;

#[tokio::test]
async fn a_token_is_its_users_for_its_server_until_it_expires() {
    let services = Services::isolated().await;
    let store = services.store();
    let [ann, ben] = ["ann", "ben"].map(|id| UserId::parse(id).unwrap());
    let server = McpServer::of(" https://mcp.example.org/mcp// ");
    assert_eq!(server, McpServer::of("https://mcp.example.org/mcp"));
    assert_eq!(store.mcp_token(&ann, &server).await.unwrap(), None);

    store.save_mcp_token(&ann, &server, b"one", None).await.unwrap();
    store.save_mcp_token(&ann, &server, b"two", Some(Utc::now() + Duration::hours(1))).await.unwrap();
    assert_eq!(store.mcp_token(&ann, &server).await.unwrap().as_deref(), Some(b"two".as_slice()));
    assert_eq!(store.mcp_token(&ben, &server).await.unwrap(), None);
    assert_eq!(store.mcp_token(&ann, &McpServer::of("https://mcp.example.org")).await.unwrap(), None);

    store.save_mcp_token(&ann, &server, b"old", Some(Utc::now() - Duration::seconds(1))).await.unwrap();
    assert_eq!(store.mcp_token(&ann, &server).await.unwrap(), None);
    assert!(store.delete_mcp_token(&ann, &server).await.unwrap());
    assert!(!store.delete_mcp_token(&ann, &server).await.unwrap());
    store.close().await;
}
