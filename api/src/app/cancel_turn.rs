//! Stopping what is in flight, and answering once it has stopped.

use std::time::Duration;

use copilot_shared::id::{SessionId, TurnId};
use copilot_shared::seal::{end_without_worker, seal};
use copilot_shared::session::Caller;
use copilot_shared::store::{CancelRequest, Dropped};
use copilot_shared::turn::TurnEnd;

use super::submit_turn::by;
use super::{App, StopError};

/// How long a worker has to stop a turn before it is fenced off.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a cancel did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The running turn has stopped.
    Stopped,
    /// Nothing ran; what waited was dropped.
    Dequeued,
    /// Nothing was in flight.
    Idle,
}

impl App {
    /// Stops a session's running turn; with none running, drops what waits.
    pub async fn cancel_turn(&self, session: SessionId, caller: &Caller) -> Result<Cancelled, StopError> {
        match self.store.request_cancel(session, caller.user_id(), by(caller)).await? {
            CancelRequest::Idle => Ok(Cancelled::Idle),
            CancelRequest::Dropped(dropped) => {
                self.see_off(dropped).await;
                Ok(Cancelled::Dequeued)
            }
            CancelRequest::Requested(turn) => {
                self.stop_turn(turn).await?;
                Ok(Cancelled::Stopped)
            }
        }
    }

    /// Waits until a turn that carries the intent has stopped; if no worker does it, we do.
    pub(super) async fn stop_turn(&self, id: TurnId) -> Result<(), StopError> {
        self.tell_workers_to_stop(id).await;
        if tokio::time::timeout(PATIENCE, self.relay.ended(id)).await.is_ok() {
            return Ok(());
        }
        // Twice: a claim in between makes the first try void, and not the wish.
        for _ in 0..2 {
            let Some(turn) = self.store.turn_of_any_session(id).await? else { return Ok(()) };
            if turn.status.is_terminal() {
                seal(&self.store, &self.streams, &turn).await?;
                return Ok(());
            }
            if let Some(next) = end_without_worker(&self.store, &self.streams, &turn, &TurnEnd::Cancelled).await? {
                tracing::warn!(turn.id = %id, "no worker stopped a turn in time; it was fenced off");
                self.publish_soon(next);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Gives dropped turns' streams their end, and lets run what may run now. The rows have ended,
    /// so a stream that cannot be sealed now is sealed by the reconciler.
    pub(super) async fn see_off(&self, dropped: Dropped) {
        self.publish_soon(dropped.next);
        for turn in &dropped.turns {
            if let Err(error) = seal(&self.store, &self.streams, turn).await {
                tracing::warn!(turn.id = %turn.id, error = &error as &dyn std::error::Error, "a dropped turn's stream is sealed later");
            }
        }
    }
}
