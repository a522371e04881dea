//! LaunchDarkly's own client against a server that speaks its protocol.

use std::time::Duration;

use copilot_shared::flags::Flags;
use copilot_shared::flags::launchdarkly::LaunchDarkly;
use copilot_shared::id::UserId;
use copilot_shared::testing::eventually;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

fn flag(version: u64) -> Value {
    json!({
        "key": "limit", "version": version, "on": true, "salt": "salt", "variations": [version * 10, version * 100, "many"],
        "fallthrough": {"variation": 0}, "offVariation": 0, "rules": [], "prerequisites": [],
        "targets": [{"variation": 1, "values": ["ann"]}, {"variation": 2, "values": ["eve"]}],
    })
}

/// Streams the flag, and each change of it.
async fn stream(mut socket: TcpStream, mut versions: watch::Receiver<u64>) -> std::io::Result<()> {
    let mut request = [0; 4096];
    let read = socket.read(&mut request).await?;
    if !request[..read].starts_with(b"GET /all ") {
        return socket.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    }
    socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n").await?;
    let put = json!({"path": "/", "data": {"flags": {"limit": flag(*versions.borrow_and_update())}, "segments": {}}});
    socket.write_all(format!("event: put\ndata: {put}\n\n").as_bytes()).await?;
    while versions.changed().await.is_ok() {
        let patch = json!({"path": "/flags/limit", "data": flag(*versions.borrow_and_update())});
        socket.write_all(format!("event: patch\ndata: {patch}\n\n").as_bytes()).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_come_from_the_server_follow_its_changes_and_have_no_value_before_it_spoke() {
    let _set_before = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = format!("http://{}", listener.local_addr().unwrap());
    let (change, versions) = watch::channel(1);
    let flags = Flags::of(LaunchDarkly::connect("sdk-key", Some(&relay)).unwrap());
    let tokens = |user: &str| flags.tokens("limit", &UserId::parse(user).unwrap());
    assert_eq!(tokens("ann"), None, "nobody has answered yet");

    let server = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(stream(socket, versions.clone()));
        }
    });
    let until = |user: &'static str, value| {
        let found = move || tokens(user) == value;
        eventually("the flag is known", Duration::from_secs(20), move || std::future::ready(found().then_some(())))
    };
    until("ann", Some(100)).await;
    assert_eq!((tokens("bob"), tokens("eve")), (Some(10), None), "what is no number is no value");
    change.send(2).unwrap();
    until("ann", Some(200)).await;
    server.abort();
    assert_eq!(tokens("bob"), Some(20), "what was heard last holds");
}
