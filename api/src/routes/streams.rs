//! Sending a message, following its answer, stopping it.

use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Deserialize;
use serde_json::value::RawValue;

use copilot_shared::id::SessionId;
use copilot_shared::session::Caller;

use super::Tag;
use super::model::{CancelSessionResponse, SubmitResponse};
use crate::app::App;
use crate::app::cancel_turn::Cancelled;
use crate::app::resume_turn::Resume;
use crate::app::submit_turn::{Accepted, Submission};
use crate::auth::AnyCaller;
use crate::body::{BodyLimit, CHAT_BODY_BYTES, JsonBody, parse};
use crate::problem::{Failure, OfSession, Problem, Resumes, Submits};
use crate::relay::Start;
use crate::sse::{EventStream, held_open};

/// The group.
#[derive(Debug)]
pub struct Streams;

/// Accepted.
#[derive(Debug, ApiResponse)]
pub enum SubmitAnswer {
    /// The turn is accepted and will be answered.
    #[oai(status = 202)]
    Accepted(Json<SubmitResponse>),
}

/// A message, in our own form or in the default form of the AI SDK's `useChat`.
#[derive(Debug, Deserialize, Object)]
pub struct StreamChatRequest {
    /// What the user says: 1 to 64,000 characters, not blank. Required unless `messages` is there.
    #[serde(default)]
    pub message: Option<String>,
    /// The client's own id of the message, a UUID. Makes the call idempotent for 24 hours.
    #[serde(default)]
    pub message_id: Option<String>,
    /// Kept for compatibility: what is sent is always the user's.
    #[serde(default)]
    pub is_user_message: Option<bool>,
    /// What the user was looking at.
    #[serde(default)]
    pub context: Option<MessageContext>,
    /// Files that belong to the message, at most 20.
    #[serde(default)]
    pub file_ids: Option<Vec<String>>,
    /// What to do while a turn of the session is in flight: `enqueue` (default), `reject` or
    /// `interrupt`.
    #[serde(default)]
    pub on_busy: Option<String>,
    /// The conversation as the AI SDK sends it. Only the last message is read.
    #[serde(default)]
    #[oai(skip)]
    messages: Option<LastMessage>,
    #[serde(default)]
    #[oai(skip)]
    trigger: Option<String>,
    #[serde(default, rename = "messageId")]
    #[oai(skip)]
    edited_message: Option<String>,
    /// The session, where the path names none.
    #[serde(default)]
    #[oai(skip)]
    pub id: Option<Box<RawValue>>,
}

impl BodyLimit for StreamChatRequest {
    const MAX_BYTES: usize = CHAT_BODY_BYTES;
}

/// What the user was looking at.
#[derive(Debug, Deserialize, Object)]
pub struct MessageContext {
    /// Where it is.
    pub url: String,
    /// What it says.
    pub content: String,
}

/// The last element of a list, the others skipped unparsed.
#[derive(Debug, Default)]
struct LastMessage(Option<Box<RawValue>>);

impl<'de> Deserialize<'de> for LastMessage {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> serde::de::Visitor<'de> for Elements {
            type Value = LastMessage;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of messages")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
                let mut last = LastMessage(None);
                while let Some(element) = elements.next_element::<Box<RawValue>>()? {
                    last.0 = Some(element);
                }
                Ok(last)
            }
        }
        deserializer.deserialize_seq(Elements)
    }
}

#[derive(Deserialize)]
struct UiMessage {
    role: String,
    #[serde(default)]
    parts: Vec<UiPart>,
}

#[derive(Deserialize)]
struct UiPart {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: Option<String>,
}

impl StreamChatRequest {
    fn into_submission(self, idempotency_key: Option<String>) -> Result<Submission, Problem> {
        let message = match (self.messages, self.message) {
            (Some(messages), _) => {
                default_trigger(self.trigger.as_deref(), self.edited_message.as_deref())?;
                last_user_text(messages)?
            }
            (None, Some(message)) => message,
            (None, None) => return Err(Problem::field(&["body", "message"], "missing", "Field required")),
        };
        Ok(Submission {
            message,
            message_id: self.message_id,
            context: self.context.map(|context| (context.url, context.content)),
            file_ids: self.file_ids.unwrap_or_default(),
            on_busy: self.on_busy,
            idempotency_key,
        })
    }

    /// The session that the body names: any string that is one.
    pub(super) fn session(&self) -> Option<String> {
        self.id.as_ref().and_then(|id| serde_json::from_str(id.get()).ok())
    }
}

fn default_trigger(trigger: Option<&str>, edited: Option<&str>) -> Result<(), Problem> {
    if trigger.is_some_and(|trigger| trigger != "submit-message") {
        let msg = "only submit-message is supported";
        return Err(Problem::invalid("unsupported_trigger", &["body", "trigger"], "value_error", msg));
    }
    if edited.is_some() {
        let msg = "replacing a message is not supported";
        return Err(Problem::invalid("unsupported_trigger", &["body", "messageId"], "value_error", msg));
    }
    Ok(())
}

fn last_user_text(messages: LastMessage) -> Result<String, Problem> {
    let none = || {
        let msg = "the last message must be the user's";
        Problem::invalid("no_user_message", &["body", "messages"], "value_error", msg)
    };
    let raw = messages.0.ok_or_else(none)?;
    let message: UiMessage = parse(raw.get().as_bytes())?;
    if message.role != "user" {
        return Err(none());
    }
    if message.parts.iter().any(|part| part.kind == "file") {
        let msg = "file parts are not supported";
        return Err(Problem::invalid("unsupported_part", &["body", "messages", "parts"], "value_error", msg));
    }
    Ok(message.parts.into_iter().filter(|part| part.kind == "text").filter_map(|part| part.text).collect())
}

/// The cursor of a request: the header wins, and an empty one counts as absent.
pub(super) fn cursor(header: Option<String>, query: Option<String>) -> Option<String> {
    header.filter(|text| !text.trim().is_empty()).or(query.filter(|text| !text.trim().is_empty()))
}

/// Submits and follows, or resumes if the request carries a cursor: generated clients send a POST
/// again when its stream breaks.
pub(super) async fn submit_and_follow(
    app: &App,
    caller: &Caller,
    session: SessionId,
    body: JsonBody<StreamChatRequest>,
    headers: SubmitHeaders,
) -> Result<EventStream, Problem> {
    if let Some(cursor) = cursor(headers.last_event_id, None) {
        return follow(app, app.resume_session(session, Some(&cursor)).await?);
    }
    let submission = body.parse()?.into_submission(headers.idempotency_key)?;
    let Accepted { turn, repeated, .. } = app.submit_turn(caller, session, submission).await?;
    let start = if repeated { Start::Compacted } else { Start::Everything };
    follow(app, Resume::Follow(turn.id, start))
}

/// What a submit reads from its headers.
#[derive(Debug, Default)]
pub(super) struct SubmitHeaders {
    pub(super) last_event_id: Option<String>,
    pub(super) idempotency_key: Option<String>,
}

/// A resume of what is in flight, held open while a server of ours is away.
pub(super) async fn resume_session(
    app: &App,
    caller: Caller,
    session_id: String,
    cursor: Option<String>,
) -> Result<EventStream, Problem> {
    let app = app.clone();
    held_open(move || {
        let (app, caller, session_id, cursor) = (app.clone(), caller.clone(), session_id.clone(), cursor.clone());
        async move {
            let session = app.owned_session(&caller, &session_id).await?;
            let resume = app.resume_session(session.id, cursor.as_deref()).await?;
            follow(&app, resume)
        }
    })
    .await
}

fn follow(app: &App, resume: Resume) -> Result<EventStream, Problem> {
    Ok(match resume {
        Resume::Follow(turn, start) => EventStream::Frames(app.relay.follow(turn, start)),
        Resume::Nothing => EventStream::Nothing,
    })
}

#[OpenApi(prefix_path = "/api/chat")]
impl Streams {
    /// Send a message and follow its answer
    ///
    /// With `Last-Event-ID` nothing is sent: the turn of the cursor is resumed.
    #[oai(path = "/sessions/:session_id/stream", method = "post", operation_id = "stream_chat", tag = "Tag::Turns")]
    async fn submit(
        &self,
        app: Data<&App>,
        caller: AnyCaller,
        session_id: Path<String>,
        /// A cursor: resume instead of submitting
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
        /// Makes the call idempotent for 24 hours
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
        body: JsonBody<StreamChatRequest>,
    ) -> Result<EventStream, Failure<Submits>> {
        let session = app.owned_session(&caller.0, &session_id).await?;
        let headers = SubmitHeaders { last_event_id: last_event_id.0, idempotency_key: idempotency_key.0 };
        Ok(submit_and_follow(&app, &caller.0, session.id, body, headers).await?)
    }

    /// Send a message
    ///
    /// The answer is followed elsewhere, or read later.
    #[oai(
        path = "/sessions/:session_id/messages",
        method = "post",
        operation_id = "submit_message",
        tag = "Tag::Turns"
    )]
    async fn submit_only(
        &self,
        app: Data<&App>,
        caller: AnyCaller,
        session_id: Path<String>,
        /// Makes the call idempotent for 24 hours
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
        body: JsonBody<StreamChatRequest>,
    ) -> Result<SubmitAnswer, Failure<Submits>> {
        let session = app.owned_session(&caller.0, &session_id).await?;
        let submission = body.parse()?.into_submission(idempotency_key.0)?;
        let accepted = app.submit_turn(&caller.0, session.id, submission).await?;
        Ok(SubmitAnswer::Accepted(Json(SubmitResponse {
            turn_id: accepted.turn.id.0,
            status: accepted.turn.status.into(),
            position: accepted.position,
        })))
    }

    /// Follow what is in flight
    ///
    /// Without a cursor: the shortest replay, then what comes. With one: exactly the later chunks.
    #[oai(path = "/sessions/:session_id/stream", method = "get", operation_id = "resume_stream", tag = "Tag::Turns")]
    async fn resume(
        &self,
        app: Data<&App>,
        caller: AnyCaller,
        session_id: Path<String>,
        /// A cursor, `<turn_id>:<sequence>`; wins over `after`
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
        /// A cursor, `<turn_id>:<sequence>`
        after: Query<Option<String>>,
    ) -> Result<EventStream, Failure<Resumes>> {
        Ok(resume_session(&app, caller.0, session_id.0, cursor(last_event_id.0, after.0)).await?)
    }

    /// Follow one turn
    ///
    /// Replays any turn that is retained, and follows one that runs.
    #[oai(
        path = "/sessions/:session_id/turns/:turn_id/stream",
        method = "get",
        operation_id = "resume_turn_stream",
        tag = "Tag::Turns"
    )]
    async fn resume_turn(
        &self,
        app: Data<&App>,
        caller: AnyCaller,
        session_id: Path<String>,
        turn_id: Path<String>,
        /// A cursor, `<turn_id>:<sequence>`; wins over `after`
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
        /// A cursor, `<turn_id>:<sequence>`
        after: Query<Option<String>>,
    ) -> Result<EventStream, Failure<Resumes>> {
        let app = app.clone();
        let cursor = cursor(last_event_id.0, after.0);
        let held = held_open(move || {
            let (app, caller, cursor) = (app.clone(), caller.0.clone(), cursor.clone());
            let (session_id, turn_id) = (session_id.0.clone(), turn_id.0.clone());
            async move {
                let session = app.owned_session(&caller, &session_id).await?;
                let turn = app.turn_of(session.id, &turn_id).await?;
                follow(&app, app.resume_turn(&turn, cursor.as_deref()).await?)
            }
        });
        Ok(held.await?)
    }

    /// Stop what runs
    ///
    /// Answers once the turn is closed. With nothing running, what waits is dropped.
    #[oai(path = "/sessions/:session_id/cancel", method = "post", operation_id = "cancel_session", tag = "Tag::Turns")]
    async fn cancel(
        &self,
        app: Data<&App>,
        caller: AnyCaller,
        session_id: Path<String>,
    ) -> Result<Json<CancelSessionResponse>, Failure<OfSession>> {
        let session = app.owned_session(&caller.0, &session_id).await?;
        let reason = match app.cancel_turn(&caller.0, session.id).await? {
            Cancelled::Stopped => None,
            Cancelled::Dequeued => Some("dequeued".to_owned()),
            Cancelled::Idle => Some("no_active_session".to_owned()),
        };
        Ok(Json(CancelSessionResponse { cancelled: true, reason: reason.into() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submission(json: &str) -> Result<Submission, Problem> {
        parse::<StreamChatRequest>(json.as_bytes())?.into_submission(None)
    }

    #[test]
    fn the_default_body_of_the_ai_sdk_is_understood() {
        let json = r#"{"id":"any string","trigger":"submit-message","messages":[
            {"id":"1","role":"assistant","parts":[{"type":"tool-x","output":{"deep":[1]}}],"nonsense":7},
            {"id":"2","role":"user","parts":[{"type":"text","text":"hel"},{"type":"text","text":"lo"}]}]}"#;
        assert_eq!(submission(json).unwrap().message, "hello");
    }

    #[test]
    fn only_the_users_own_text_is_accepted() {
        for json in [
            r#"{"messages":[]}"#,
            r#"{"messages":[{"role":"assistant","parts":[]}]}"#,
            r#"{"messages":[{"role":"user","parts":[{"type":"file","url":"data:"}]}]}"#,
            r#"{"messages":[{"role":"user","parts":[{"type":"text","text":"x"}]}],"trigger":"regenerate-message"}"#,
            r#"{"messages":"no list"}"#,
            r#"{"messages":[{"role":5}]}"#,
            "{}",
        ] {
            assert!(submission(json).is_err(), "{json}");
        }
    }

    #[test]
    fn the_header_wins_and_an_empty_one_is_none() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(cursor(some("a"), some("b")), some("a"));
        assert_eq!(cursor(some(" "), some("b")), some("b"));
        assert_eq!(cursor(None, some("")), None);
    }
}
