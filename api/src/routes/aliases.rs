//! The routes that the default transport of the AI SDK's `useChat` calls.

use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Path, Query};

use super::Tag;
use super::streams::{StreamChatRequest, SubmitHeaders, resume_session, submit_and_follow};
use crate::app::App;
use crate::auth::AnyCaller;
use crate::body::JsonBody;
use crate::problem::{Failure, Problem, Resumes, Submits};
use crate::sse::EventStream;

/// The group.
#[derive(Debug)]
pub struct Aliases;

#[OpenApi(prefix_path = "/api")]
impl Aliases {
    /// Send a message to the session in `id`
    #[oai(path = "/chat", method = "post", operation_id = "use_chat_send", tag = "Tag::UseChat")]
    async fn send(
        &self,
        app: Data<&App>,
        caller: AnyCaller,
        /// A cursor: resume instead of submitting
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
        /// Makes the call idempotent for 24 hours
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
        body: JsonBody<StreamChatRequest>,
    ) -> Result<EventStream, Failure<Submits>> {
        let body = body.peek()?;
        let named = body.request().session();
        let missing = || Problem::field(&["body", "id"], "missing", "the id of the session is required");
        let id = named.ok_or_else(missing)?;
        let session = app.owned_session(&caller.0, &id).await?;
        let headers = SubmitHeaders { last_event_id: last_event_id.0, idempotency_key: idempotency_key.0 };
        Ok(submit_and_follow(&app, &caller.0, session.id, body.into_body(), headers).await?)
    }

    /// Follow what is in flight
    #[oai(path = "/chat/:session_id/stream", method = "get", operation_id = "use_chat_resume", tag = "Tag::UseChat")]
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
        let cursor = super::streams::cursor(last_event_id.0, after.0);
        Ok(resume_session(&app, caller.0, session_id.0, cursor).await?)
    }
}
