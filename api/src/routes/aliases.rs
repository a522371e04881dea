//! The paths of the AI SDK's default transport, so that `useChat` needs no adapter.

use std::sync::Arc;

use copilot_shared::id::SessionId;
use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Query};

use super::Tag;
use super::streams::{Resuming, StreamResponse, Submitting, resume, submit_or_resume};
use super::submission::SubmitBytes;
use crate::app::App;
use crate::auth::{Asking, FollowedSession, Place};
use crate::problem::{Problem, Refused};

pub(super) struct AliasRoutes;

#[OpenApi(prefix_path = "/api", tag = "Tag::Streams")]
impl AliasRoutes {
    /// Submit a message and stream its answer (`useChat`)
    ///
    /// As `stream_chat`; the session is the body's `id`.
    #[oai(path = "/chat", method = "post", operation_id = "stream_ui_chat")]
    async fn submit(
        &self,
        Data(app): Data<&Arc<App>>,
        who: Asking,
        /// Makes the call idempotent
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<String>>,
        /// Resumes instead of submitting
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
        body: SubmitBytes,
    ) -> Result<StreamResponse, Refused<Submitting>> {
        let named = body.session()?;
        let session: SessionId = named.parse().map_err(|_| Problem::no_session(&named))?;
        let place = Place { caller: who.0, session };
        let session = app.owned_session(&place).await?;
        Ok(submit_or_resume(app, session, place.caller, key.0, last_event_id.0, body).await?)
    }

    /// Follow what is in flight (`useChat`)
    ///
    /// As `resume_stream`.
    #[oai(path = "/chat/:id/stream", method = "get", operation_id = "resume_ui_stream")]
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
}
