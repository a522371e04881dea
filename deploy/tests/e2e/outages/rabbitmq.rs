//! RabbitMQ dies: turns that run go on, new ones wait, and stops arrive again once it is back.

use std::time::{Duration, Instant};

use super::Scene;
use crate::servers::{Death, Server, Stored};

/// Leases that are renewed so seldom that only the fanout can stop a turn at once.
const LONG_LEASE: &[(&str, &str)] = &[("TURN_LEASE_SECONDS", "60")];

#[tokio::test]
async fn turns_run_on_without_rabbitmq_and_begin_and_stop_once_it_is_back() {
    let Some(scene) = Scene::start(Server::RabbitMq, LONG_LEASE).await else { return };
    for death in [Death::Crash, Death::Stop] {
        outage(&scene, death).await;
    }
    scene.at_rest(0).await;
}

async fn outage(scene: &Scene, death: Death) {
    let Scene { ann, server, .. } = scene;
    let mut running = scene.answering("demo:tokens=40,rate=40,bytes=4 demo:hang").await;
    let mut steady = scene.answering("demo:tokens=100,rate=40,bytes=4").await;
    server.kill(death).await;
    steady.goes_on(20).await;
    scene.system.apis[0].0.down("rabbitmq").await;
    for worker in &scene.system.workers {
        worker.down("intake").await;
        worker.down("cancels").await;
    }
    let session = ann.session().await;
    let mut waiting = ann.send(&session, "demo:tokens=20,bytes=4").await;
    assert_eq!(steady.whole().await.text().len(), 400, "what runs does not need RabbitMQ");
    server.revive(Stored::Kept).await;
    waiting.until("text-delta").await;
    assert!(waiting.comments.iter().any(|comment| comment == "heartbeat"), "its client waited with heartbeats");
    assert!(waiting.rest().await.done);
    scene.all_ready().await;

    running.goes_on(1).await;
    let asked = Instant::now();
    assert_eq!(ann.cancel(&running.session).await["cancelled"], true);
    assert!(asked.elapsed() < Duration::from_secs(2), "the cancel queues are back: {:?}", asked.elapsed());
    running.whole().await;
}
