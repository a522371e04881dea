//! The relay on a way to Redis that a test can hold and cut: nothing is missed; who is too slow is
//! cut off, and who waits hears a heartbeat.

use std::sync::Arc;
use std::time::Duration;

use copilot_api::relay::{Frames, Relay, Start};
use copilot_api::sse::held_open;
use copilot_shared::chunk::Chunk;
use copilot_shared::id::{PartId, TurnId};
use copilot_shared::stream::{StreamSettings, Streams};
use copilot_shared::turn::{FinishReason, Turn};
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::harness::{Api, PATIENCE};

/// What the network between the relay and Redis does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// It works.
    Passes,
    /// Subscriptions are kept on their way.
    Holds,
    /// There is none.
    Refuses,
}

/// The network between a relay and Redis.
struct Way {
    mode: watch::Sender<Mode>,
    /// Subscriptions that are kept on their way.
    held: watch::Sender<usize>,
    /// Connections that go through it.
    open: Arc<watch::Sender<usize>>,
}

impl Way {
    /// The network, and the streams at its other end.
    async fn to_redis(api: &Api) -> (Arc<Self>, Streams) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = api.services.redis_url_by(&listener.local_addr().unwrap().to_string());
        let way = Arc::new(Self {
            mode: watch::Sender::new(Mode::Passes),
            held: watch::Sender::new(0),
            open: Arc::new(watch::Sender::new(0)),
        });
        tokio::spawn(Arc::clone(&way).accept(listener, api.services.redis_address().to_owned()));
        let prefix = api.services.redis_prefix.clone();
        let streams = Streams::connect(StreamSettings { url, prefix, ttl: Duration::from_mins(1), connections: 2 });
        (way, streams.unwrap())
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, target: String) {
        while let Ok((client, _)) = listener.accept().await {
            let (way, target) = (Arc::clone(&self), target.clone());
            tokio::spawn(async move {
                if *way.mode.borrow() != Mode::Refuses {
                    way.open.send_modify(|open| *open += 1);
                    way.join(client, TcpStream::connect(target).await.unwrap()).await;
                    way.open.send_modify(|open| *open -= 1);
                }
            });
        }
    }

    async fn join(&self, client: TcpStream, server: TcpStream) {
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        let mut mode = self.mode.subscribe();
        tokio::select! {
            () = self.carry(from_client, to_server) => {}
            () = self.carry(from_server, to_client) => {}
            _refused = mode.wait_for(|mode| *mode == Mode::Refuses) => {}
        }
    }

    async fn carry(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let bytes = &buffer[..count];
            if *self.mode.borrow() == Mode::Holds && bytes.windows(9).any(|word| word == b"SUBSCRIBE") {
                self.held.send_modify(|held| *held += 1);
                self.mode.subscribe().wait_for(|mode| *mode != Mode::Holds).await.unwrap();
            }
            if to.write_all(bytes).await.is_err() {
                return;
            }
        }
    }

    async fn cut(&self) {
        self.mode.send_replace(Mode::Refuses);
        self.open.subscribe().wait_for(|open| *open == 0).await.unwrap();
        self.mode.send_replace(Mode::Passes);
    }
}

fn opening(turn: TurnId) -> Vec<Chunk> {
    vec![Chunk::Start { message_id: turn }, Chunk::StartStep, Chunk::TextStart { id: PartId::nth(1) }]
}

fn text(bytes: usize) -> Vec<Chunk> {
    vec![Chunk::TextDelta { id: PartId::nth(1), delta: "x".repeat(bytes) }]
}

fn ending() -> Vec<Chunk> {
    let end = Chunk::Finish { finish_reason: Some(FinishReason::Stop) };
    vec![Chunk::TextEnd { id: PartId::nth(1) }, Chunk::FinishStep, end]
}

/// A running turn that has said nothing yet. Its row stays as it is, so that no look at it helps.
async fn running(api: &Api) -> Turn {
    let session = api.session("u1").await;
    let turn = api.submit(&session, "u1", "hi").await;
    api.claim(turn).await
}

/// What a viewer gets until its turn ends, which comes by itself and not by the rare look at a silent row.
async fn whole(mut frames: Frames) -> String {
    let mut all = String::new();
    let read = async {
        while let Some(next) = frames.next().await {
            all.push_str(std::str::from_utf8(&next.unwrap()).unwrap());
        }
    };
    timeout(PATIENCE, read).await.expect("the turn ends");
    assert!(all.ends_with("data: [DONE]\n\n"), "{all}");
    all
}

#[tokio::test]
async fn what_is_published_while_the_subscription_is_on_its_way_is_not_missed() {
    let api = Api::start().await;
    let turn = running(&api).await;
    let (way, streams) = Way::to_redis(&api).await;
    let relay = Relay::new(streams, api.store.clone(), api.stop.clone()).unwrap();
    relay.connected().wait_for(|connected| *connected).await.unwrap();
    way.mode.send_replace(Mode::Holds);
    let viewer = tokio::spawn(whole(relay.follow(turn.id, Start::Everything)));
    way.held.subscribe().wait_for(|held| *held > 0).await.unwrap();
    // A viewer that did not wait for the server's answer would have read the empty stream by now.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let last = api.append(&turn, 0, opening(turn.id)).await;
    api.append(&turn, last, ending()).await;
    way.mode.send_replace(Mode::Passes);
    assert!(viewer.await.unwrap().contains("\"start\""));
}

#[tokio::test]
async fn a_viewer_goes_on_after_the_subscription_connection_was_lost() {
    let api = Api::start().await;
    let turn = running(&api).await;
    let (way, streams) = Way::to_redis(&api).await;
    let relay = Relay::new(streams, api.store.clone(), api.stop.clone()).unwrap();
    let mut viewer = relay.follow(turn.id, Start::Everything);
    let last = api.append(&turn, 0, opening(turn.id)).await;
    let _opening = viewer.next().await.unwrap().unwrap();
    let _first = viewer.next().await.unwrap().unwrap();
    way.cut().await;
    api.append(&turn, last, ending()).await;
    assert!(whole(viewer).await.contains("\"finish\""));
}

#[tokio::test]
async fn a_viewer_that_the_ring_outran_is_cut_off_and_holds_up_nobody() {
    let api = Api::start().await;
    let turn = running(&api).await;
    let relay = Relay::new(api.streams.clone(), api.store.clone(), api.stop.clone()).unwrap();
    // Else it subscribes twice, and viewers read again what is stored.
    relay.connected().wait_for(|connected| *connected).await.unwrap();
    let mut last = api.append(&turn, 0, opening(turn.id)).await;
    let mut slow = relay.follow(turn.id, Start::Everything);
    let mut quick = relay.follow(turn.id, Start::Everything);
    for viewer in [&mut slow, &mut quick] {
        let _opening = viewer.next().await.unwrap().unwrap();
        let _first = viewer.next().await.unwrap().unwrap();
    }
    for _ in 0..40 {
        last = api.append(&turn, last, text(32 << 10)).await;
        assert!(quick.next().await.unwrap().unwrap().len() > 32 << 10);
    }
    api.append(&turn, last, ending()).await;
    whole(quick).await;
    assert!(slow.next().await.unwrap().is_err(), "it comes back with its cursor, and reads what is stored");
    assert!(slow.next().await.is_none());
}

/// How long a stream was silent before it gave a heartbeat.
async fn silence_of(mut frames: Frames) -> Duration {
    let opening = frames.next().await.unwrap().unwrap();
    assert!(opening.starts_with(b"retry: "));
    let mut spoke_at = Instant::now();
    loop {
        let next = timeout(PATIENCE, frames.next()).await.expect("something comes").unwrap().unwrap();
        if next.starts_with(b": heartbeat") {
            return spoke_at.elapsed();
        }
        spoke_at = Instant::now();
    }
}

#[tokio::test]
async fn a_heartbeat_comes_after_ten_seconds_of_silence_at_most() {
    let api = Api::start().await;
    let turn = running(&api).await;
    let session = api.session("u1").await;
    api.submit(&session, "u1", "first").await;
    let waiting = api.submit(&session, "u1", "second").await;
    api.append(&turn, 0, opening(turn.id)).await;
    let relay = Relay::new(api.streams.clone(), api.store.clone(), api.stop.clone()).unwrap();
    let (of_running, of_waiting, of_held) = tokio::join!(
        silence_of(relay.follow(turn.id, Start::Everything)),
        silence_of(relay.follow(waiting, Start::Everything)),
        silence_of(held_open(std::future::pending(), CancellationToken::new())),
    );
    for silence in [of_running, of_waiting, of_held] {
        // Two seconds are the test's own, on a machine that does other things.
        assert!(silence < Duration::from_secs(12), "{silence:?}");
    }
}
