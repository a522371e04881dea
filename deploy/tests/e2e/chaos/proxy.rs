//! A TCP proxy before a server, which a test can break and mend: no tool of the server is needed.

use std::time::Duration;

use copilot_shared::stream::{StreamSettings, Streams};
use copilot_shared::testing::{Services, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the network between the processes and a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// It works.
    Pass,
    /// Connections are cut as soon as they are made.
    Refuse,
    /// Connections stay open and no byte passes.
    Stall,
}

#[derive(Debug, Clone, Copy)]
struct State {
    mode: Mode,
    /// Raised by each cut: a connection that was made before it ends.
    cuts: u64,
}

/// The network before one server.
#[derive(Debug)]
pub struct ChaosProxy {
    state: watch::Sender<State>,
}

impl ChaosProxy {
    /// Stands before the server of a URL. Returns the proxy and the URL through it.
    pub async fn before(url: &str, default_port: u16) -> (Self, String) {
        let (head, host, tail) = split(url);
        let upstream = if host.contains(':') { host.to_owned() } else { format!("{host}:{default_port}") };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (state, _) = watch::channel(State { mode: Mode::Pass, cuts: 0 });
        tokio::spawn(accept(listener, upstream, state.subscribe()));
        (Self { state }, format!("{head}{address}{tail}"))
    }

    /// Cuts every connection once; new ones pass.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// The server is gone for so long.
    pub async fn outage(&self, lasts: Duration) {
        self.break_for(Mode::Refuse, lasts).await;
    }

    /// The server is silent for so long; with `cut`, what was silent breaks off in the end.
    pub async fn stall(&self, lasts: Duration, cut: bool) {
        self.break_for(Mode::Stall, lasts).await;
        if cut {
            self.cut();
        }
    }

    async fn break_for(&self, mode: Mode, lasts: Duration) {
        self.state.send_modify(|state| state.mode = mode);
        tokio::time::sleep(lasts).await;
        self.state.send_modify(|state| state.mode = Mode::Pass);
    }
}

/// What stands before host and port, they themselves, and what follows.
fn split(url: &str) -> (&str, &str, &str) {
    let authority = url.find("://").expect("a URL has a scheme") + 3;
    let end = url[authority..].find('/').map_or(url.len(), |at| authority + at);
    let host = url[authority..end].rfind('@').map_or(authority, |at| authority + at + 1);
    (&url[..host], &url[host..end], &url[end..])
}

async fn accept(listener: TcpListener, upstream: String, state: watch::Receiver<State>) {
    while let Ok((client, _)) = listener.accept().await {
        let (upstream, state) = (upstream.clone(), state.clone());
        tokio::spawn(async move {
            // A connection that cannot be made is cut, which is all that the client needs to know.
            if state.borrow().mode != Mode::Refuse
                && let Ok(server) = TcpStream::connect(upstream).await
            {
                join(client, server, state).await;
            }
        });
    }
}

/// Carries bytes both ways until one side ends or the connection is cut; then both are closed.
async fn join(client: TcpStream, server: TcpStream, mut state: watch::Receiver<State>) {
    let nodelay = client.set_nodelay(true).and(server.set_nodelay(true));
    debug_assert!(nodelay.is_ok(), "a connected socket takes options");
    let made = state.borrow().cuts;
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = carry(from_client, to_server, state.clone()) => {}
        () = carry(from_server, to_client, state.clone()) => {}
        _ended = state.wait_for(|state| state.cuts != made || state.mode == Mode::Refuse) => {}
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if state.wait_for(|state| state.mode != Mode::Stall).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

#[test]
fn the_address_in_a_url_is_found() {
    assert_eq!(split("redis://:p@h:1/0"), ("redis://:p@", "h:1", "/0"));
    assert_eq!(split("amqp://guest:guest@h/%2f"), ("amqp://guest:guest@", "h", "/%2f"));
    assert_eq!(split("postgres://h:5432/db"), ("postgres://", "h:5432", "/db"));
}

#[tokio::test]
async fn what_starts_while_redis_is_away_works_once_it_is_back() {
    let services = Services::isolated().await;
    let (proxy, url) = ChaosProxy::before(&services.redis_url, 6379).await;
    let settings =
        StreamSettings { url, prefix: services.redis_prefix.clone(), ttl: Duration::from_mins(1), connections: 2 };
    let ping = async {
        let streams = Streams::connect(settings).expect("REDIS_URL is an address");
        eventually("Redis answers", Duration::from_secs(10), || async { streams.ping().await.ok() }).await;
    };
    tokio::join!(biased; proxy.outage(Duration::from_secs(1)), ping);
}
