//! Which bodies are taken, and how the others are refused.

use super::*;
use serde_json::json;

fn submission(body: &serde_json::Value) -> Result<Submission, Problem> {
    SubmitBytes(body.to_string().into()).submission(None)
}

fn refusal(body: &serde_json::Value) -> Code {
    submission(body).expect_err(&body.to_string()).code()
}

fn ui(last: &serde_json::Value) -> serde_json::Value {
    json!({"id": "x", "messages": [{"role": "assistant", "nonsense": [1, {"a": null}]}, last], "trigger": "submit-message"})
}

#[test]
fn a_plain_body_is_read_and_unknown_fields_are_ignored() {
    let id = Uuid::new_v4();
    let taken = submission(&json!({
        "message": "a\u{7}b", "message_id": id, "is_user_message": true, "context": {"url": "u", "content": "c"},
        "file_ids": [Uuid::nil()], "on_busy": "reject", "extra": {"deep": []},
    }))
    .unwrap();
    assert_eq!(taken.text, "ab");
    assert_eq!(taken.message_id, Some(MessageId(id)));
    assert_eq!(taken.context, Some(("u".into(), "c".into())));
    assert_eq!(taken.file_ids, [FileId(Uuid::nil())]);
    assert_eq!(taken.on_busy, OnBusy::Reject);
}

#[test]
fn nulls_count_as_absent() {
    let taken = submission(&json!({
        "message": "a", "message_id": null, "is_user_message": null, "context": null, "file_ids": null, "on_busy": null,
    }))
    .unwrap();
    assert_eq!((taken.message_id, taken.context, taken.on_busy), (None, None, OnBusy::Enqueue));
}

#[test]
fn a_message_is_bounded_in_characters_and_never_blank() {
    assert!(submission(&json!({"message": "é".repeat(MESSAGE)})).is_ok());
    for message in [
        json!(" \n"),
        json!(""),
        json!("a\u{0}b"),
        json!("\u{7}"),
        json!("é".repeat(MESSAGE + 1)),
        json!(5),
        json!(null),
    ] {
        assert_eq!(refusal(&json!({"message": message})), Code::ValidationError);
    }
}

#[test]
fn wrong_fields_are_refused() {
    for wrong in [
        json!({"message_id": "no uuid"}),
        json!({"file_ids": vec![Uuid::nil(); 21]}),
        json!({"file_ids": [7]}),
        json!({"on_busy": "whatever"}),
        json!({"context": "text"}),
        json!({"context": {"url": 5}}),
        json!({"is_user_message": "yes"}),
    ] {
        let mut body = json!({"message": "a"});
        body.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        assert_eq!(refusal(&body), Code::ValidationError, "{wrong}");
    }
}

#[test]
fn the_last_message_of_a_ui_body_is_the_users() {
    let taken = submission(&ui(&json!({
        "id": "m", "role": "user",
        "parts": [{"type": "text", "text": "a"}, {"type": "data-x", "data": {}}, {"type": "text", "text": "b"}],
    })))
    .unwrap();
    assert_eq!(taken.text, "ab");
    for wrong in [json!({"role": "assistant", "parts": []}), json!({"role": "system", "parts": []})] {
        assert_eq!(refusal(&ui(&wrong)), Code::NoUserMessage);
    }
    assert_eq!(refusal(&json!({"messages": []})), Code::NoUserMessage);
    assert_eq!(refusal(&ui(&json!({"role": "user", "parts": []}))), Code::ValidationError);
    assert_eq!(
        refusal(&ui(&json!({"role": "user", "parts": [{"type": "file", "url": "data:"}]}))),
        Code::UnsupportedPart
    );
    assert_eq!(refusal(&ui(&json!("text"))), Code::ValidationError);
}

#[test]
fn what_cannot_be_served_yet_says_so() {
    let last = json!({"role": "user", "parts": [{"type": "text", "text": "a"}]});
    let mut body = ui(&last);
    body["trigger"] = json!("regenerate-message");
    assert_eq!(refusal(&body), Code::UnsupportedTrigger);
    let mut body = ui(&last);
    body["messageId"] = json!("m");
    assert_eq!(refusal(&body), Code::UnsupportedTrigger);
    let mut body = ui(&last);
    body["messageId"] = json!(null);
    assert!(submission(&body).is_ok());
}

#[test]
fn only_a_conversation_may_be_long() {
    let filler = "x".repeat(body::ORDINARY);
    assert_eq!(refusal(&json!({"message": "a", "filler": filler})), Code::PayloadTooLarge);
    let last = json!({"role": "user", "parts": [{"type": "text", "text": "a"}]});
    let taken = submission(&json!({"messages": [{"role": "assistant", "parts": [{"text": filler}]}, last]})).unwrap();
    assert_eq!(taken.text, "a");
}

#[test]
fn a_key_and_a_message_id_must_be_equal() {
    let id = Uuid::new_v4();
    let body = SubmitBytes(json!({"message": "a", "message_id": id}).to_string().into());
    let key = |key: &str| body.submission(Some(key.to_owned())).map(|taken| taken.key);
    assert_eq!(key(&id.to_string().to_uppercase()).unwrap(), Some(id.to_string()));
    assert_eq!(key("").unwrap(), None);
    assert_eq!(key("other").unwrap_err().code(), Code::ValidationError);
    let plain = SubmitBytes(json!({"message": "a"}).to_string().into());
    assert_eq!(plain.submission(Some("k".repeat(256))).unwrap_err().code(), Code::ValidationError);
    assert_eq!(plain.submission(Some("k".into())).unwrap().key.as_deref(), Some("k"));
}
