//! Redis dies: with what it had stored nothing is lost, and without it no turn is.

use std::time::Duration;

use copilot_shared::chunk::Chunk;
use copilot_shared::testing::eventually;

use super::Scene;
use crate::client::message_of;
use crate::servers::{Death, Server, Stored};

/// With limits, submits are refused while nobody can read the counters (usage.md).
const NO_LIMITS: &[(&str, &str)] = &[("CHAT_DAILY_TOKEN_LIMIT", "0"), ("CHAT_WEEKLY_TOKEN_LIMIT", "0")];

#[tokio::test]
async fn a_redis_that_comes_back_with_what_it_had_loses_no_chunk() {
    let Some(scene) = Scene::start(Server::Redis, NO_LIMITS).await else { return };
    for death in [Death::Crash, Death::Stop] {
        let mut running = scene.answering("demo:tokens=100,rate=40,bytes=4").await;
        running.goes_on(5).await;
        scene.server.kill(death).await;
        scene.all_down("redis").await;
        let session = scene.ann.session().await;
        let waiting = scene.ann.send(&session, "demo:tokens=20,bytes=4").await;
        scene.server.revive(Stored::Kept).await;
        assert_eq!(running.whole().await.text().len(), 400);
        let waiting = waiting.rest().await;
        assert!(waiting.done);
        assert!(waiting.comments.iter().any(|comment| comment == "heartbeat"), "its client waited with heartbeats");
        assert_eq!(waiting.text().len(), 80);
        scene.all_ready().await;
    }
    scene.at_rest(0).await;
    a_redis_that_comes_back_empty_loses_no_turn(&scene).await;
}

async fn a_redis_that_comes_back_empty_loses_no_turn(scene: &Scene) {
    let ann = &scene.ann;
    let ended = scene.answering("demo:tokens=5,bytes=4").await;
    let ended_session = ended.session.clone();
    let ended = ended.whole().await;
    let mut running = scene.answering("demo:tokens=120,rate=40,bytes=4").await;
    running.goes_on(5).await;
    let session = running.session.clone();
    scene.server.kill(Death::Crash).await;
    scene.server.revive(Stored::Lost).await;

    let turn = running.seen[0].id.unwrap().turn_id.to_string();
    eventually("the turn ends", Duration::from_secs(15), || async {
        (ann.turn(&session, &turn).await["status"] == "completed").then_some(())
    })
    .await;
    // The stream is begun anew behind what was sent. A viewer that had it all goes on, and one that
    // lacked some of it is told so; none gets a hole or a second copy.
    let seen = running.seen.clone();
    let rest = running.stream.rest().await;
    let told = rest.events.iter().any(|event| event.data.contains("[code:stream_lost]"));
    let sequences: Vec<u64> = seen.iter().chain(&rest.events).filter_map(|event| Some(event.id?.sequence)).collect();
    assert!(sequences.windows(2).all(|pair| pair[1] == pair[0] + 1), "no hole: {sequences:?}");
    let chunks: Vec<Chunk> = rest.chunks();
    assert!(told || matches!(chunks.last(), Some(Chunk::Finish { .. })), "{:?}", chunks.last());

    let detail = ann.get(&format!("/sessions/{session}")).await;
    assert_eq!(detail["messages"][1]["content"].as_str().map(str::len), Some(480), "the history has it all");
    let late = ann.replay(&session, &turn, None).await.unwrap().rest().await;
    assert_eq!(detail["messages"][1]["content"], late.text());
    // A turn that had ended is rebuilt from PostgreSQL.
    let rebuilt = ann.replay(&ended_session, &ended.turn(), None).await.unwrap().rest().await;
    assert_eq!(message_of(rebuilt.chunks()), ended.message());
    let after = scene.answering("demo:tokens=5,bytes=4").await;
    assert_eq!(after.whole().await.text().len(), 20);
    scene.at_rest(0).await;
}
