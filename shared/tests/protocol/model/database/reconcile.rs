//! Mirrors `shared/src/store/reconcile.rs`.

use super::{Database, OutboxRow, TurnRow};
use crate::mechanism::Mechanism;
use crate::model::chunk::Status;
use crate::model::{SECOND, SessionId, Tick, TurnId, Turns, UserId};

impl Database {
    /// `Store::enqueue_lapsed`.
    pub fn enqueue_lapsed(&mut self) {
        let now = self.now;
        if self.has(Mechanism::LapsedLook) {
            let lapsed = self.select(|_, row| row.status == Status::Running && row.lease_until + 2 < now);
            self.enqueue(lapsed);
        }
    }

    /// `Store::enqueue_forgotten`.
    pub fn enqueue_forgotten(&mut self) {
        let now = self.now;
        if self.has(Mechanism::ForgottenLook) {
            let since = |ready_at: Option<Tick>| ready_at.is_some_and(|ready_at| ready_at + 10 * SECOND < now);
            let forgotten = self.select(|_, row| row.status == Status::Queued && since(row.ready_at));
            self.enqueue(forgotten);
        }
    }

    fn enqueue(&mut self, turns: Turns) {
        for turn in turns {
            self.outbox[turn.at()].get_or_insert(OutboxRow { due_at: self.now, publishes: 0 });
        }
    }

    /// `Store::overdue_turns`.
    pub fn overdue_turns(&self, longest_wait: Tick) -> Turns {
        let now = self.now;
        let since = |ready_at: Option<Tick>| ready_at.is_some_and(|ready_at| ready_at + longest_wait < now);
        self.select(|_, row| row.status == Status::Queued && since(row.ready_at))
    }

    /// `Store::uncancelled_turns`.
    pub fn uncancelled_turns(&self, patience: Tick) -> Turns {
        if !self.has(Mechanism::UncancelledLook) {
            return Turns::default();
        }
        let since = |row: &TurnRow| row.cancel_requested_at.is_some_and(|at| at + patience < self.now);
        self.select(|_, row| row.status == Status::Running && since(row))
    }

    /// `Store::unsealed_turns`.
    pub fn unsealed_turns(&self, settled: Tick) -> Turns {
        if !self.has(Mechanism::UnsealedLook) {
            return Turns::default();
        }
        self.select(|_, row| !row.sealed && row.finished_at.is_some_and(|at| at + settled < self.now))
    }

    /// `Store::note_sealed`.
    pub fn note_sealed(&mut self, turns: Turns) {
        for turn in turns {
            let row = self.turn_mut(turn);
            row.sealed |= row.finished_at.is_some();
        }
    }

    /// The first statement of `Store::promote_stuck`: one session's stuck head with its user.
    pub fn stuck_sessions(&self) -> Vec<(SessionId, Option<UserId>)> {
        if !self.has(Mechanism::StuckLook) {
            return Vec::new();
        }
        let busy = |session| self.rows().any(|(_, row)| row.session == session && row.is_ready());
        let stuck = self
            .rows()
            .filter(|(_, row)| row.is_waiting() && row.created_at + 5 * SECOND < self.now && !busy(row.session));
        let mut sessions: Vec<_> = stuck.map(|(_, row)| (row.session, row.user)).collect();
        sessions.dedup_by_key(|(session, _)| *session);
        sessions
    }

    /// The transaction of `Store::promote_stuck` for one session.
    pub fn promote_stuck(&mut self, session: SessionId, user: Option<UserId>) -> Turns {
        self.promote(session, user)
    }

    /// Rows as a query returned them.
    pub fn rows_of(&self, turns: Turns) -> Vec<(TurnId, TurnRow)> {
        turns.map(|turn| (turn, *self.turn(turn))).collect()
    }
}
