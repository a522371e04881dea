//! Deleting a session: stopped, forgotten, gone.

use copilot_shared::session::{Caller, Session};

use super::App;
use crate::problem::Problem;

/// Turns whose streams are forgotten with their session; older ones have expired.
const RECENT_TURNS: i64 = 1_000;

impl App {
    /// Deletes a session that is known to be the caller's.
    pub async fn delete_session(&self, caller: &Caller, session: &Session) -> Result<(), Problem> {
        // A turn that cannot be stopped in good order loses its row, and so its worker, all the same.
        if let Err(problem) = self.cancel_turn(caller, session.id).await {
            tracing::warn!(session.id = %session.id, ?problem, "a turn of a session that is deleted was not stopped");
        }
        let turns = self.store.list_turns(session.id, RECENT_TURNS).await?;
        if !self.store.delete_session(session.id, caller).await? {
            return Err(Problem::no_session(&session.id.to_string()));
        }
        for turn in turns {
            if let Err(error) = self.streams.forget(turn.id).await {
                tracing::warn!(turn.id = %turn.id, error = &error as &dyn std::error::Error, "the stream of a deleted turn stays until it expires");
            }
        }
        Ok(())
    }
}
