//! PostgreSQL dies without a goodbye: open streams go on, requests are put off, no turn changes hands.

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::Scene;
use crate::servers::{Death, Server, Stored};

#[tokio::test]
async fn turns_outlive_a_postgres_that_crashes_and_submits_are_put_off() {
    let Some(scene) = Scene::start(Server::Postgres, &[]).await else { return };
    let ann = &scene.ann;
    for death in [Death::Crash, Death::Stop] {
        let session = ann.session().await;
        let tools = "demo:tokens=60,rate=30,bytes=4 demo:tool=calculator,args={\"expression\":\"6*7\"} demo:tokens=2";
        let mut running = scene.answering(tools).await;
        let mut short = scene.answering("demo:tokens=30,rate=30,bytes=4").await;
        scene.server.kill(death).await;
        running.goes_on(10).await;
        // Its last step cannot be committed, so its end waits; what was said is shown all the same.
        short.goes_on(20).await;
        scene.all_down("postgres").await;

        let path = format!("/sessions/{session}/messages");
        let body = json!({"message": "demo:tokens=2,bytes=4", "message_id": uuid::Uuid::new_v4()});
        let submit = || ann.request(Method::POST, &path).json(&body).send();
        let refused = submit().await.unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.headers().contains_key("retry-after"), "{:?}", refused.headers());

        scene.server.revive(Stored::Kept).await;
        scene.all_ready().await;
        let accepted = submit().await.unwrap();
        assert_eq!(accepted.status(), StatusCode::ACCEPTED);
        let accepted: serde_json::Value = accepted.json().await.unwrap();
        let again: serde_json::Value = submit().await.unwrap().json().await.unwrap();
        assert_eq!(accepted["turn_id"], again["turn_id"], "put off, and accepted once");
        let turn = accepted["turn_id"].as_str().unwrap();
        assert_eq!(ann.replay(&session, turn, None).await.unwrap().rest().await.text().len(), 8);
        for (answering, length) in [(running, 240 + 8), (short, 120)] {
            // A turn may have changed hands meanwhile: what counts is what a late client is shown.
            let session = answering.session.clone();
            let turn = answering.whole().await.turn();
            assert_eq!(ann.replay(&session, &turn, None).await.unwrap().rest().await.text().len(), length);
        }
    }
    scene.at_rest(0).await;
    assert_eq!(scene.system.services.count("SELECT count(*) FROM tool_calls").await, 2, "no call was made twice");
}
