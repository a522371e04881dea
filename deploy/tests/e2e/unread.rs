//! Clients that open a stream and then read nothing.

use std::net::SocketAddr;
use std::time::Duration;

use copilot_shared::testing::eventually;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::client::token;
use crate::system::{System, http};

/// Sends a message over a socket that can hold little, and never reads the answer.
async fn ignore_the_answer(api: SocketAddr, session: &str, message: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut connection = socket.connect(api).await.unwrap();
    let body = json!({"message": message}).to_string();
    let head = format!(
        "POST /api/chat/sessions/{session}/stream HTTP/1.1\r\nhost: {api}\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        token("ann"),
        body.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection
}

async fn open_streams(ops: SocketAddr) -> Option<f64> {
    let text = http().get(format!("http://{ops}/metrics")).send().await.ok()?.text().await.ok()?;
    text.lines().find_map(|line| line.strip_prefix("copilot_open_streams ")?.parse().ok())
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_and_its_turn_goes_on() {
    let system = System::start_with(1, 1, &[("API_UNREAD_SECONDS", "1")]).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let (api, listen) = &system.apis[0];
    let silent = ignore_the_answer(*listen, &session, "demo:tokens=6000,bytes=1000").await;
    eventually("the stream is open", Duration::from_secs(10), || async {
        (open_streams(api.ops).await == Some(1.0)).then_some(())
    })
    .await;
    eventually("the stream is cut", Duration::from_secs(20), || async {
        (open_streams(api.ops).await == Some(0.0)).then_some(())
    })
    .await;
    eventually("the turn ends all the same", Duration::from_mins(1), || async {
        let turns = ann.get(&format!("/sessions/{session}/turns")).await;
        (turns["turns"][0]["status"] == "completed").then_some(())
    })
    .await;
    drop(silent);
}
