//! From a delivery to a claimed turn, and from the end of its attempt to the settlement: mirrors
//! `worker/src/intake.rs`.

use super::attempt::Attempt;
use super::call::{Answer, Call};
use super::{Entry, Flow, Me, Stage as Leaving, Steps};
use crate::mechanism::Mechanism;
use crate::model::TurnId;
use crate::model::broker::Delivery;
use crate::model::database::Claimed;
use crate::world::World;

/// `HELD_LOOKS`.
const HELD_LOOKS: u8 = 20;

/// What a worker does with a delivery.
pub struct Run {
    tag: u16,
    turn: TurnId,
    redelivered: bool,
    looks: u8,
    stage: Stage,
    /// The delivery that is to be settled.
    settle: Option<u16>,
}

enum Stage {
    Claim,
    /// `why_unclaimed`: its two looks.
    Why,
    WhoHolds,
    Attempt(Box<Attempt>),
    Settle,
    Requeue,
}

impl Run {
    /// Takes a delivery.
    pub fn new(delivery: Delivery) -> Self {
        Self {
            tag: delivery.tag,
            turn: delivery.message.turn,
            redelivered: delivery.message.redelivered,
            looks: 0,
            stage: Stage::Claim,
            settle: None,
        }
    }

    /// The turn that it is about.
    pub fn turn(&self) -> TurnId {
        self.turn
    }

    /// Has it claimed the turn?
    pub fn attempts(&self) -> Option<&Attempt> {
        match &self.stage {
            Stage::Attempt(attempt) => Some(attempt),
            _ => None,
        }
    }

    fn settle(&mut self, tag: Option<u16>) -> Flow {
        self.settle = tag;
        self.stage = Stage::Settle;
        Flow::Go
    }

    fn claimed(&mut self, world: &mut World, me: Me, claimed: &Claimed) -> Flow {
        let leaving = world.process_mut(me).stage >= Leaving::HandingBack;
        let entry = Entry { attempt: claimed.row.attempt, task: me.task, delivery: Some(self.tag) };
        let signals = &mut world.signals[me.task];
        *signals = super::Signals::default();
        signals.cancel = claimed.row.cancel_requested_at.is_some();
        signals.hand_back = leaving;
        // `Running::enter`: an older attempt of ours is on its way out.
        if let Some(old) = world.process_mut(me).running[self.turn.at()].replace(entry) {
            world.signals[old.task].lost = true;
            if let Some(replaced) = old.delivery.filter(|_| world.db.has(Mechanism::SettleReplaced)) {
                world.broker.ack(replaced);
            }
        }
        self.stage = Stage::Attempt(Box::new(Attempt::new(world, self.turn, claimed, me)));
        Flow::Go
    }

    fn held(&mut self, world: &mut World, me: Me, holder: crate::model::ProcessId) -> Flow {
        if !self.redelivered {
            return self.settle(Some(self.tag));
        }
        if holder != me.process {
            // The broker can know of a death before PostgreSQL has ended the dead worker's session.
            if self.looks == HELD_LOOKS {
                return self.settle(Some(self.tag));
            }
            self.looks += 1;
            self.stage = Stage::Claim;
            return Flow::Sleep(1);
        }
        // `Running::adopt`.
        let settles = world.db.has(Mechanism::SettleReplaced);
        match &mut world.process_mut(me).running[self.turn.at()] {
            Some(entry) => {
                let old = entry.delivery.replace(self.tag);
                self.settle(old.filter(|_| settles))
            }
            None => self.settle(Some(self.tag)),
        }
    }

    fn leave(&mut self, world: &mut World, me: Me) -> Flow {
        let Some(attempt) = self.attempts().map(|attempt| attempt.number) else { return Flow::Done };
        world.end_writer(me.task);
        let entry = &mut world.process_mut(me).running[self.turn.at()];
        match entry.filter(|entry| entry.attempt == attempt) {
            Some(left) => {
                *entry = None;
                self.settle(left.delivery)
            }
            None => self.settle(None),
        }
    }
}

impl Steps for Run {
    fn next(&self, world: &World, me: Me) -> Call {
        match &self.stage {
            Stage::Claim => Call::Claim { turn: self.turn, worker: me.process, redelivered: self.redelivered },
            Stage::Why | Stage::WhoHolds => Call::TurnOfAnySession(self.turn),
            Stage::Attempt(attempt) => attempt.next(world, me),
            Stage::Settle => self.settle.map_or(Call::Local, Call::Ack),
            Stage::Requeue => Call::Requeue(self.tag),
        }
    }

    fn take(&mut self, world: &mut World, me: Me, answer: Answer) -> Flow {
        match (&mut self.stage, answer) {
            (Stage::Attempt(attempt), answer) => match attempt.take(world, me, answer) {
                Flow::Done => self.leave(world, me),
                flow => flow,
            },
            (Stage::Settle | Stage::Requeue, _) => Flow::Done,
            (_, Answer::Unavailable) => {
                self.stage = Stage::Claim;
                if world.process_mut(me).stage >= Leaving::Draining {
                    self.stage = Stage::Requeue;
                }
                Flow::Sleep(5)
            }
            (Stage::Claim, Answer::Claimed(Some(claimed))) => self.claimed(world, me, &claimed),
            (Stage::Claim, Answer::Claimed(None)) => {
                self.stage = Stage::Why;
                Flow::Go
            }
            (Stage::Why, Answer::Row(row)) if row.deleted || row.status.is_terminal() => self.settle(Some(self.tag)),
            (Stage::Why, Answer::Row(_)) => {
                self.stage = Stage::WhoHolds;
                Flow::Go
            }
            (Stage::WhoHolds, Answer::Row(row)) => match row.worker {
                Some(holder) => self.held(world, me, holder),
                None => self.settle(Some(self.tag)),
            },
            (_, answer) => unreachable!("a delivery of {:?} got {answer:?}", self.turn),
        }
    }

    fn is_ready(&self, world: &World, me: Me) -> bool {
        match &self.stage {
            Stage::Attempt(attempt) => attempt.is_ready(world, me),
            _ => true,
        }
    }
}
