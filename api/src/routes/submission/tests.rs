//! Which bodies are taken, and how the others are refused.

use super::*;
use copilot_shared::id::UiMessageId;
use serde_json::json;

fn wanted(body: &serde_json::Value, key: Option<&str>) -> Result<Wanted, Problem> {
    SubmitBytes(body.to_string().into()).wanted(key.map(str::to_owned))
}

fn message(wanted: Wanted) -> Submission {
    match wanted {
        Wanted::Message(submission) => submission,
        Wanted::Again(again) => panic!("no message but {again:?}"),
    }
}

fn submission(body: &serde_json::Value) -> Result<Submission, Problem> {
    wanted(body, None).map(message)
}

fn regeneration(body: &serde_json::Value) -> Regeneration {
    match wanted(body, None).unwrap() {
        Wanted::Again(again) => again,
        Wanted::Message(submission) => panic!("no regeneration but {submission:?}"),
    }
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
fn what_the_user_looks_at_is_bounded_in_both_forms() {
    let last = json!({"role": "user", "parts": [{"type": "text", "text": "a"}]});
    for mut body in [json!({"message": "a"}), ui(&last)] {
        body["context"] = json!({"url": "é".repeat(ADDRESS), "content": "é".repeat(CONTENT)});
        assert!(submission(&body).unwrap().context.is_some());
        for (field, most) in [("url", ADDRESS), ("content", CONTENT)] {
            body["context"] = json!({field: "é".repeat(most + 1)});
            let problem = submission(&body).expect_err("it is too long");
            assert_eq!((problem.status().as_u16(), problem.code()), (422, Code::ValidationError));
            let shown = format!("{problem:?}");
            assert!(shown.contains(&format!("Name(\"context\"), Name(\"{field}\")")), "{shown}");
            assert!(shown.contains(&format!("at most {most} characters")), "{shown}");
        }
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
fn a_message_that_is_not_the_users_is_the_systems() {
    let note = submission(&json!({"message": "connected", "is_user_message": false})).unwrap();
    assert_eq!(note.speaker, Speaker::System);
    assert_eq!(submission(&json!({"message": "a"})).unwrap().speaker, Speaker::User);
}

#[test]
fn a_message_id_of_the_ui_names_what_is_replaced() {
    let last = json!({"id": "m2", "role": "user", "parts": [{"type": "text", "text": "a"}]});
    let mut body = ui(&last);
    body["messageId"] = json!("m1");
    let taken = submission(&body).unwrap();
    assert_eq!(taken.instead_of, UiMessageId::parse("m1"));
    assert_eq!(taken.ui_id, UiMessageId::parse("m2"));
    assert_eq!((taken.message_id, taken.key), (None, None), "it is not message_id");
    for none in [json!(null), json!({})["absent"].clone()] {
        body["messageId"] = none;
        assert_eq!(submission(&body).unwrap().instead_of, None);
    }
    for wrong in [json!(5), json!(""), json!("x".repeat(256)), json!("a\u{0}")] {
        body["messageId"] = wrong;
        assert_eq!(refusal(&body), Code::ValidationError);
    }
    let plain = submission(&json!({"message": "a", "messageId": 5, "trigger": []})).unwrap();
    assert_eq!(plain.instead_of, None, "in the other form these are unknown fields");
}

#[test]
fn an_answer_is_wanted_anew() {
    let mut body = ui(&json!({"id": "m2", "role": "user", "parts": [{"type": "text", "text": "a"}, {"type": "file"}]}));
    body["trigger"] = json!("regenerate-message");
    let last = regeneration(&body);
    assert_eq!((last.of, last.seen.id, last.seen.text), (None, UiMessageId::parse("m2"), "a".to_owned()));
    body["messageId"] = json!("t1");
    body["on_busy"] = json!("reject");
    let named = regeneration(&body);
    assert_eq!((named.of, named.on_busy), (UiMessageId::parse("t1"), OnBusy::Reject));
    body["trigger"] = json!("resume-stream");
    assert_eq!(refusal(&body), Code::UnsupportedTrigger);
    body["trigger"] = json!(7);
    assert_eq!(refusal(&body), Code::UnsupportedTrigger);
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
    let body = json!({"message": "a", "message_id": id});
    let key = |key: &str| wanted(&body, Some(key)).map(|taken| message(taken).key);
    assert_eq!(key(&id.to_string().to_uppercase()).unwrap(), Some(id.to_string()));
    assert_eq!(key("").unwrap(), None);
    assert_eq!(key("other").unwrap_err().code(), Code::ValidationError);
    let plain = json!({"message": "a"});
    assert_eq!(wanted(&plain, Some(&"k".repeat(256))).unwrap_err().code(), Code::ValidationError);
    assert_eq!(message(wanted(&plain, Some("k")).unwrap()).key.as_deref(), Some("k"));
}

#[test]
fn a_file_is_whole_or_named_by_a_url_of_ours() {
    let id = FileId::generate();
    let last = |files: &[serde_json::Value]| ui(&json!({"role": "user", "parts": files}));
    let file =
        |url: &str| json!({"type": "file", "filename": "a", "mediaType": "Text/Plain; charset=utf-8", "url": url});
    let named = [
        format!("workspace://{id}"),
        format!("workspace://{id}#text/plain"),
        format!("/api/workspace/files/{id}/download"),
        format!("https://chat.example.org/api/workspace/files/{id}/download"),
    ];
    let taken = submission(&last(&named.clone().map(|url| file(&url)))).unwrap();
    assert_eq!((taken.file_ids, taken.text.as_str()), (vec![id; 4], ""));
    let taken = submission(&last(&[file("data:image/png;base64,AQI=")])).unwrap();
    let whole = &taken.files[0];
    assert_eq!(
        (whole.name.as_deref(), whole.mime_type.as_str()),
        (Some("a"), "text/plain"),
        "what the part says counts"
    );
    assert_eq!(*whole.content, [1, 2]);
    for url in
        ["", "data:,x", "https://a/b.png", "/api/workspace/files/x/download", "/api/workspace/files/", "workspace://x"]
    {
        assert_eq!(refusal(&last(&[file(url)])), Code::UnsupportedPart, "{url}");
    }
    assert_eq!(refusal(&last(&vec![file(&named[0]); FILES + 1])), Code::ValidationError);
}
