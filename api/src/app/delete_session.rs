//! Deleting a session: what is in flight stops first, then rows and streams go.

use copilot_shared::id::TurnId;
use copilot_shared::session::{Caller, Session};
use copilot_shared::turn::Turn;
use futures_util::StreamExt;

use super::submit_turn::by;
use super::{App, StopError};

/// How many streams are forgotten at a time.
const AT_ONCE: usize = 16;
/// More turns than a session has streams in Redis.
const MANY: i64 = 100_000;

impl App {
    /// Deletes a session of the caller's; false if it was deleted meanwhile.
    pub async fn delete_session(&self, session: &Session, caller: &Caller) -> Result<bool, StopError> {
        // What waits goes first, so that nothing begins when the running turn has stopped.
        let dropped = self.store.drop_waiting(session.id, caller.user_id(), None, by(caller)).await?;
        self.see_off(dropped).await;
        if let Err(error) = self.cancel_turn(session.id, caller).await {
            // The rows decide: a worker that goes on finds its turn gone and stops.
            tracing::warn!(session.id = %session.id, error = &error as &dyn std::error::Error, "a session is deleted under its running turn");
        }
        let turns = self.store.list_turns(session.id, MANY).await?;
        let deleted = self.store.delete_session(session.id, caller).await?;
        self.forget(&turns).await;
        Ok(deleted)
    }

    /// Drops the streams. One that stays behind expires by itself.
    async fn forget(&self, turns: &[Turn]) {
        let oldest = chrono::Utc::now() - self.streams.ttl() * 2;
        let stored = turns.iter().filter(|turn| turn.finished_at.is_none_or(|at| at > oldest));
        let ids: Vec<TurnId> = stored.map(|turn| turn.id).collect();
        futures_util::stream::iter(ids)
            .for_each_concurrent(AT_ONCE, |turn| async move {
                if let Err(error) = self.streams.forget(turn).await {
                    tracing::warn!(turn.id = %turn, error = &error as &dyn std::error::Error, "a deleted session's stream is left to expire");
                }
            })
            .await;
    }
}
