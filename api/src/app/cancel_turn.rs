//! Stopping what runs in a session.

use std::time::Duration;

use copilot_shared::id::{SessionId, TurnId};
use copilot_shared::seal::{end_without_worker, seal};
use copilot_shared::session::Caller;
use copilot_shared::store::{CancelRequest, Dropped};
use copilot_shared::turn::TurnEnd;

use super::App;
use crate::problem::Problem;

/// How long a worker has to stop a turn before it is fenced off.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a cancel came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The running turn was stopped, and its stream has said so.
    Stopped,
    /// Nothing ran; what waited was dropped.
    Dequeued,
    /// Nothing was in flight.
    Idle,
}

/// Who is noted as having stopped a turn.
fn name_of(caller: &Caller) -> String {
    caller.user_id().map_or_else(|| "anonymous".to_owned(), ToString::to_string)
}

impl App {
    /// Stops the running turn of a session that is known to be the caller's, or drops what waits.
    pub async fn cancel_turn(&self, caller: &Caller, session: SessionId) -> Result<Cancelled, Problem> {
        match self.store.request_cancel(session, caller.user_id(), &name_of(caller)).await? {
            CancelRequest::Idle => Ok(Cancelled::Idle),
            CancelRequest::Dropped(dropped) => {
                self.close_dropped(dropped).await;
                Ok(Cancelled::Dequeued)
            }
            CancelRequest::Requested(turn) => {
                self.stop(session, turn).await?;
                Ok(Cancelled::Stopped)
            }
        }
    }

    /// Drops one waiting turn; false if it no longer waits.
    pub async fn drop_queued(&self, caller: &Caller, session: SessionId, turn: TurnId) -> Result<bool, Problem> {
        let dropped = self.store.drop_waiting(session, caller.user_id(), Some(turn), &name_of(caller)).await?;
        let found = !dropped.turns.is_empty();
        self.close_dropped(dropped).await;
        Ok(found)
    }

    /// Asks for the running turn to stop without waiting for it: another one is to run next.
    pub async fn interrupt(&self, caller: &Caller, session: SessionId) {
        match self.store.cancel_running(session, &name_of(caller)).await {
            Ok(Some(turn)) => self.spread_cancel(turn).await,
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(session.id = %session, error = &error as &dyn std::error::Error, "a turn could not be interrupted; the next one waits for its end");
            }
        }
    }

    async fn stop(&self, session: SessionId, turn: TurnId) -> Result<(), Problem> {
        // Listening begins first, so that the end cannot be missed.
        let ended = self.relay.ended(turn);
        let asked = async {
            self.spread_cancel(turn).await;
            std::future::pending::<()>().await;
        };
        let confirmed = tokio::time::timeout(PATIENCE, async {
            tokio::select! {
                () = ended => {}
                () = asked => {}
            }
        });
        if confirmed.await.is_ok() {
            return Ok(());
        }
        tracing::warn!(turn.id = %turn, "no worker stopped the turn in time; ending it without one");
        let Some(row) = self.store.find_turn(session, turn).await? else { return Ok(()) };
        if let Some(next) = end_without_worker(&self.store, &self.streams, &row, &TurnEnd::Cancelled).await? {
            self.publish(&next).await;
        }
        Ok(())
    }

    async fn spread_cancel(&self, turn: TurnId) {
        if let Err(error) = self.publisher.publish_cancel(turn).await {
            tracing::warn!(turn.id = %turn, error = &error as &dyn std::error::Error, "a cancel was not spread; the lease renewal will find it");
        }
    }

    async fn close_dropped(&self, dropped: Dropped) {
        for turn in &dropped.turns {
            if let Err(error) = seal(&self.store, &self.streams, turn).await {
                tracing::warn!(turn.id = %turn.id, error = &error as &dyn std::error::Error, "a dropped turn's stream is not sealed yet; the reconciler will");
            }
        }
        self.publish(&dropped.next).await;
    }
}
