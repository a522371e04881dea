//! Mirrors `shared/src/store/usage.rs`.

use super::Database;
use crate::mechanism::Mechanism;
use crate::model::windows::StepUse;
use crate::model::{SECOND, Tick, Ticket, TurnId};

/// How long a step is left alone that somebody settles.
const AGAIN: Tick = 10 * SECOND;

/// A row of `unsettled_steps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnsettledRow {
    pub turn: TurnId,
    pub used: StepUse,
    pub due_at: Tick,
}

impl Database {
    /// The note of a step that no counter tells yet, which is written with the step.
    pub(super) fn note_unsettled(&mut self, turn: TurnId, step: u8, weight: u32) {
        let row = self.turn(turn);
        let (ticket, due_at) = (row.ticket, self.now + 5 * SECOND);
        if let Some(user) = row.user.filter(|_| weight > 0 && self.has(Mechanism::UnsettledNote)) {
            self.unsettled.push(UnsettledRow { turn, used: StepUse { user, ticket, step, weight }, due_at });
        }
    }

    /// `Store::take_unsettled`.
    pub fn take_unsettled(&mut self) -> Vec<StepUse> {
        let (now, looks) = (self.now, self.has(Mechanism::UnsettledStepsLook));
        let due = self.unsettled.iter_mut().filter(|row| row.due_at <= now && looks);
        due.map(|row| {
            row.due_at = now + AGAIN;
            row.used
        })
        .collect()
    }

    /// `Store::unsettled_of_turn`.
    pub fn unsettled_of_turn(&self, turn: TurnId) -> Vec<StepUse> {
        self.unsettled.iter().filter(|row| row.turn == turn).map(|row| row.used).collect()
    }

    /// `Store::note_settled`.
    pub fn note_settled(&mut self, steps: &[(Ticket, u8)]) {
        self.unsettled.retain(|row| !steps.contains(&(row.used.ticket, row.used.step)));
    }

    /// `Store::in_flight_of`.
    pub fn in_flight_of(&self, tickets: &[Ticket]) -> Vec<Ticket> {
        let in_flight = |ticket: &Ticket| self.rows().any(|(_, row)| row.ticket == *ticket && row.is_in_flight());
        tickets.iter().copied().filter(in_flight).collect()
    }
}
