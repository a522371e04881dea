//! Reading sessions: lists, pages of messages, records of turns; and naming them.

use copilot_shared::id::{SessionId, TurnId, UserId};
use copilot_shared::session::{Session, Title};
use copilot_shared::store::{ActiveTurn, MessagePage, SessionSummary, StoreError, TranscriptPage};
use copilot_shared::turn::Turn;

use super::App;

/// A session with a page of its messages.
pub struct SessionDetail {
    /// The session.
    pub session: Session,
    /// The page.
    pub page: MessagePage,
    /// The turn that a client would follow.
    pub active: Option<ActiveTurn>,
}

impl App {
    /// A page of a user's sessions, and how many there are.
    pub async fn list_sessions(
        &self,
        user: &UserId,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<SessionSummary>, i64), StoreError> {
        self.store.list_sessions(user, limit, offset).await
    }

    /// A session with the newest messages before a sequence number, or the newest of all.
    pub async fn read_session(
        &self,
        session: Session,
        before: Option<i64>,
        limit: i64,
    ) -> Result<SessionDetail, StoreError> {
        // First what is in flight, then the messages: a turn that ends in between is then seen
        // both ways, and never as neither.
        let active = self.store.active_turn(session.id).await?;
        let page = self.store.message_page(session.id, before, limit).await?;
        Ok(SessionDetail { session, page, active })
    }

    /// A session turn by turn: the newest before a sequence number, or the newest of all.
    pub async fn read_transcript(
        &self,
        session: SessionId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<TranscriptPage, StoreError> {
        self.store.transcript(session, before, limit).await
    }

    /// Names a session of the caller's.
    pub async fn rename_session(
        &self,
        session: &Session,
        caller: &copilot_shared::session::Caller,
        title: &Title,
    ) -> Result<bool, StoreError> {
        self.store.rename_session(session.id, caller, title).await
    }

    /// The records of a session's turns, newest first.
    pub async fn list_turns(&self, session: SessionId, limit: i64) -> Result<Vec<Turn>, StoreError> {
        self.store.list_turns(session, limit).await
    }

    /// The record of a turn of the session.
    pub async fn read_turn(&self, session: SessionId, turn: TurnId) -> Result<Option<Turn>, StoreError> {
        self.store.find_turn(session, turn).await
    }
}
