//! Submitting messages, and following and stopping the turns that answer them.

use std::sync::Arc;

use copilot_shared::cursor::Cursor;
use copilot_shared::id::TurnId;
use copilot_shared::session::{Caller, Session};
use poem::web::Data;
use poem_openapi::param::{Header, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};

use super::Tag;
use super::models::{CancelSessionResponse, StreamTicketResponse, SubmitResponse};
use super::sessions::Owned;
use super::submission::{SubmitBytes, read_submission};
use crate::app::App;
use crate::app::resume_turn::{Attached, Resume};
use crate::app::submit_turn::Accepted;
use crate::auth::{FollowedSession, OwnedSession, Place, Tickets, TurnPath};
use crate::problem::{Problem, Refused, Statuses};
use crate::sse::EventStream;

pub(super) struct StreamRoutes;

/// A stream, or nothing.
#[derive(ApiResponse)]
pub(super) enum StreamResponse {
    /// The turn's chunks. An event's id is a cursor, `<turn_id>:<sequence>`. The last event of an
    /// ended turn is `[DONE]`; a stream that ends without it was cut, and can be resumed. Comments keep
    /// a silent connection open, and tell before the end what was used.
    ///
    /// ```text
    /// retry: 1742
    /// : heartbeat
    ///
    /// id: 01a20f01-2615-751f-80aa-9d3c371f469e:1
    /// data: {"type":"start","messageId":"01a20f01-2615-751f-80aa-9d3c371f469e"}
    ///
    /// id: 01a20f01-2615-751f-80aa-9d3c371f469e:2
    /// data: {"type":"start-step"}
    ///
    /// id: 01a20f01-2615-751f-80aa-9d3c371f469e:3
    /// data: {"type":"text-start","id":"p1"}
    ///
    /// id: 01a20f01-2615-751f-80aa-9d3c371f469e:4
    /// data: {"type":"text-delta","id":"p1","delta":"Hello"}
    ///
    /// id: 01a20f01-2615-751f-80aa-9d3c371f469e:5
    /// data: {"type":"text-end","id":"p1"}
    ///
    /// id: 01a20f01-2615-751f-80aa-9d3c371f469e:6
    /// data: {"type":"finish-step"}
    ///
    /// : usage {"promptTokens":9,"completionTokens":1,"totalTokens":10,"cacheReadTokens":0,"cacheCreationTokens":0}
    ///
    /// id: 01a20f01-2615-751f-80aa-9d3c371f469e:7
    /// data: {"type":"finish","finishReason":"stop"}
    ///
    /// data: [DONE]
    /// ```
    #[oai(
        status = 200,
        header(name = "x-vercel-ai-ui-message-stream", ty = "String"),
        header(name = "x-accel-buffering", ty = "String"),
        header(name = "cache-control", ty = "String")
    )]
    Chunks(EventStream),
    /// There is nothing to stream: nothing is in flight, or the cursor is an ended turn's end.
    #[oai(status = 204)]
    Nothing,
}

/// A turn without a stream.
#[derive(ApiResponse)]
pub(super) enum SubmittedResponse {
    /// Accepted, or accepted before under the same key.
    #[oai(status = 202)]
    Accepted(Json<SubmitResponse>),
}

pub(super) struct Submitting;
impl Statuses for Submitting {
    const STATUSES: &'static [u16] = &[400, 401, 404, 409, 410, 413, 415, 422, 429, 500, 503];
}

pub(super) struct Resuming;
impl Statuses for Resuming {
    const STATUSES: &'static [u16] = &[400, 401, 404, 409, 410, 500, 503];
}

#[OpenApi(prefix_path = "/api/chat", tag = "Tag::Streams")]
impl StreamRoutes {
    /// Submit a message and stream its answer
    ///
    /// `message_id` or `Idempotency-Key` makes the call idempotent for 24 hours. With
    /// `Last-Event-ID` nothing is submitted: the stream of that turn is resumed. In the AI SDK's form,
    /// `trigger: "regenerate-message"` answers a message once more, and `messageId` puts the message in
    /// place of an earlier one and what followed; either stops what is in flight, unless `on_busy` is
    /// `reject`.
    #[oai(path = "/sessions/:id/stream", method = "post", operation_id = "stream_chat")]
    async fn submit(
        &self,
        Data(app): Data<&Arc<App>>,
        id: OwnedSession,
        /// Makes the call idempotent
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<String>>,
        /// Resumes instead of submitting
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
        body: SubmitBytes,
    ) -> Result<StreamResponse, Refused<Submitting>> {
        let OwnedSession { caller, session } = id;
        Ok(submit_or_resume(app, session, caller, key.0, last_event_id.0, body).await?)
    }

    /// Follow what is in flight
    ///
    /// Without a cursor: the shortest replay of the running or next turn, then what follows. With
    /// one: exactly the later chunks of its turn.
    #[oai(path = "/sessions/:id/stream", method = "get", operation_id = "resume_stream")]
    async fn resume(
        &self,
        Data(app): Data<&Arc<App>>,
        id: FollowedSession,
        /// What was received last; wins over `after`
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
        /// What was received last
        after: Query<Option<String>>,
    ) -> Result<StreamResponse, Refused<Resuming>> {
        Ok(resume(app, id.0, None, last_event_id.0, after.0).await?)
    }

    /// Follow one turn
    ///
    /// Replays any retained turn, and follows one that is in flight.
    #[oai(path = "/sessions/:id/turns/:turn_id/stream", method = "get", operation_id = "resume_turn_stream")]
    async fn resume_turn(
        &self,
        Data(app): Data<&Arc<App>>,
        id: FollowedSession,
        turn_id: TurnPath,
        /// What was received last; wins over `after`
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
        /// What was received last
        after: Query<Option<String>>,
    ) -> Result<StreamResponse, Refused<Resuming>> {
        Ok(resume(app, id.0, Some(turn_id.0), last_event_id.0, after.0).await?)
    }

    /// Get a ticket for the session's streams
    ///
    /// For clients that can send no header, such as the browser's `EventSource`: it opens the GET
    /// stream routes of this session as `?ticket=` for 60 seconds. A stream that is open stays so; to
    /// open the next one, get another ticket and say with `after` what was received last.
    #[oai(path = "/sessions/:id/stream-ticket", method = "post", operation_id = "issue_stream_ticket")]
    async fn issue_ticket(
        &self,
        Data(tickets): Data<&Arc<Tickets>>,
        id: OwnedSession,
    ) -> Result<Json<StreamTicketResponse>, Refused<Owned>> {
        let place = Place { caller: id.caller, session: id.session.id };
        Ok(Json(tickets.issue(&place).await?.into()))
    }

    /// Submit a message without a stream
    ///
    /// As `stream_chat`. Follow the turn with `resume_turn_stream`, or read the session later. With
    /// `Last-Event-ID` nothing is submitted: the answer tells where that turn stands.
    #[oai(path = "/sessions/:id/messages", method = "post", operation_id = "submit_message")]
    async fn submit_message(
        &self,
        Data(app): Data<&Arc<App>>,
        id: OwnedSession,
        /// Makes the call idempotent
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<String>>,
        /// A place in the stream of a turn that was submitted before
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
        body: SubmitBytes,
    ) -> Result<SubmittedResponse, Refused<Submitting>> {
        let (turn, position) = if let Some(received) = last_event_id.0.filter(|id| !id.is_empty()) {
            app.standing(id.session.id, received.parse::<Cursor>()?.turn_id).await?
        } else {
            let submission = read_submission(body, key.0).await?;
            let Accepted { turn, position, .. } = app.answer(&id.session, &id.caller, submission).await?;
            (turn, position)
        };
        let response = SubmitResponse { turn_id: turn.id.0, status: turn.status.into(), position };
        Ok(SubmittedResponse::Accepted(Json(response)))
    }

    /// Stop what is in flight
    ///
    /// Answers when the running turn has stopped; with none running, what waits is dropped.
    #[oai(path = "/sessions/:id/cancel", method = "post", operation_id = "cancel_session")]
    async fn cancel(
        &self,
        Data(app): Data<&Arc<App>>,
        id: OwnedSession,
    ) -> Result<Json<CancelSessionResponse>, Refused<Owned>> {
        Ok(Json(app.cancel_turn(id.session.id, &id.caller).await?.into()))
    }
}

/// A submit, unless the client says what it has received already.
pub(super) async fn submit_or_resume(
    app: &Arc<App>,
    session: Session,
    caller: Caller,
    key: Option<String>,
    last_event_id: Option<String>,
    body: SubmitBytes,
) -> Result<StreamResponse, Problem> {
    if last_event_id.as_deref().is_some_and(|id| !id.is_empty()) {
        let place = Place { caller, session: session.id };
        return resume(app, place, None, last_event_id, None).await;
    }
    // The longest of all requests: on the heap it is not part of every stream's.
    let accepted = Box::pin(app.answer(&session, &caller, read_submission(body, key).await?)).await?;
    Ok(StreamResponse::Chunks(EventStream(app.attach(&accepted).await?)))
}

/// Attaches to what is in flight, to a turn, or behind a cursor.
pub(super) async fn resume(
    app: &Arc<App>,
    place: Place,
    turn: Option<TurnId>,
    last_event_id: Option<String>,
    after: Option<String>,
) -> Result<StreamResponse, Problem> {
    let given = last_event_id.filter(|id| !id.is_empty()).or(after.filter(|after| !after.is_empty()));
    let cursor = given.map(|text| text.parse::<Cursor>()).transpose()?;
    Ok(match app.resume_turn(Resume { place, turn, cursor }).await? {
        Attached::Stream(frames) => StreamResponse::Chunks(EventStream(frames)),
        Attached::Nothing => StreamResponse::Nothing,
    })
}
