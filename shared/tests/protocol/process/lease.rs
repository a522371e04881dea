//! What a worker does for all its turns together: mirrors `worker/src/lease.rs` and `note_sealed`
//! of `worker/src/worker.rs`.

use std::rc::Rc;

use super::call::{Answer, Call};
use super::{Flow, Me, Steps};
use crate::model::{Attempt, SECOND, TURNS, Ticket, TurnId, Turns};
use crate::world::World;

/// `lease::keep`.
#[derive(Default)]
pub struct Renew {
    /// What was held when the leases were renewed.
    held: Option<[Option<(Attempt, u32)>; TURNS]>,
}

impl Steps for Renew {
    fn next(&self, _world: &World, me: Me) -> Call {
        self.held.map_or(Call::Local, |held| Call::Renew(me.process, held))
    }

    fn take(&mut self, world: &mut World, me: Me, answer: Answer) -> Flow {
        let Some(held) = self.held.take() else {
            let running = world.process_mut(me).running;
            if running.iter().all(Option::is_none) {
                return Flow::Sleep(world.db.settings.lease / 3);
            }
            self.held = Some(running.map(|e| e.map(|entry| (entry.attempt, world.signals[entry.task].stored))));
            return Flow::Go;
        };
        if let Answer::Renewed { kept, cancelled } = answer {
            for (turn, (attempt, _)) in (0..).map(TurnId).zip(held).filter_map(|(turn, held)| Some((turn, held?))) {
                let entry = world.process_mut(me).running[turn.at()];
                match entry {
                    Some(entry) if cancelled.contains(turn) => world.signals[entry.task].cancel = true,
                    Some(entry) if !kept.contains(turn) && entry.attempt == attempt => {
                        world.signals[entry.task].lost = true;
                    }
                    _ => {}
                }
            }
        }
        Flow::Sleep(world.db.settings.lease / 3)
    }
}

/// `note_sealed`.
#[derive(Default)]
pub struct NoteSealed {
    batch: Turns,
}

impl Steps for NoteSealed {
    fn next(&self, _world: &World, _me: Me) -> Call {
        if self.batch.is_empty() { Call::Local } else { Call::NoteSealed(self.batch) }
    }

    fn take(&mut self, world: &mut World, me: Me, _answer: Answer) -> Flow {
        let waiting = &mut world.process_mut(me).sealed;
        if self.batch.is_empty() && !waiting.is_empty() {
            self.batch = std::mem::take(waiting);
            return Flow::Go;
        }
        // What could not be noted is sealed again by the reconciler.
        self.batch = Turns::default();
        Flow::Sleep(SECOND)
    }
}

/// `note`, of steps that were counted.
#[derive(Default)]
pub struct NoteSettled {
    batch: Option<Rc<[(Ticket, u8)]>>,
}

impl Steps for NoteSettled {
    fn next(&self, _world: &World, _me: Me) -> Call {
        self.batch.as_ref().map_or(Call::Local, |batch| Call::NoteSettled(Rc::clone(batch)))
    }

    fn take(&mut self, world: &mut World, me: Me, _answer: Answer) -> Flow {
        let waiting = &mut world.process_mut(me).settled;
        if self.batch.is_none() && !waiting.is_empty() {
            self.batch = Some(Rc::from(waiting.as_slice()));
            waiting.clear();
            return Flow::Go;
        }
        // What could not be noted is settled again, to no effect.
        self.batch = None;
        Flow::Sleep(SECOND)
    }
}
