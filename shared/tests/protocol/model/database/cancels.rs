//! Mirrors `shared/src/store/cancels.rs`.

use super::{Content, Database, Finished, OutboxRow, Refused, StepRow, TurnRow};
use crate::mechanism::Mechanism;
use crate::model::chunk::{End, List, Said, Status};
use crate::model::{Attempt, SECOND, SessionId, TurnId, Turns, UserId};

/// `copilot_shared::store::Dropped`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    pub turns: Turns,
    pub next: Turns,
}

/// What clients have seen of a turn that ends without its worker (`copilot_shared::store::Seen`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub unfinished: Said,
    pub chunk_sequence: u32,
}

impl Database {
    /// `Store::cancel_running`.
    pub fn cancel_running(&mut self, session: SessionId) -> Option<TurnId> {
        let (turn, _) = self.rows().find(|(_, row)| row.session == session && row.status == Status::Running)?;
        self.write_intent(turn);
        Some(turn)
    }

    /// `Store::request_cancel_before`.
    pub fn request_cancel_before(&mut self, session: SessionId, turn: TurnId) -> Option<TurnId> {
        if !self.turn(turn).is_waiting() && self.has(Mechanism::InterruptOnlyWhileWaiting) {
            return None;
        }
        let (stopped, _) = self.rows().find(|(_, row)| row.session == session && row.is_ready())?;
        self.write_intent(stopped);
        Some(stopped)
    }

    fn write_intent(&mut self, turn: TurnId) {
        let now = self.now;
        if self.has(Mechanism::IntentInRow) {
            self.turn_mut(turn).cancel_requested_at.get_or_insert(now);
        }
    }

    /// `Store::drop_waiting`.
    pub fn drop_waiting(&mut self, session: SessionId, user: Option<UserId>, only: Option<TurnId>) -> Dropped {
        let turns = self.select(|turn, row| {
            row.session == session
                && row.status == Status::Queued
                && only.is_none_or(|only| only == turn && row.ready_at.is_none())
        });
        let now = self.now;
        for turn in turns {
            let row = self.turn_mut(turn);
            row.status = Status::Cancelled;
            row.finished_at = Some(now);
            row.attempt += 1;
            self.outbox[turn.at()] = None;
            self.messages.retain(|message| message.turn != turn || !matches!(message.content, Content::User(_)));
        }
        Dropped { turns, next: self.promote(session, user) }
    }

    /// `Store::seize`.
    pub fn seize(&mut self, turn: TurnId, attempt: Attempt) -> Result<TurnRow, Refused> {
        let row = *self.turn(turn);
        let fenced = row.attempt != attempt && self.has(Mechanism::EndWithoutWorkerFence);
        if !row.is_in_flight() || fenced {
            return Err(Refused::Fenced);
        }
        let now = self.now;
        let seized = self.turn_mut(turn);
        seized.attempt = row.attempt.max(attempt) + 1;
        seized.worker = None;
        seized.lease_until = now;
        let seized = *seized;
        if row.is_ready() {
            let publishes = self.outbox[turn.at()].map_or(0, |entry| entry.publishes);
            self.outbox[turn.at()] = Some(OutboxRow { due_at: now + 2 * SECOND, publishes });
        }
        Ok(seized)
    }

    /// `Store::end_without_worker`.
    pub fn end_without_worker(
        &mut self,
        turn: TurnId,
        attempt: Attempt,
        end: End,
        seen: &Seen,
    ) -> Result<Finished, Refused> {
        let end = self.end_turn(turn, attempt, end, seen.chunk_sequence)?;
        if !seen.unfinished.is_empty() {
            self.save_unfinished(turn, &seen.unfinished);
        }
        self.close_unanswered(turn, end);
        let row = self.turn(turn);
        let (session, user) = (row.session, row.user);
        let next = if self.has(Mechanism::PromoteAtEnd) { self.promote(session, user) } else { Turns::default() };
        Ok(Finished { end, next })
    }

    /// `save_unfinished`; a piece of text counts as one token.
    fn save_unfinished(&mut self, turn: TurnId, unfinished: &Said) {
        let used = u32::try_from(unfinished.text.1.len() + unfinished.calls.len()).unwrap_or(0);
        let row = self.turn_mut(turn);
        row.steps += 1;
        row.used += used;
        let (session, step) = (row.session, row.steps);
        self.steps.push(StepRow { turn, step, used, estimated: true });
        self.note_unsettled(turn, step, used);
        self.sessions[session.at()].used += used;
        let said = Said { calls: List::empty(crate::model::CallId(0)), ..*unfinished };
        self.say(turn, Content::Assistant(said));
    }
}
