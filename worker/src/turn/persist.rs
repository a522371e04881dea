//! The attempt's writes to PostgreSQL, repeated while it is away.
//!
//! An answer can be lost after the commit, so a repetition may find its own work done: each write
//! knows how to tell that from being fenced off.

use std::time::Duration;

use copilot_shared::id::{SessionId, ToolCallId, TurnId, UserId};
use copilot_shared::message::{HistoryMessage, ToolOutcome};
use copilot_shared::store::{Fenced, Finished, PendingCall, StepCommit, Store, StoreError};
use copilot_shared::turn::{Turn, TurnEnd, TurnStatus};
use copilot_shared::understanding::Understanding;
use copilot_shared::usage::TokenUsage;
use tokio_util::sync::CancellationToken;

use super::Stopped;

/// The rows of one attempt.
pub(super) struct Persistence {
    store: Store,
    turn: Turn,
    lost: CancellationToken,
    usage: std::sync::Mutex<TokenUsage>,
}

/// Whether the last answer may have been lost after a commit.
type Ambiguous = bool;

impl Persistence {
    pub(super) fn new(store: Store, turn: &Turn, lost: CancellationToken) -> Self {
        Self { store, turn: turn.clone(), lost, usage: std::sync::Mutex::new(turn.usage) }
    }

    /// What the committed steps used.
    pub(super) fn committed_usage(&self) -> TokenUsage {
        *self.usage.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) async fn history(&self, session: SessionId, limit: i64) -> Result<Vec<HistoryMessage>, Stopped> {
        self.read("history", || self.store.history(session, limit)).await
    }

    pub(super) async fn history_with_places(
        &self,
        session: SessionId,
        limit: i64,
    ) -> Result<Vec<(i64, HistoryMessage)>, Stopped> {
        self.read("history", || self.store.history_with_places(session, limit)).await
    }

    pub(super) async fn save_summary(&self, up_to: i64, summary: &str) -> Result<(), Stopped> {
        let write = || self.store.save_summary(self.turn.id, self.turn.attempt, up_to, summary);
        Ok(self.repeat("summary", write).await.0?)
    }

    pub(super) async fn understanding(&self, user: &UserId) -> Result<Understanding, Stopped> {
        self.read("understanding", || self.store.understanding(user)).await
    }

    pub(super) async fn calls_of_step(&self, turn: TurnId, step: i32) -> Result<Vec<PendingCall>, Stopped> {
        self.read("calls", || self.store.calls_of_step(turn, step)).await
    }

    pub(super) async fn commit_step(&self, step: &StepCommit) -> Result<(), Stopped> {
        let write = || self.store.commit_step(self.turn.id, self.turn.attempt, step);
        match self.repeat("step", write).await {
            (Ok(()), _) => {}
            (Err(Fenced::Store(error)), true) if error.breaks("turn_steps_pkey") => {}
            (Err(error), _) => return Err(error.into()),
        }
        *self.usage.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += step.usage;
        Ok(())
    }

    /// Makes messages that steer the turn part of it. True if the history may have grown.
    /// The turns whose messages became part of this one; `None` if there surely are none.
    pub(super) async fn take_steering(&self) -> Result<Option<Vec<TurnId>>, Stopped> {
        let write = || self.store.take_steering(self.turn.id, self.turn.attempt);
        let (taken, ambiguous) = self.repeat("steering", write).await;
        let taken = taken?;
        Ok((ambiguous || !taken.is_empty()).then_some(taken))
    }

    pub(super) async fn start_calls(&self, calls: &[ToolCallId]) -> Result<(), Stopped> {
        let write = || self.store.start_calls(self.turn.id, self.turn.attempt, calls);
        Ok(self.repeat("start of calls", write).await.0?)
    }

    pub(super) async fn finish_call(&self, call: &PendingCall, outcome: &ToolOutcome) -> Result<(), Stopped> {
        let (turn, attempt) = (self.turn.id, self.turn.attempt);
        match self.repeat("end of a call", || self.store.finish_call(turn, attempt, call, outcome)).await {
            (Err(Fenced::Fenced), true) => {
                let done = self.read("call", || self.store.has_finished_call(turn, attempt, &call.id)).await?;
                if done { Ok(()) } else { Err(Stopped::Lost) }
            }
            (result, _) => Ok(result?),
        }
    }

    pub(super) async fn hand_back(&self) -> Result<(), Stopped> {
        let write = || self.store.hand_back(self.turn.id, self.turn.attempt);
        Ok(self.repeat("handing back", write).await.0?)
    }

    /// Ends the turn, whose stream reaches as far as `reaches`.
    pub(super) async fn finish(
        &self,
        end: &TurnEnd,
        last: Option<&StepCommit>,
        reaches: u64,
    ) -> Result<Finished, Stopped> {
        let turn = Turn { chunk_sequence: i64::try_from(reaches).unwrap_or(i64::MAX), ..self.turn.clone() };
        match self.repeat("end", || self.store.finish(&turn, end, last)).await {
            (Err(Fenced::Fenced), true) => {
                let row = self.read("turn", || self.store.turn_of_any_session(self.turn.id)).await?;
                let ours = row.filter(|row| row.attempt == self.turn.attempt);
                match ours.map(|row| row.status) {
                    // What may run now is in the outbox, committed with the end.
                    Some(TurnStatus::Cancelled) => Ok(Finished { end: TurnEnd::Cancelled, next: Vec::new() }),
                    Some(status) if status == end.status() => Ok(Finished { end: end.clone(), next: Vec::new() }),
                    _ => Err(Stopped::Lost),
                }
            }
            (result, _) => Ok(result?),
        }
    }

    async fn read<T, F>(&self, what: &'static str, read: impl Fn() -> F) -> Result<T, Stopped>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let (result, _) = self.repeat(what, || async { read().await.map_err(Fenced::Store) }).await;
        Ok(result?)
    }

    async fn repeat<T, F>(&self, what: &'static str, write: impl Fn() -> F) -> (Result<T, Fenced>, Ambiguous)
    where
        F: Future<Output = Result<T, Fenced>>,
    {
        let mut ambiguous = false;
        let mut pause = Duration::from_millis(50);
        loop {
            match write().await {
                Err(Fenced::Store(error)) if error.is_passing() => {
                    tracing::warn!(turn.id = %self.turn.id, error = &error as &dyn std::error::Error, "{what} could not be saved or read; trying again");
                    ambiguous = true;
                }
                result => return (result, ambiguous),
            }
            tokio::select! {
                () = self.lost.cancelled() => return (Err(Fenced::Fenced), false),
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(1)),
            }
        }
    }
}
