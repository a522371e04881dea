//! What a turn may still use: asked before each model call, told after each.

use std::time::Duration;

use copilot_shared::id::{TurnId, UserId};
use copilot_shared::meter::{Meter, MeterError};
use copilot_shared::store::StepCommit;
use copilot_shared::turn::{ErrorCode, Failure, Turn};
use copilot_shared::usage::limits::Used;
use copilot_shared::windows::{StepUse, Then, WindowsError};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Stopped;
use crate::running::Signals;

/// How long what the last settlement said of the counters is as good as asking: longer, and tools
/// ran for so long that other turns may have used a lot.
const FRESH: Duration = Duration::from_secs(1);

/// How long a turn waits for counters that cannot be read. Its stream is in the same server, so
/// the user sees nothing happen anyway; after this they are told so, and can try again.
const PATIENCE: Duration = Duration::from_mins(1);

/// The usage of one attempt's turn. One call of the counters for each model call, and one more at
/// the start.
pub(super) struct Allowance {
    meter: Meter,
    turn: TurnId,
    /// Whose limits apply; an anonymous session has none.
    user: Option<UserId>,
    signals: Signals,
    /// What the counters said, and when.
    seen: Option<(Used, Instant)>,
    /// Steps that were counted, to be noted together.
    settled: mpsc::Sender<(TurnId, i32)>,
}

impl Allowance {
    pub(super) fn new(meter: &Meter, turn: &Turn, signals: &Signals, settled: &mpsc::Sender<(TurnId, i32)>) -> Self {
        Self {
            meter: meter.clone(),
            turn: turn.id,
            user: turn.user_id.clone(),
            signals: signals.clone(),
            seen: None,
            settled: settled.clone(),
        }
    }

    /// May the turn make another model call? `None` if so, else why it ends. `None` as well when
    /// the turn is to be stopped or handed back, which the caller looks at next.
    pub(super) async fn refusal(&mut self) -> Result<Option<Failure>, Stopped> {
        let Some(user) = self.user.clone() else { return Ok(None) };
        if self.signals.cancel.is_cancelled() || self.signals.hand_back.is_cancelled() {
            return Ok(None);
        }
        let began = Instant::now();
        let mut pause = Duration::from_millis(100);
        loop {
            let error = match self.ask(&user).await {
                Ok(()) => return Ok(None),
                Err(error) => error,
            };
            match &error {
                MeterError::Reached(reached) => {
                    tracing::info!(turn.id = %self.turn, window = reached.window.as_str(), "a turn reached a usage limit");
                    return Ok(Some(Failure::new(ErrorCode::LimitReached, reached.to_string())));
                }
                // Without the database a turn can do nothing else, so it waits for it as ever.
                MeterError::Store(error) if error.is_passing() => {}
                MeterError::Unreadable(error) if error.is_passing() && began.elapsed() < PATIENCE => {}
                MeterError::Store(_) | MeterError::Unreadable(_) => {
                    tracing::error!(turn.id = %self.turn, error = &error as &dyn std::error::Error, "a turn ends because usage cannot be checked");
                    let sentence = "Your usage could not be checked. Please try again later.";
                    return Ok(Some(Failure::new(ErrorCode::UsageUnavailable, sentence)));
                }
            }
            tracing::warn!(turn.id = %self.turn, error = &error as &dyn std::error::Error, "usage could not be checked; trying again");
            tokio::select! {
                () = self.signals.lost.cancelled() => return Err(Stopped::Lost),
                () = self.signals.cancel.cancelled() => return Ok(None),
                () = self.signals.hand_back.cancelled() => return Ok(None),
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(2)),
            }
        }
    }

    async fn ask(&mut self, user: &UserId) -> Result<(), MeterError> {
        match self.seen.take() {
            Some((used, asked)) if asked.elapsed() < FRESH => self.meter.check_against(user, used).await,
            _ => self.meter.check(user).await,
        }
    }

    /// Counts a committed step. What cannot be counted now is counted by the reconciler: the step
    /// was committed with a note of it.
    pub(super) async fn settle(&mut self, step: &StepCommit, then: Then) -> bool {
        let Some(user) = self.user.clone() else { return true };
        let weighted = step.usage.weighted();
        if weighted == 0 {
            return then == Then::GoesOn || self.release().await;
        }
        let used = StepUse { turn: self.turn, step: step.step, weighted, used_at: step.used_at };
        let settled = self.meter.settle(&user, &used, then).await;
        if settled.is_ok() && self.settled.try_send((self.turn, step.step)).is_err() {
            tracing::debug!(turn.id = %self.turn, "left to the reconciler to note as settled");
        }
        match settled {
            Ok(used) => self.seen = used.map(|used| (used, Instant::now())),
            Err(error) => return self.put_off(&error),
        }
        true
    }

    /// Gives back what the turn has reserved. False if that is left to the reconciler.
    pub(super) async fn release(&self) -> bool {
        let Some(user) = &self.user else { return true };
        match self.meter.windows().release(user, self.turn).await {
            Ok(()) => true,
            Err(error) => self.put_off(&error),
        }
    }

    /// Gives back what turns have reserved whose messages are answered by this one now.
    pub(super) async fn take_over(&self, turns: &[TurnId]) {
        let Some(user) = &self.user else { return };
        for &turn in turns {
            self.meter.release(user, turn).await;
        }
    }

    fn put_off(&self, error: &WindowsError) -> bool {
        tracing::warn!(turn.id = %self.turn, error = error as &dyn std::error::Error, "usage is counted later");
        false
    }
}
