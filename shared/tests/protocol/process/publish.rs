//! Publishing what was accepted: mirrors `api/src/app/publication.rs`.

use super::call::{Answer, Call};
use super::{Flow, Me, Steps};
use crate::model::{SECOND, TurnId, Turns};
use crate::world::World;

/// `Publications::publish`.
pub struct Publish {
    turn: TurnId,
    failed: bool,
}

impl Publish {
    /// Publishes a turn.
    pub fn new(turn: TurnId) -> Self {
        Self { turn, failed: false }
    }
}

impl Steps for Publish {
    fn next(&self, _world: &World, _me: Me) -> Call {
        if self.failed { Call::NoteUnpublished(Turns::of(self.turn)) } else { Call::PublishTurn(self.turn) }
    }

    fn take(&mut self, world: &mut World, me: Me, answer: Answer) -> Flow {
        match answer {
            Answer::Unavailable if !self.failed => {
                self.failed = true;
                Flow::Go
            }
            Answer::Done if !self.failed => {
                world.process_mut(me).published.insert(self.turn);
                Flow::Done
            }
            _ => Flow::Done,
        }
    }
}

/// `note`: writes down what was published.
#[derive(Default)]
pub struct NotePublished {
    batch: Turns,
}

impl Steps for NotePublished {
    fn next(&self, _world: &World, _me: Me) -> Call {
        if self.batch.is_empty() { Call::Local } else { Call::NotePublished(self.batch) }
    }

    fn take(&mut self, world: &mut World, me: Me, _answer: Answer) -> Flow {
        let waiting = &mut world.process_mut(me).published;
        if self.batch.is_empty() && !waiting.is_empty() {
            self.batch = std::mem::take(waiting);
            return Flow::Go;
        }
        // What could not be noted is published again at worst.
        self.batch = Turns::default();
        Flow::Sleep(SECOND / 2)
    }
}
