//! What happens is told to a PostHog project, at the latest when a process ends.

use copilot_shared::testing::{Reply, Witness};
use serde_json::Value;

use crate::system::System;

fn told(witness: &Witness) -> Vec<Value> {
    let events = |body: &Value| body["batch"].as_array().cloned().unwrap_or_default();
    witness.seen().iter().flat_map(|seen| events(&seen.body)).collect()
}

#[tokio::test]
async fn messages_and_tool_calls_are_told_before_the_processes_end() {
    let project = Witness::start(vec![], Reply::status(200)).await;
    let environment = [("POSTHOG_API_KEY", "phc"), ("POSTHOG_HOST", project.url.as_str()), ("APP_ENV", "dev")];
    let mut system = System::start_with(1, 1, &environment).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let says = "demo:tool=calculator,args={\"expression\":\"6*7\"} demo:tool=nothing_such demo:tokens=1";
    ann.send(&session, says).await.rest().await;
    for process in system.workers.drain(..).chain(system.apis.drain(..).map(|(api, _)| api)) {
        assert!(process.terminate().await);
    }

    let mut events = told(&project);
    events.sort_by_key(|event| event["event"].as_str().map(str::to_owned));
    let [sent, called] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(sent["event"], "copilot_message_sent");
    assert_eq!(sent["properties"]["message_length"], says.len());
    assert_eq!(
        (&called["event"], &called["properties"]["tool_name"]),
        (&"copilot_tool_called".into(), &"calculator".into())
    );
    for event in [sent, called] {
        assert_eq!((&event["distinct_id"], &event["properties"]["environment"]), (&"ann".into(), &"dev".into()));
        assert_eq!(event["properties"]["session_id"], session.as_str());
    }
}
