//! Events on their way: gathered, sent again, dropped and counted, and never in anybody's way.

use std::time::{Duration, Instant};

use copilot_shared::analytics::{Analytics, Delivery, Environment, Event, Pace, PostHog};
use copilot_shared::id::{SessionId, ToolCallId, TurnId, UserId};
use copilot_shared::testing::{Reply, Witness, eventually};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(10);

fn pace() -> Pace {
    Pace { gather: Duration::from_millis(20), pause: Duration::from_millis(5), ..Pace::default() }
}

fn posted(witness: &Witness, pace: Pace) -> (Analytics, Delivery) {
    let host = witness.url.parse().unwrap();
    Analytics::posted(PostHog { host, api_key: "phc_key".into(), environment: Environment::Dev, pace }).unwrap()
}

fn sent(message_length: usize) -> Event {
    Event::MessageSent { turn_id: TurnId::generate(), message_length }
}

fn capture(analytics: &Analytics, count: usize) {
    let ann = UserId::parse("ann").unwrap();
    for length in 0..count {
        analytics.capture(SessionId::generate(), Some(&ann), sent(length));
    }
}

fn batches(witness: &Witness) -> Vec<Vec<Value>> {
    witness.seen().iter().map(|seen| seen.body["batch"].as_array().unwrap().clone()).collect()
}

fn lengths(batches: &[Vec<Value>]) -> Vec<u64> {
    let length = |event: &Value| event["properties"]["message_length"].as_u64().unwrap();
    batches.iter().flatten().map(length).collect()
}

async fn arrived(witness: &Witness, events: usize) -> Vec<Vec<Value>> {
    eventually("the events arrive", PATIENCE, || async {
        let batches = batches(witness);
        (batches.iter().map(Vec::len).sum::<usize>() >= events).then_some(batches)
    })
    .await
}

/// Counts on this thread alone: tests run beside each other.
fn counted(recorder: &PrometheusRecorder, fate: &str) -> u64 {
    let name = format!("copilot_analytics_events_total{{fate=\"{fate}\"}} ");
    let text = recorder.handle().render();
    text.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
}

#[tokio::test]
async fn events_are_gathered_into_batches_in_their_order() {
    let witness = Witness::start(vec![], Reply::status(200)).await;
    let (analytics, delivery) = posted(&witness, Pace { batch: 3, ..pace() });
    capture(&analytics, 7);
    let batches = arrived(&witness, 7).await;
    assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
    assert_eq!(lengths(&batches), (0..7).collect::<Vec<u64>>());
    delivery.close().await;
}

#[tokio::test]
async fn an_event_says_who_where_when_and_how_much_and_nothing_else() {
    let witness = Witness::start(vec![], Reply::status(200)).await;
    let (analytics, delivery) = posted(&witness, pace());
    let (session, call) = (SessionId::generate(), ToolCallId::generate());
    analytics.capture(session, None, Event::ToolCalled { tool_name: "calculator".into(), tool_call_id: call.clone() });
    analytics.capture(session, UserId::parse("ann").as_ref(), sent(12));
    let events = arrived(&witness, 2).await.concat();
    let seen = witness.seen();
    assert_eq!((seen[0].path.as_str(), &seen[0].body["api_key"]), ("/batch/", &json!("phc_key")));
    let base = |more: Value| {
        let mut base = json!({"session_id": session, "environment": "dev", "source": "chat_copilot"});
        base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        base
    };
    let [called, sent] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(called["event"], "copilot_tool_called");
    assert_eq!(called["distinct_id"], json!(format!("anonymous_{session}")));
    assert_eq!(called["properties"], base(json!({"tool_name": "calculator", "tool_call_id": call})));
    assert_eq!((&sent["event"], &sent["distinct_id"]), (&json!("copilot_message_sent"), &json!("ann")));
    assert_eq!(sent["properties"], base(json!({"message_length": 12})));
    assert!(sent["timestamp"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().is_ok());
    delivery.close().await;
}

#[tokio::test]
async fn a_batch_is_sent_again_until_it_is_taken_and_keeps_its_names() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let witness = Witness::start(vec![Reply::status(500), Reply::status(429), Reply::Hang], Reply::status(200)).await;
    let (analytics, delivery) = posted(&witness, Pace { request: Duration::from_millis(100), ..pace() });
    capture(&analytics, 2);
    let batches = arrived(&witness, 8).await;
    assert_eq!(batches.len(), 4);
    let names = |batch: &Vec<Value>| batch.iter().map(|event| event["uuid"].clone()).collect::<Vec<_>>();
    assert!(batches.iter().all(|batch| names(batch) == names(&batches[0])));
    assert_ne!(batches[0][0]["uuid"], batches[0][1]["uuid"]);
    eventually("it is counted", PATIENCE, || async { (counted(&recorder, "delivered") == 2).then_some(()) }).await;
    delivery.close().await;
}

#[tokio::test]
async fn what_is_refused_is_not_sent_again_and_holds_nothing_up() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let witness = Witness::start(vec![Reply::status(401)], Reply::status(200)).await;
    let (analytics, delivery) = posted(&witness, pace());
    capture(&analytics, 1);
    arrived(&witness, 1).await;
    capture(&analytics, 2);
    arrived(&witness, 3).await;
    delivery.close().await;
    assert_eq!(batches(&witness).iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((counted(&recorder, "refused"), counted(&recorder, "delivered")), (1, 2));
}

#[tokio::test]
async fn a_server_that_stays_away_loses_a_batch_and_not_the_next_one() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let witness = Witness::start(vec![Reply::status(503); 3], Reply::status(200)).await;
    let (analytics, delivery) = posted(&witness, Pace { retries: 2, ..pace() });
    capture(&analytics, 1);
    eventually("it is given up", PATIENCE, || async { (counted(&recorder, "unreachable") == 1).then_some(()) }).await;
    capture(&analytics, 1);
    arrived(&witness, 4).await;
    delivery.close().await;
    assert_eq!(counted(&recorder, "delivered"), 1);
}

#[tokio::test]
async fn a_hanging_server_holds_up_neither_a_request_nor_the_end() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let witness = Witness::start(vec![], Reply::Hang).await;
    let flush = Duration::from_millis(200);
    let (analytics, delivery) = posted(&witness, Pace { waiting: 5, batch: 2, flush, ..pace() });
    capture(&analytics, 2);
    arrived(&witness, 2).await;
    // The first batch hangs: there is room for five more.
    let began = Instant::now();
    capture(&analytics, 1_000);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(counted(&recorder, "dropped"), 995);
    let began = Instant::now();
    delivery.close().await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(counted(&recorder, "dropped"), 1_002, "each event has one fate");
}

#[tokio::test]
async fn what_waits_is_delivered_at_the_end() {
    let witness = Witness::start(vec![], Reply::status(200)).await;
    let (analytics, delivery) = posted(&witness, Pace { batch: 4, gather: Duration::from_mins(10), ..pace() });
    capture(&analytics, 10);
    delivery.close().await;
    assert_eq!(lengths(&batches(&witness)), (0..10).collect::<Vec<u64>>());
    capture(&analytics, 1);
    assert_eq!(batches(&witness).concat().len(), 10, "nobody listens any more, and nobody minds");
}

#[tokio::test]
async fn without_a_project_events_go_nowhere() {
    let analytics = Analytics::logged();
    capture(&analytics, 3);
    Delivery::none().close().await;
}
