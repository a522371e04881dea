//! A model provider of the OpenAI kind on a local port: says one word, reports fixed usage, and takes no
//! pictures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The provider. It lives as long as the test's runtime.
pub struct Provider {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
}

impl Provider {
    /// Reports `usage` for each call.
    pub async fn reporting(usage: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let refused = Arc::new(AtomicUsize::new(0));
        let refusing = Arc::clone(&refused);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (usage, counted, refusing) = (usage.clone(), Arc::clone(&counted), Arc::clone(&refusing));
                tokio::spawn(async move { answer(socket, &usage, &counted, &refusing).await });
            }
        });
        Self { address, calls, refused }
    }

    /// The environment of a worker that is to ask this provider.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("CHAT_MODEL", "one-word".into()),
            ("CHAT_BASE_URL", format!("http://{}/v1", self.address)),
            ("CHAT_API_KEY", "key".into()),
        ]
    }

    /// How often it was shown a picture.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    /// How often it was asked.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

async fn answer(
    mut socket: TcpStream,
    usage: &Value,
    calls: &AtomicUsize,
    refused: &AtomicUsize,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !is_complete(&request) {
        if socket.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    calls.fetch_add(1, Ordering::SeqCst);
    if String::from_utf8_lossy(&request).contains("\"image_url\"") {
        refused.fetch_add(1, Ordering::SeqCst);
        let body = r#"{"error":{"message":"image input is not supported","type":"invalid_request_error"}}"#;
        let head = format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        socket.write_all(head.as_bytes()).await?;
        socket.write_all(body.as_bytes()).await?;
        return socket.shutdown().await;
    }
    let word = json!({"choices": [{"index": 0, "delta": {"content": "Yes"}, "finish_reason": null}]});
    let stop = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
    let told = json!({"choices": [], "usage": usage});
    let body = format!("data: {word}\n\ndata: {stop}\n\ndata: {told}\n\ndata: [DONE]\n\n");
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(body.as_bytes()).await?;
    socket.shutdown().await
}

/// Has all of a request come?
pub fn is_complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    body.len() >= length.unwrap_or(0)
}
