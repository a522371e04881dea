//! One trace from the client's request over the queue to the worker's model call.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use copilot_shared::testing::eventually;
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::system::System;

/// What a collector of traces was sent, body by body.
type Received = Arc<Mutex<Vec<Vec<u8>>>>;

async fn collector() -> (String, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let received = Received::default();
    let bodies = Arc::clone(&received);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(take(connection, Arc::clone(&bodies)));
        }
    });
    (format!("http://{address}/"), received)
}

async fn take(mut connection: TcpStream, bodies: Received) {
    let mut bytes = Vec::new();
    while let Ok(1..) = connection.read_buf(&mut bytes).await {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        assert!(head.starts_with("post /v1/traces "), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let whole = end + 4 + length.parse::<usize>().unwrap();
        if bytes.len() < whole {
            continue;
        }
        bodies.lock().unwrap().push(bytes.drain(..whole).skip(end + 4).collect());
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    }
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn a_request_and_its_turn_are_one_trace() {
    let (endpoint, received) = collector().await;
    let system = System::start_with(1, 1, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let trace = uuid::Uuid::new_v4();
    let submit = ann.request(Method::POST, &format!("/sessions/{session}/messages"));
    let submit = submit.header("traceparent", format!("00-{}-00f067aa0ba902b7-01", trace.simple()));
    assert!(submit.json(&json!({"message": "demo:tokens=2"})).send().await.unwrap().status().is_success());

    for (service, span) in [("copilot-api", "request"), ("copilot-worker", "model_call")] {
        eventually(&format!("{service} sends its {span}"), Duration::from_secs(20), || async {
            let bodies = received.lock().unwrap();
            let sent = |body: &Vec<u8>| {
                contains(body, service.as_bytes())
                    && contains(body, span.as_bytes())
                    && contains(body, trace.as_bytes())
            };
            bodies.iter().any(sent).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_collector_that_is_away_harms_nothing() {
    let system = System::start_with(1, 1, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")]).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    assert!(ann.send(&session, "demo:tokens=2").await.rest().await.done);
    for process in system.apis.into_iter().map(|(api, _)| api).chain(system.workers) {
        assert!(process.terminate().await, "it ends cleanly");
    }
}
