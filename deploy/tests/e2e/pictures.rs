//! Pictures that a provider does not take are not the end of a conversation.

use reqwest::Method;
use serde_json::json;

use crate::client::{Client, Rest, Stream};
use crate::provider::Provider;
use crate::system::System;

async fn show(ann: &Client, session: &str, bytes_in_base64: &str) -> Rest {
    let picture = json!({"type": "file", "mediaType": "image/png", "filename": "a.png",
        "url": format!("data:image/png;base64,{bytes_in_base64}")});
    let message = json!({"role": "user", "parts": [picture, {"type": "text", "text": "what is it?"}]});
    let request = ann.request(Method::POST, &format!("/sessions/{session}/stream"));
    Stream::open(request.json(&json!({"messages": [message]}))).await.unwrap().rest().await
}

#[tokio::test]
async fn a_refused_picture_is_left_out_and_what_is_none_is_never_shown() {
    let provider = Provider::reporting(json!({"prompt_tokens": 10, "completion_tokens": 1})).await;
    let environment = provider.environment();
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let system = System::start_with(1, 1, &environment).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    // Eight bytes of a PNG are enough to be taken for one.
    assert_eq!(show(&ann, &session, "iVBORw0KGgo=").await.text(), "Yes");
    assert_eq!(provider.refused(), 1);
    assert_eq!(ann.send(&session, "and now?").await.rest().await.text(), "Yes", "the conversation goes on");
    let other = ann.session().await;
    assert_eq!(show(&ann, &other, "bm8gcGljdHVyZQ==").await.text(), "Yes");
    assert_eq!(provider.refused(), 2, "what is no picture is shown to nobody");
}
