//! What the way out refuses, and what it does with what comes back.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Mutex;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A way out with exceptions.
pub(crate) fn outbound(allow: &str) -> Outbound {
    with_answers(allow, Vec::new())
}

fn with_answers(allow: &str, answers: Vec<Vec<IpAddr>>) -> Outbound {
    // Every test calls this; the first one sets the provider.
    let _set_before = rustls::crypto::ring::default_provider().install_default();
    Outbound::with_lookup(allow.parse().unwrap(), Arc::new(Script(Mutex::new(answers.into())))).unwrap()
}

/// Names stand for what comes next; then for this machine.
struct Script(Mutex<VecDeque<Vec<IpAddr>>>);

impl Lookup for Script {
    fn lookup(&self, _: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        let next = self.0.lock().unwrap().pop_front();
        async move { Ok(next.unwrap_or_else(|| vec![[127, 0, 0, 1].into()])) }.boxed()
    }
}

/// A server on a free port that answers each request as told, and says what it was asked.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) async fn start(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start_at([127, 0, 0, 1], answer).await
    }

    pub(crate) async fn start_at(address: [u8; 4], answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((IpAddr::from(address), 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                tokio::spawn(async move {
                    let mut buffer = vec![0; 65_536];
                    let read = socket.read(&mut buffer).await.unwrap_or_default();
                    let request = String::from_utf8_lossy(&buffer[..read]).into_owned();
                    log.lock().unwrap().push(request.clone());
                    let reply = answer(&request);
                    // A client that has had enough goes away.
                    let _gone = socket.write_all(&reply).await;
                });
            }
        });
        Self { port, asked }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

/// An answer with a body.
pub(crate) fn reply(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut reply =
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n", body.len())
            .into_bytes();
    reply.extend_from_slice(body);
    reply
}

fn moved(to: &str) -> Vec<u8> {
    reply("302 Found", &format!("location: {to}\r\n"), b"")
}

async fn get(outbound: &Outbound, url: &str) -> Result<Response, OutboundError> {
    let url = outbound.address(url).map_err(OutboundError::Blocked)?;
    outbound.send(Request::get(url)).await
}

fn is_blocked<T>(result: &Result<T, OutboundError>) -> bool {
    matches!(result, Err(OutboundError::Blocked(_)))
}

#[test]
fn wrong_addresses_are_refused_on_their_face() {
    let outbound = outbound("");
    for (url, reason) in [
        ("", "not a valid URL"),
        ("example.org", "not a valid URL"),
        ("http://", "not a valid URL"),
        ("http://exa mple.org", "not a valid URL"),
        ("http://1.2.3.4.5/", "not a valid URL"),
        ("ftp://example.org/", "Only http"),
        ("file:///etc/passwd", "Only http"),
        ("gopher://127.0.0.1:6379/_x", "Only http"),
        ("data:text/plain,x", "Only http"),
        ("javascript:alert(1)", "Only http"),
        ("http://user@example.org/", "user name"),
        ("http://user:password@example.org/", "user name"),
        ("http://example.org@127.0.0.1/", "user name"),
        ("http://127.0.0.1/", "public internet"),
        ("http://127.0.0.1./", "public internet"),
        ("http://127.1/", "public internet"),
        ("http://2130706433/", "public internet"),
        ("http://0x7f000001/", "public internet"),
        ("http://0x7f.0.0.1/", "public internet"),
        ("http://017700000001/", "public internet"),
        ("http://0177.0.0.1/", "public internet"),
        ("http://①②⑦.⓪.⓪.①/", "public internet"),
        ("http://127。0。0。1/", "public internet"),
        ("http://%31%32%37.0.0.1/", "public internet"),
        ("http:\\\\127.0.0.1\\", "public internet"),
        ("http://0/", "public internet"),
        ("http://169.254.169.254/latest/meta-data/", "public internet"),
        ("https://10.0.0.1:8443/", "public internet"),
        ("http://[::1]/", "public internet"),
        ("http://[::]/", "public internet"),
        ("http://[::ffff:127.0.0.1]/", "public internet"),
        ("http://[::ffff:7f00:1]/", "public internet"),
        ("http://[64:ff9b::7f00:1]/", "public internet"),
        ("http://[2002:7f00:1::]/", "public internet"),
        ("http://[fd00:ec2::254]/", "public internet"),
        ("http://[fe80::1]/", "public internet"),
        ("http://[fe80::1%25eth0]/", "not a valid URL"),
    ] {
        let refusal = outbound.address(url).unwrap_err().to_string();
        assert!(refusal.contains(reason), "{url}: {refusal}");
    }
    for url in
        ["https://example.org/", "HTTP://EXAMPLE.ORG:8080/a?b#c", "http://93.184.215.14/", "https://bücher.example/"]
    {
        assert!(outbound.address(url).is_ok(), "{url}");
    }
    assert_eq!(outbound.address(" https://bücher.example ").unwrap().as_str(), "https://xn--bcher-kva.example/");
}

#[tokio::test]
async fn a_name_that_stands_for_an_inner_address_is_refused() {
    let server = Server::start(|_| reply("200 OK", "", b"secret")).await;
    let url = format!("http://innocent.example:{}/", server.port);
    assert!(is_blocked(&get(&outbound(""), &url).await));
    // One inner address among public ones is enough, wherever it stands.
    for order in [["93.184.215.14", "127.0.0.1"], ["::1", "93.184.215.14"]] {
        let answers = vec![order.iter().map(|address| address.parse().unwrap()).collect()];
        assert!(is_blocked(&get(&with_answers("", answers), &url).await));
    }
    assert!(is_blocked(&get(&with_answers("", vec![Vec::new()]), &url).await));
    assert!(server.asked.lock().unwrap().is_empty(), "nothing was sent");
}

#[tokio::test]
async fn the_address_that_was_checked_is_the_one_that_is_asked() {
    let (outer, inner) = (
        Server::start_at([127, 0, 0, 2], |_| reply("200 OK", "", b"outer")).await,
        Server::start_at([127, 0, 0, 1], |_| reply("200 OK", "", b"inner")).await,
    );
    // The name means the allowed address when it is checked, and this machine ever after.
    let outbound = with_answers("127.0.0.2/32", vec![vec![[127, 0, 0, 2].into()]]);
    let answer = get(&outbound, &format!("http://rebinding.example:{}/", outer.port)).await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "outer");
    assert!(is_blocked(&get(&outbound, &format!("http://rebinding.example:{}/", inner.port)).await));
    assert!(inner.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn every_redirect_is_checked_again() {
    let inner = Server::start(|_| reply("200 OK", "", b"secret")).await;
    for target in [inner.url("/"), format!("http://inner.example:{}/", inner.port), "file:///etc/passwd".into()] {
        let outer = Server::start(move |_| moved(&target)).await;
        let outbound = outbound(&format!("127.0.0.1:{}", outer.port));
        assert!(is_blocked(&get(&outbound, &outer.url("/")).await));
    }
    assert!(inner.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn five_redirects_are_followed_and_no_more() {
    let server = Server::start(|request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let left: usize = path.trim_start_matches('/').parse().unwrap();
        if left == 0 { reply("200 OK", "", b"there") } else { moved(&format!("/{}", left - 1)) }
    })
    .await;
    let outbound = outbound("127.0.0.0/8");
    let answer = get(&outbound, &server.url("/5")).await.unwrap();
    assert_eq!((answer.url().path(), answer.status()), ("/0", StatusCode::OK));
    assert!(matches!(get(&outbound, &server.url("/6")).await, Err(OutboundError::TooManyRedirects)));
}

#[tokio::test]
async fn secrets_do_not_go_to_another_origin() {
    let other = Server::start(|_| reply("200 OK", "", b"")).await;
    let target = other.url("/");
    let first = Server::start(move |request| {
        if request.starts_with("GET /here") {
            reply("200 OK", "", b"")
        } else if request.contains(" /same") {
            moved("/here")
        } else {
            moved(&target)
        }
    })
    .await;
    let outbound = outbound("127.0.0.0/8");
    for path in ["/same", "/other"] {
        let mut request = Request::get(outbound.address(&first.url(path)).unwrap());
        for (name, value) in
            [("authorization", "Bearer s3cret"), ("cookie", "s3cret"), ("x-api-key", "s3cret"), ("accept", "a/b")]
        {
            request.headers.insert(name, value.parse().unwrap());
        }
        assert!(outbound.send(request).await.unwrap().status().is_success());
    }
    let here = first.asked.lock().unwrap().iter().find(|asked| asked.starts_with("GET /here")).cloned().unwrap();
    assert!(here.contains("Bearer s3cret"), "{here}");
    let there = other.asked.lock().unwrap().concat();
    assert!(there.contains("a/b") && !there.contains("s3cret"), "{there}");
}

#[test]
fn a_redirected_post_becomes_a_get_unless_told_otherwise() {
    let mut request = Request::get(Url::parse("https://a.example/x").unwrap());
    request.method = Method::POST;
    request.body = Some(Bytes::from_static(b"{}"));
    let mut headers = HeaderMap::new();
    headers.insert(LOCATION, "/y".parse().unwrap());
    let next = |status: u16, headers: &HeaderMap| {
        redirected(&request, StatusCode::from_u16(status).unwrap(), headers).map(Result::unwrap)
    };
    for (status, method) in
        [(301, Method::GET), (302, Method::GET), (303, Method::GET), (307, Method::POST), (308, Method::POST)]
    {
        let next = next(status, &headers).unwrap();
        assert_eq!((next.method.clone(), next.body.is_some()), (method.clone(), method == Method::POST));
        assert_eq!(next.url.as_str(), "https://a.example/y");
    }
    assert!(next(200, &headers).is_none() && next(304, &headers).is_none());
    assert!(next(302, &HeaderMap::new()).is_none(), "without a target it is an answer");
}

#[tokio::test]
async fn requests_go_straight_to_their_server() {
    let server = Server::start(|_| reply("200 OK", "", b"direct")).await;
    assert_eq!(get(&outbound("127.0.0.0/8"), &server.url("/")).await.unwrap().text().await.unwrap(), "direct");
}

#[test]
fn proxies_of_the_environment_are_ignored() {
    // The environment is read when a client is built, so a process of its own has another one.
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "outbound::tests::requests_go_straight_to_their_server"]);
    for variable in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        again.env(variable, "http://127.0.0.1:1");
    }
    let ended = again.env_remove("NO_PROXY").env_remove("no_proxy").output().unwrap();
    let told = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success() && told.contains("1 passed"), "{told}");
}
