//! What clients see while a server is away.

use std::time::{Duration, Instant};

use copilot_shared::queue::{Broker, Publisher, Topology};
use copilot_shared::store::{Store, StoreSettings};
use copilot_shared::testing::Services;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Api, Settings, text_of};

/// An address where nobody listens, until [`forward`] does.
async fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

/// Brings a server back: what is sent to the address goes to the server behind `target`.
async fn forward(address: &str, target: String) {
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let target = target.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(target).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
}

fn host_of(url: &str) -> String {
    let (_, rest) = url.rsplit_once('@').or_else(|| url.split_once("://")).unwrap();
    rest.split('/').next().unwrap().to_owned()
}

fn store_at(services: &Services, address: &str) -> Store {
    let url = services.database_url.replace(&host_of(&services.database_url), address);
    let lease = Duration::from_secs(10);
    Store::new(&url, StoreSettings { lease, max_running: 0, max_in_flight: 0, connections: 4 }).unwrap()
}

#[tokio::test]
async fn without_postgresql_a_submit_is_503_and_a_stream_is_held_open_until_it_is_back() {
    let whole = Api::start().await;
    let session = whole.session("u1").await;
    let turn = whole.submit(&session, "u1", "hi").await;
    let running = whole.begin(turn, "hello").await;

    let address = nobody().await;
    let target = host_of(&whole.services.database_url);
    let (store, streams) = (store_at(&whole.services, &address), whole.services.streams());
    let corner = Services::isolated().await;
    let publisher = corner.publisher();
    let api = Api::over(corner, store, streams, publisher, Settings::default());

    let refused = api.post(format!("{session}/messages")).by("u1").json(&json!({"message": "x"})).send().await;
    refused.refused(503, "unavailable");
    assert!(refused.headers.contains_key("retry-after"));
    let health = api.get("/api/chat/health").send().await;
    health.refused(503, "unavailable");
    assert!(health.body["detail"].as_str().unwrap().contains("postgres"), "{health:?}");

    let mut held = api.get(format!("{session}/stream")).by("u1").events().await;
    assert!(held.opening().await.contains(": heartbeat"));
    forward(&address, target).await;
    let first = held.next().await.unwrap().unwrap();
    assert_eq!(first.json()["messageId"], json!(turn));
    whole.complete(&running, "hello").await;
    assert_eq!(text_of(&held.all().await), "hello");
}

#[tokio::test]
async fn without_rabbitmq_the_client_gets_its_stream_at_once_and_the_outbox_keeps_the_turn() {
    let services = Services::isolated().await;
    let address = nobody().await;
    let broker = Broker::new(&format!("amqp://guest:guest@{address}/%2f"), Topology::new("none"), "test");
    let store = services.store();
    let streams = services.streams();
    let api = Api::over(services, store, streams, Publisher::new(broker), Settings::default());
    let session = api.session("u1").await;
    let began = Instant::now();
    let mut stream = api.post(format!("{session}/stream")).by("u1").json(&json!({"message": "hi"})).events().await;
    assert!(stream.opening().await.contains(": heartbeat"));
    assert!(began.elapsed() < Duration::from_secs(2), "the broker must not be waited for");
    assert_eq!(api.services.count("SELECT count(*) FROM outbox").await, 1);
    let health = api.get("/api/chat/health").send().await;
    assert!(health.body["detail"].as_str().unwrap().contains("rabbitmq"), "{health:?}");
}
