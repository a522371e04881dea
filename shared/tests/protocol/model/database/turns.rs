//! Mirrors `shared/src/store/turns.rs`.

use std::cmp::Reverse;

use super::{Content, DISPATCH_GRACE, Database, OutboxRow, TurnRow};
use crate::mechanism::Mechanism;
use crate::model::chunk::List;
use crate::model::{SESSIONS, SessionId, TurnId, Turns, UserId};

impl Database {
    /// `Store::position`: 1 is next, 0 if it does not wait.
    pub fn position(&self, turn: TurnId) -> usize {
        let row = self.turn(turn);
        if !row.is_waiting() {
            return 0;
        }
        let rank = |turn: TurnId, row: &TurnRow| (row.priority, Reverse(turn));
        let before = |(other, r): &(TurnId, &TurnRow)| {
            r.session == row.session && r.is_waiting() && rank(*other, r) >= rank(turn, row)
        };
        self.rows().filter(before).count()
    }

    /// `Store::promote`: the next turn of the session, and those of the user's other sessions that
    /// only their cap held back.
    pub fn promote(&mut self, session: SessionId, user: Option<UserId>) -> Turns {
        let room = match (user, self.settings.max_running) {
            (None, _) | (_, 0) => SESSIONS,
            (Some(_), cap) => cap.saturating_sub(self.rows().filter(|(_, r)| r.user == user && r.is_ready()).count()),
        };
        let mut heads: List<TurnId, SESSIONS> = List::empty(TurnId(0));
        for head in (0..SESSIONS).filter_map(|at| self.head_of(SessionId(u8::try_from(at).unwrap_or(0)))) {
            let row = self.turn(head);
            if row.session == session || (user.is_some() && row.user == user) {
                heads.push(head);
            }
        }
        heads.as_mut_slice().sort_unstable();
        let promoted: Turns = heads.iter().take(room).collect();
        promoted.for_each(|turn| self.make_ready(turn));
        promoted
    }

    /// The waiting turn of a session whose time it is.
    fn head_of(&self, session: SessionId) -> Option<TurnId> {
        if self.rows().any(|(_, row)| row.session == session && row.is_ready()) {
            return None;
        }
        let waiting = self.rows().filter(|(_, row)| row.session == session && row.is_waiting());
        if self.has(Mechanism::QueueOrder) {
            waiting.min_by_key(|(turn, row)| (Reverse(row.priority), *turn)).map(|(turn, _)| turn)
        } else {
            waiting.max_by_key(|(turn, _)| *turn).map(|(turn, _)| turn)
        }
    }

    fn make_ready(&mut self, turn: TurnId) {
        let now = self.now;
        let session = self.turn(turn).session;
        self.turn_mut(turn).ready_at = Some(now);
        let place = self.place(session);
        let message = self.messages.iter_mut().find(|m| m.turn == turn && matches!(m.content, Content::User(_)));
        if let Some(message) = message {
            message.sequence = Some(place);
        }
        if self.has(Mechanism::Outbox) {
            self.outbox[turn.at()] = Some(OutboxRow { due_at: now + DISPATCH_GRACE, publishes: 0 });
        }
    }
}
