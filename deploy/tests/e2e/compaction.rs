//! Conversations that outgrow the model's window.

use copilot_shared::chunk::Chunk;
use serde_json::Value;

use crate::system::System;

#[tokio::test]
async fn a_long_conversation_is_summed_up_once_and_goes_on() {
    let system = System::start_with(1, 1, &[("CHAT_CONTEXT_TOKENS", "9000")]).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let mut compactions = Vec::new();
    for n in 0..20 {
        let says = format!("demo:tokens=3,bytes=8 message {n}: {}", "one word after the other ".repeat(40));
        let answer = ann.send(&session, &says).await.rest().await;
        assert!(answer.done && answer.text().len() == 24, "every message is answered as it should be");
        let shown = answer.chunks().into_iter().any(
            |chunk| matches!(chunk, Chunk::ToolInputAvailable { tool_name, .. } if tool_name == "context_compaction"),
        );
        if shown {
            compactions.push(n);
            let late = ann.replay(&session, &answer.turn(), None).await.unwrap().rest().await;
            assert_eq!(late.message(), answer.message());
        }
    }
    assert!((1..=4).contains(&compactions.len()), "not at every turn: {compactions:?}");
    assert!(compactions[0] > 7, "not before it is long: {compactions:?}");
    let rows = system.services.count("SELECT count(*) FROM context_summaries").await;
    assert_eq!(usize::try_from(rows).unwrap(), compactions.len());
    let page = ann.get(&format!("/sessions/{session}?limit=200")).await;
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(40), "the conversation itself loses nothing");
    assert!(page["messages"].as_array().unwrap().iter().all(|message| message["tool_calls"] == Value::Null));
    assert_eq!(system.services.count("SELECT count(*) FROM tool_calls").await, 0);
}
