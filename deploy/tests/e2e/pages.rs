//! `web_fetch` in real turns: one that may be made again, and is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use copilot_shared::chunk::Chunk;
use copilot_shared::testing::eventually;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::system::{Process, System};

const PAGE: &str = "<title>A page</title><p>Hello, <a href='/there'>world</a>.";

/// A server that keeps the first `silent` requests waiting for ever. Returns its address, and how
/// often it was asked.
async fn site(silent: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let read = socket.read(&mut request).await.unwrap();
                if read > 0 && counter.fetch_add(1, Ordering::SeqCst) < silent {
                    std::future::pending::<()>().await;
                }
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n";
                socket.write_all(format!("{head}{PAGE}").as_bytes()).await.unwrap();
            });
        }
    });
    (address, asked)
}

fn page(chunks: &[Chunk]) -> Value {
    let output = chunks.iter().find_map(|chunk| match chunk {
        Chunk::ToolOutputAvailable { output: Value::String(text), .. } => Some(text),
        _ => None,
    });
    serde_json::from_str(output.expect("the tool answers")).unwrap()
}

#[tokio::test]
async fn a_page_is_fetched_when_asked_for_in_plain_words() {
    let (address, asked) = site(0).await;
    let system = System::start_with(1, 1, &[("OUTBOUND_ALLOW", &address)]).await;
    let ann = system.client(0, "ann");
    let answer = ann.send(&ann.session().await, &format!("Fetch http://{address}/here")).await.rest().await;
    let page = page(&answer.chunks());
    assert_eq!(page["content"], format!("# A page\n\nHello, [world](http://{address}/there)."));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn nothing_inside_is_fetched_unless_it_is_allowed() {
    let (address, asked) = site(0).await;
    let system = System::start_with(1, 1, &[]).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    for target in [format!("http://{address}/"), format!("http://{}/", address.replace("127.0.0.1", "localhost"))] {
        let answer = ann.send(&session, &format!("Fetch {target}")).await.rest().await;
        assert_eq!(page(&answer.chunks())["error"], "url_blocked", "{target}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_page_whose_worker_dies_is_fetched_again() {
    let (address, asked) = site(1).await;
    let environment = [("OUTBOUND_ALLOW", address.as_str())];
    let mut system = System::start_with(1, 1, &environment).await;
    let ann = system.client(0, "ann");
    let stream = ann.send(&ann.session().await, &format!("Fetch http://{address}/here")).await;
    let is_asked = || async { (asked.load(Ordering::SeqCst) == 1).then_some(()) };
    eventually("the page is asked for", Duration::from_secs(10), is_asked).await;
    let started = "SELECT count(*) FROM tool_calls WHERE status = 'started'";
    assert_eq!(system.services.count(started).await, 1, "it is in the ledger before it has any effect");
    system.workers[0].kill().await;
    system.workers[0] = Process::worker(&system.services, &environment).await;
    let chunks = stream.rest().await.chunks();
    assert_eq!(page(&chunks)["status_code"], 200);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert!(matches!(chunks.last(), Some(Chunk::Finish { .. })));
}
