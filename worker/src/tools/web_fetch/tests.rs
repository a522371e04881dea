//! The tool as a whole, against servers of its own.

use std::io::Write;
use std::time::Instant;

use copilot_shared::message::ToolOutcome;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::{Toolbox, tests};
use super::*;
use crate::outbound::tests::{Server, outbound, reply};

async fn fetch_with(arguments: Value) -> Value {
    let toolbox = Toolbox::default().with(WebFetch).unwrap();
    let mut context = tests::context(None);
    context.resources.outbound = outbound("127.0.0.0/8");
    let end = toolbox.call("web_fetch", context.clone(), arguments).await;
    let ToolOutcome::Output(Value::String(text)) = end.outcome(&context).await else { panic!("it answers") };
    serde_json::from_str(&text).unwrap()
}

async fn fetch(url: &str) -> Value {
    fetch_with(json!({"url": url})).await
}

/// What a server that always answers the same is fetched as.
async fn fetched(status: &str, headers: &str, body: &[u8]) -> Value {
    let answer = reply(status, headers, body);
    fetch(&Server::start(move |_| answer.clone()).await.url("/page")).await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_page_becomes_markdown_or_stays_as_it_is() {
    let server = Server::start(|_| {
        reply("200 OK", "content-type: text/html; charset=ISO-8859-1\r\n", b"<h1>Caf\xe9</h1><a href='/menu'>menu</a>")
    })
    .await;
    let page = fetch(&server.url("/page")).await;
    assert_eq!((&page["type"], &page["status_code"]), (&json!("web_fetch"), &json!(200)));
    assert_eq!(page["content"], format!("# Café\n\n[menu]({})", server.url("/menu")));
    assert_eq!((&page["content_type"], &page["truncated"]), (&json!("text/html"), &json!(false)));
    assert_eq!(page["url"], server.url("/page"));
    let raw = fetch_with(json!({"url": server.url("/page"), "extract_text": false})).await;
    assert_eq!(raw["content"], "<h1>Café</h1><a href='/menu'>menu</a>");
}

#[tokio::test]
async fn an_error_status_is_an_answer() {
    let page = fetched("404 Not Found", "content-type: text/plain\r\n", b"no such page").await;
    assert_eq!(
        (&page["type"], &page["status_code"], &page["content"]),
        (&json!("web_fetch"), &json!(404), &json!("no such page"))
    );
}

#[tokio::test]
async fn what_is_not_text_is_refused() {
    for kind in ["image/png", "application/pdf", "application/octet-stream"] {
        let refusal = fetched("200 OK", &format!("content-type: {kind}\r\n"), b"\x89PNG\0").await;
        assert_eq!((&refusal["type"], &refusal["error"]), (&json!("error"), &json!("unsupported_content_type")));
    }
    assert_eq!(fetched("200 OK", "", b"\x7fELF\0").await["error"], "unsupported_content_type");
    assert_eq!(fetched("200 OK", "", b"plain").await["content"], "plain");
}

#[tokio::test]
async fn a_page_is_cut_at_the_limit_and_says_so() {
    let headers = "content-type: text/plain\r\n";
    let exact = fetched("200 OK", headers, &b"x".repeat(90_000)).await;
    assert_eq!((exact["content"].as_str().unwrap().len(), &exact["truncated"]), (90_000, &json!(false)));
    let server =
        Server::start(|_| reply("200 OK", "content-type: text/html\r\n", &b"<p>0123456789".repeat(20_000))).await;
    let cut = fetch(&server.url("/")).await;
    assert_eq!(cut["truncated"], true);
    assert!(cut["message"].as_str().unwrap().contains("cut"));
}

#[tokio::test]
async fn compressed_pages_are_read_and_bombs_are_not() {
    let headers = "content-type: text/plain\r\ncontent-encoding: gzip\r\n";
    assert_eq!(fetched("200 OK", headers, &gzip(b"hello")).await["content"], "hello");
    let bomb = gzip(&vec![b' '; 200 << 20]);
    assert!(bomb.len() < 300_000);
    let began = Instant::now();
    let html = "content-type: text/html\r\ncontent-encoding: gzip\r\n";
    assert_eq!(fetched("200 OK", html, &bomb).await["truncated"], true);
    assert!(began.elapsed().as_secs() < 5, "only its beginning was unpacked");
    let twice = fetched("200 OK", "content-type: text/plain\r\ncontent-encoding: gzip, gzip\r\n", &gzip(b"x")).await;
    assert_eq!(twice["error"], "fetch_failed");
    assert_eq!(fetched("200 OK", headers, b"no gzip").await["error"], "fetch_failed");
}

#[tokio::test]
async fn wrong_and_inner_addresses_are_refused() {
    assert_eq!(fetch("").await["error"], "missing_url");
    assert_eq!(fetch(" ").await["error"], "missing_url");
    for url in ["ftp://example.org", "http://169.254.169.254/", "http://u:p@example.org/", "http://[::1]/"] {
        assert_eq!(fetch(url).await["error"], "url_blocked", "{url}");
    }
    let elsewhere = Server::start(|_| reply("302 Found", "location: http://10.0.0.1/\r\n", b"")).await;
    assert_eq!(fetch(&elsewhere.url("/")).await["error"], "url_blocked");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_answer() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    assert_eq!(fetch(&format!("http://127.0.0.1:{port}/")).await["error"], "fetch_failed");
}

/// Says `first` to whoever comes, then a byte now and then, for ever.
async fn drip(first: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        assert!(socket.read(&mut request).await.unwrap() > 0);
        socket.write_all(first.as_bytes()).await.unwrap();
        while socket.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
    });
    url
}

#[tokio::test]
async fn a_server_that_drips_is_given_up_on() {
    let (headers, body) = tokio::join!(async { fetch(&drip("HTTP/1.1 200 OK\r\nx-").await).await }, async {
        fetch(&drip("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nbegin ").await).await
    },);
    assert_eq!(headers["error"], "fetch_failed");
    assert_eq!(body["truncated"], true, "what came is better than nothing: {body}");
    assert!(body["content"].as_str().unwrap().starts_with("begin xx"));
}
