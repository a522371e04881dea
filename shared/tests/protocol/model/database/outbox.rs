//! Mirrors `shared/src/store/outbox.rs`.

use super::{Database, OutboxRow, Status};
use crate::model::{SECOND, Tick, TurnId, Turns};

impl Database {
    /// `Store::take_due`.
    pub fn take_due(&mut self) -> Turns {
        let (now, lease) = (self.now, self.settings.lease);
        let mut due = Turns::default();
        for (at, row) in self.turns.iter().enumerate() {
            let Some(entry) = self.outbox[at].as_mut().filter(|entry| entry.due_at <= now) else { continue };
            if row.finished_at.is_some() {
                self.outbox[at] = None;
                continue;
            }
            let lapsed = row.status == Status::Running;
            entry.due_at = match entry.publishes {
                0..4 if lapsed => now + SECOND * 2 / 5,
                publishes => now + lease * (1 << publishes.saturating_sub(if lapsed { 4 } else { 0 }).min(5)),
            };
            entry.publishes += 1;
            due.insert(TurnId(u8::try_from(at).unwrap_or(0)));
        }
        due
    }

    /// `Store::note_published`.
    pub fn note_published(&mut self, turns: Turns) {
        let due_at = self.now + self.settings.lease;
        self.note(turns, due_at, |publishes| publishes + 1);
    }

    /// `Store::note_unpublished`.
    pub fn note_unpublished(&mut self, turns: Turns) {
        self.note(turns, self.now + SECOND / 2, |publishes| publishes.saturating_sub(1));
    }

    fn note(&mut self, turns: Turns, due_at: Tick, publishes: impl Fn(u8) -> u8) {
        for turn in turns {
            if let Some(entry) = &mut self.outbox[turn.at()] {
                *entry = OutboxRow { due_at, publishes: publishes(entry.publishes) };
            }
        }
    }
}
