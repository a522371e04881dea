//! What a submit means, and which new turn it is.

use super::*;
use chrono::Utc;
use copilot_shared::id::SessionId;

fn session() -> Session {
    Session {
        id: SessionId::generate(),
        user_id: None,
        title: None,
        created_at: Utc::now(),
        updated_at: Utc::now(),
        total_prompt_tokens: 0,
        total_completion_tokens: 0,
    }
}

fn submission(text: &str) -> Submission {
    Submission {
        text: text.into(),
        context: None,
        file_ids: Vec::new(),
        files: Vec::new(),
        message_id: None,
        ui_id: None,
        speaker: Speaker::User,
        instead_of: None,
        key: Some("k".into()),
        on_busy: OnBusy::Enqueue,
    }
}

fn hash(session: &Session, submission: &Submission) -> [u8; 32] {
    idempotency(session, submission).unwrap().body_hash
}

#[test]
fn the_same_meaning_has_the_same_hash_whatever_to_do_while_busy() {
    let session = session();
    let impatient = Submission { on_busy: OnBusy::Interrupt, ..submission("a") };
    assert_eq!(hash(&session, &submission("a")), hash(&session, &impatient));
}

#[test]
fn another_text_context_or_session_is_another_body() {
    let one = session();
    let base = hash(&one, &submission("a"));
    assert_ne!(base, hash(&one, &submission("b")));
    assert_ne!(base, hash(&session(), &submission("a")));
    let with_context = Submission { context: Some(("u".into(), "c".into())), ..submission("a") };
    assert_ne!(base, hash(&one, &with_context));
    let with_file = Submission { file_ids: vec![FileId::generate()], ..submission("a") };
    assert_ne!(base, hash(&one, &with_file));
    let with_note = Submission { speaker: Speaker::System, ..submission("a") };
    assert_ne!(base, hash(&one, &with_note));
    let rewritten = Submission { instead_of: UiMessageId::parse("m1"), ..submission("a") };
    assert_ne!(base, hash(&one, &rewritten));
}

/// A client that repeats a submit in the middle of a deploy may reach the other version.
#[test]
fn the_hash_of_an_ordinary_message_is_the_same_in_every_version() {
    let session = Session { id: "00000000-0000-4000-8000-000000000001".parse().unwrap(), ..session() };
    let hash = hash(&session, &submission("hello"));
    assert_eq!(hash[..8], 0x4a3a_2a5e_2a84_423e_u64.to_be_bytes());
}

#[test]
fn the_message_id_is_the_key_where_there_is_no_other() {
    let id = MessageId::generate();
    let submission = Submission { message_id: Some(id), key: None, ..submission("a") };
    let key = idempotency(&session(), &submission);
    let new = new_turn(&submission, &[], key);
    assert_eq!(new.message_id, id);
    assert_eq!(new.idempotency.unwrap().key, id.to_string());
}

#[test]
fn without_a_key_nothing_is_idempotent() {
    let submission = Submission { key: None, ..submission("a") };
    assert!(idempotency(&session(), &submission).is_none());
}
