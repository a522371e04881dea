//! Mirrors `shared/src/store/{attempts,steps,tool_calls}.rs`.

use super::{Broken, Content, Database, OutboxRow, Refused, StepRow, TurnRow};
use crate::mechanism::Mechanism;
use crate::model::chunk::{End, Outcome, Said, Status};
use crate::model::{Attempt, CallId, ProcessId, SECOND, TURNS, TurnId, Turns};

/// `copilot_shared::tool::ToolCallStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallStatus {
    Requested,
    Started,
    Finished,
}

/// A row of `tool_calls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallRow {
    pub turn: TurnId,
    pub step: u8,
    pub id: CallId,
    pub status: CallStatus,
    pub outcome: Option<Outcome>,
    pub attempt: Attempt,
}

/// `copilot_shared::store::Claimed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed {
    pub row: TurnRow,
    pub is_steered: bool,
}

/// `copilot_shared::store::StepCommit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepCommit {
    pub step: u8,
    pub said: Said,
    pub used: u32,
    pub estimated: bool,
    pub chunk_sequence: u32,
}

/// What the end of a turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// How it ended.
    pub end: End,
    /// What may run now.
    pub next: Turns,
}

impl Database {
    /// `Store::claim`, its first statement.
    pub fn claim(&mut self, turn: TurnId, worker: ProcessId, redelivered: bool) -> Option<Claimed> {
        let row = *self.turn(turn);
        let free = match row.status {
            Status::Queued => row.ready_at.is_some() || !self.has(Mechanism::ReadyCheck),
            Status::Running => row.worker.is_none_or(|holder| {
                row.lease_until < self.now
                    || !self.has(Mechanism::LeaseCheck)
                    || (redelivered
                        && holder != worker
                        && !(self.locks[holder.at()] && self.has(Mechanism::RedeliveryGuard)))
            }),
            Status::Completed | Status::Failed | Status::Cancelled => false,
        };
        if !free || row.deleted {
            return None;
        }
        let lease_until = self.now + self.settings.lease;
        let claimed = self.turn_mut(turn);
        claimed.status = Status::Running;
        claimed.attempt += 1;
        claimed.losses += u8::from(row.worker.is_some());
        claimed.worker = Some(worker);
        claimed.lease_until = lease_until;
        claimed.started = true;
        let row = *claimed;
        self.outbox[turn.at()] = None;
        Some(Claimed { row, is_steered: self.is_steered(turn) })
    }

    /// `Store::renew`. Returns the turns that the worker still holds, and those of them whose user
    /// wants them stopped.
    pub fn renew(&mut self, worker: ProcessId, held: &[Option<(Attempt, u32)>; TURNS]) -> (Turns, Turns) {
        let (mut kept, mut cancelled) = (Turns::default(), Turns::default());
        let lease_until = self.now + self.settings.lease;
        for (row, (turn, held)) in self.turns.iter_mut().zip((0..).map(TurnId).zip(held)) {
            let Some((attempt, stored)) = *held else { continue };
            if row.attempt != attempt || row.worker != Some(worker) || row.status != Status::Running {
                continue;
            }
            row.lease_until = lease_until;
            row.chunk_sequence = row.chunk_sequence.max(stored);
            self.outbox[turn.at()] = None;
            kept.insert(turn);
            if row.cancel_requested_at.is_some() {
                cancelled.insert(turn);
            }
        }
        (kept, cancelled)
    }

    /// `Store::hand_back`.
    pub fn hand_back(&mut self, turn: TurnId, attempt: Attempt) -> Result<(), Refused> {
        let now = self.now;
        let row = self.held(turn, attempt)?;
        row.worker = None;
        row.lease_until = now;
        let publishes = self.outbox[turn.at()].map_or(0, |entry| entry.publishes);
        self.outbox[turn.at()] = Some(OutboxRow { due_at: now + SECOND, publishes });
        Ok(())
    }

    /// `Store::give_up`.
    pub fn give_up(&mut self, turn: TurnId, attempt: Attempt) {
        let now = self.now;
        if let Ok(row) = self.held(turn, attempt) {
            row.lease_until = now.saturating_sub(SECOND);
        }
    }

    /// `Store::holds`.
    pub fn holds(&self, turn: TurnId, attempt: Attempt) -> bool {
        let row = self.turn(turn);
        row.attempt == attempt && (row.status == Status::Running || row.finished_at.is_some())
    }

    /// `Store::commit_step`.
    pub fn commit_step(&mut self, turn: TurnId, attempt: Attempt, step: &StepCommit) -> Result<(), Refused> {
        self.write_step(turn, attempt, step, None).map(|_| ())
    }

    /// `Store::calls_of_step`.
    pub fn calls_of_step(&self, turn: TurnId, step: u8) -> impl Iterator<Item = CallRow> {
        self.calls.iter().copied().filter(move |call| call.turn == turn && call.step == step)
    }

    /// The fence of `Store::start_calls`: what the share lock would keep.
    pub fn start_calls_fence(&mut self, turn: TurnId, attempt: Attempt) -> Result<(), Refused> {
        self.held(turn, attempt).map(|_| ())
    }

    /// The writes of `Store::start_calls`.
    pub fn start_calls_unfenced(&mut self, turn: TurnId, attempt: Attempt, calls: &[CallId]) -> Result<(), Refused> {
        let mut started = 0;
        for call in self.calls.iter_mut().filter(|call| call.turn == turn && calls.contains(&call.id)) {
            if call.status != CallStatus::Finished {
                call.status = CallStatus::Started;
                call.attempt = attempt;
                started += 1;
            }
        }
        if started == calls.len() { Ok(()) } else { Err(Refused::Fenced) }
    }

    /// `Store::start_calls`.
    pub fn start_calls(&mut self, turn: TurnId, attempt: Attempt, calls: &[CallId]) -> Result<(), Refused> {
        self.start_calls_fence(turn, attempt)?;
        self.start_calls_unfenced(turn, attempt, calls)
    }

    /// `Store::finish_call`.
    pub fn finish_call(
        &mut self,
        turn: TurnId,
        attempt: Attempt,
        call: CallId,
        outcome: Outcome,
    ) -> Result<(), Refused> {
        self.held(turn, attempt)?;
        let once = self.has(Mechanism::OutcomeOnce);
        let open =
            |row: &&mut CallRow| row.turn == turn && row.id == call && (row.status != CallStatus::Finished || !once);
        let row = self.calls.iter_mut().find(open).ok_or(Refused::Fenced)?;
        row.status = CallStatus::Finished;
        row.outcome = Some(outcome);
        row.attempt = attempt;
        self.say(turn, Content::Tool(call, outcome));
        Ok(())
    }

    /// `Store::has_finished_call`.
    pub fn has_finished_call(&self, turn: TurnId, attempt: Attempt, call: CallId) -> bool {
        let done = |row: &CallRow| row.turn == turn && row.id == call && row.status == CallStatus::Finished;
        self.calls.iter().any(|row| done(row) && row.attempt == attempt)
    }

    /// `Store::finish`.
    pub fn finish(
        &mut self,
        turn: TurnId,
        attempt: Attempt,
        end: End,
        last: Option<&StepCommit>,
        reaches: u32,
    ) -> Result<Finished, Refused> {
        let end = self.finish_unpromoted(turn, attempt, end, last, reaches)?;
        let row = self.turn(turn);
        let (session, user) = (row.session, row.user);
        let next = if self.has(Mechanism::PromoteAtEnd) { self.promote(session, user) } else { Turns::default() };
        Ok(Finished { end, next })
    }

    /// The first half of `Store::finish`.
    pub fn finish_unpromoted(
        &mut self,
        turn: TurnId,
        attempt: Attempt,
        end: End,
        last: Option<&StepCommit>,
        reaches: u32,
    ) -> Result<End, Refused> {
        let end = match last {
            Some(step) => self.write_step(turn, attempt, step, Some(end))?,
            None => self.end_turn(turn, attempt, end, reaches)?,
        };
        self.close_unanswered(turn, end);
        Ok(end)
    }

    /// `end_turn`. Returns the end that the row tells of.
    pub(super) fn end_turn(&mut self, turn: TurnId, attempt: Attempt, end: End, reaches: u32) -> Result<End, Refused> {
        let (newest, running) = (self.has(Mechanism::AttemptFenceInRow), self.has(Mechanism::EndFenceInRow));
        let row = self.turn(turn);
        let holds = (row.attempt == attempt || !newest) && (row.is_in_flight() || !running) && !row.deleted;
        if !holds {
            return Err(Refused::Fenced);
        }
        if self.has(Mechanism::ReachAtEnd) {
            let row = self.turn_mut(turn);
            row.chunk_sequence = row.chunk_sequence.max(reaches);
        }
        Ok(self.set_end(turn, end))
    }

    fn set_end(&mut self, turn: TurnId, end: End) -> End {
        let (now, wins) = (self.now, self.has(Mechanism::IntentWins));
        let row = self.turn_mut(turn);
        let end = if row.cancel_requested_at.is_some() && wins { End::Cancelled } else { end };
        row.status = end.status();
        row.finished_at = Some(now);
        row.worker = None;
        row.error = if let End::Failed(code) = end { Some(code) } else { None };
        self.outbox[turn.at()] = None;
        end
    }

    /// `write_step`. Returns the end that the row tells of.
    fn write_step(
        &mut self,
        turn: TurnId,
        attempt: Attempt,
        step: &StepCommit,
        end: Option<End>,
    ) -> Result<End, Refused> {
        self.held(turn, attempt)?;
        let known = self.steps.iter().any(|row| (row.turn, row.step) == (turn, step.step));
        if known && self.has(Mechanism::UsageKey) {
            return Err(Refused::Broken(Broken::StepKey));
        }
        let asked = |call| self.calls.iter().any(|row| (row.turn, row.id) == (turn, call));
        if step.said.calls.iter().any(asked) && self.has(Mechanism::CallKey) {
            return Err(Refused::Broken(Broken::CallKey));
        }
        let row = self.turn_mut(turn);
        row.steps = step.step;
        row.chunk_sequence = step.chunk_sequence;
        row.used += step.used;
        let session = row.session;
        let end = end.map(|end| self.set_end(turn, end));
        self.steps.push(StepRow { turn, step: step.step, used: step.used, estimated: step.estimated });
        self.note_unsettled(turn, step.step, step.used);
        let requested = step.said.calls.iter().map(|id| CallRow {
            turn,
            step: step.step,
            id,
            status: CallStatus::Requested,
            outcome: None,
            attempt,
        });
        self.calls.extend(requested);
        self.sessions[session.at()].used += step.used;
        if !step.said.is_empty() {
            self.say(turn, Content::Assistant(step.said));
        }
        Ok(end.unwrap_or(End::Completed))
    }

    /// `close_unanswered`.
    pub(super) fn close_unanswered(&mut self, turn: TurnId, end: End) {
        if !self.has(Mechanism::CloseUnanswered) {
            return;
        }
        for at in 0..self.calls.len() {
            let row = &mut self.calls[at];
            if row.turn == turn && row.status != CallStatus::Finished {
                row.status = CallStatus::Finished;
                row.outcome = Some(end.unanswered());
                let call = row.id;
                self.say(turn, Content::Tool(call, end.unanswered()));
            }
        }
    }
}
