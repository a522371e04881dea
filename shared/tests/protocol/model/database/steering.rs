//! Mirrors `shared/src/store/steering.rs`.

use super::{Content, Database, Refused};
use crate::model::chunk::Status;
use crate::model::{Attempt, TurnId, Turns};

/// What the first look at a turn that may be steered came to.
type Steering = Result<bool, Refused>;

impl Database {
    /// Does a message wait to be taken up by the turn?
    pub fn is_steered(&self, turn: TurnId) -> bool {
        self.rows().any(|(_, row)| row.steers == Some(turn) && row.is_waiting())
    }

    /// The first statement of `Store::take_steering`.
    pub fn look_for_steering(&self, turn: TurnId, attempt: Attempt) -> Steering {
        let row = self.turn(turn);
        let holds = row.attempt == attempt && row.status == Status::Running;
        if holds { Ok(self.is_steered(turn)) } else { Err(Refused::Fenced) }
    }

    /// The rows that `move_steering` finds, which its locks would keep.
    pub fn find_steering(&self, turn: TurnId, attempt: Attempt) -> Result<Turns, Refused> {
        self.look_for_steering(turn, attempt)?;
        Ok(self.select(|_, row| row.steers == Some(turn) && row.is_waiting()))
    }

    /// The writes of `move_steering`.
    pub fn move_messages(&mut self, steering: Turns, to: TurnId) {
        let session = self.turn(to).session;
        for turn in steering {
            let sequence = Some(self.place(session));
            let message = self.messages.iter_mut().find(|m| m.turn == turn && matches!(m.content, Content::User(_)));
            if let Some(message) = message {
                message.turn = to;
                message.sequence = sequence;
            }
            for key in self.keys.iter_mut().filter(|key| key.turn == turn) {
                key.turn = to;
            }
            self.turn_mut(turn).deleted = true;
            self.outbox[turn.at()] = None;
        }
    }

    /// `Store::move_steering`.
    pub fn move_steering(&mut self, turn: TurnId, attempt: Attempt) -> Result<Turns, Refused> {
        let steering = self.find_steering(turn, attempt)?;
        self.move_messages(steering, turn);
        Ok(steering)
    }
}
