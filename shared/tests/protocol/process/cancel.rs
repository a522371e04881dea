//! A request that stops a session or drops a waiting turn: mirrors `api/src/app/cancel_turn.rs`
//! and `drop_queued` of `edit_queue.rs`.

use super::call::{Answer, Call};
use super::publish::Publish;
use super::seal::{EndWithoutWorker, Progress, Seal};
use super::{Flow, Me, Steps, Work};
use crate::model::chunk::End;
use crate::model::{SECOND, SessionId, Tick, TurnId, Turns, UserId};
use crate::world::World;

/// `PATIENCE` of the cancel route.
const PATIENCE: Tick = 5 * SECOND;

/// A cancel.
pub struct Cancel {
    session: SessionId,
    user: Option<UserId>,
    stage: Stage,
}

enum Stage {
    /// The first look at what runs.
    Running,
    /// Dropping one waiting turn, or all.
    Drop(Option<TurnId>),
    /// The second look.
    RunningAfterAll,
    Tell(TurnId),
    Await {
        turn: TurnId,
        until: Tick,
    },
    Look {
        turn: TurnId,
        tries: u8,
    },
    Seal(Box<Seal>),
    End {
        turn: TurnId,
        tries: u8,
        end: Box<EndWithoutWorker>,
    },
    /// `see_off`: each dropped turn in turn.
    SeeOff {
        left: Turns,
        seal: Option<Box<Seal>>,
    },
    Over,
}

impl Cancel {
    /// `POST …/cancel`.
    pub fn session(session: SessionId, user: Option<UserId>) -> Self {
        Self { session, user, stage: Stage::Running }
    }

    /// `DELETE …/queue/{turn_id}`.
    pub fn queued(session: SessionId, user: Option<UserId>, turn: TurnId) -> Self {
        Self { session, user, stage: Stage::Drop(Some(turn)) }
    }

    fn see_off(world: &World, mut left: Turns) -> Stage {
        match left.pop() {
            // The rows are as the drop returned them, and nobody changes them any more.
            Some(turn) => Stage::SeeOff { left, seal: Seal::new(world, turn, *world.db.turn(turn)).map(Box::new) },
            None => Stage::Over,
        }
    }

    fn looked(&self, world: &World, turn: TurnId, tries: u8, answer: Answer) -> Stage {
        match answer {
            Answer::Row(row) => {
                if let Some(seal) = Seal::new(world, turn, row) {
                    return Stage::Seal(Box::new(seal));
                }
                let end = Box::new(EndWithoutWorker::new(world, turn, row, End::Cancelled));
                Stage::End { turn, tries, end }
            }
            answer => unreachable!("a look at {:?} got {answer:?}", self.session),
        }
    }
}

impl Steps for Cancel {
    fn next(&self, world: &World, _me: Me) -> Call {
        match &self.stage {
            Stage::Running | Stage::RunningAfterAll => Call::CancelRunning(self.session),
            Stage::Drop(only) => Call::DropWaiting(self.session, self.user, *only),
            Stage::Tell(turn) => Call::PublishCancel(*turn),
            Stage::Await { .. } | Stage::Over | Stage::SeeOff { seal: None, .. } => Call::Local,
            Stage::Look { turn, .. } => Call::TurnOfAnySession(*turn),
            Stage::Seal(seal) | Stage::SeeOff { seal: Some(seal), .. } => seal.next(),
            Stage::End { end, .. } => end.next(world),
        }
    }

    fn take(&mut self, world: &mut World, me: Me, answer: Answer) -> Flow {
        if matches!(answer, Answer::Unavailable) && !matches!(self.stage, Stage::Tell(_) | Stage::SeeOff { .. }) {
            return Flow::Done;
        }
        self.stage = match (&mut self.stage, answer) {
            (Stage::Running | Stage::RunningAfterAll, Answer::Turn(Some(turn))) => Stage::Tell(turn),
            (Stage::Running, _) => Stage::Drop(None),
            (Stage::RunningAfterAll | Stage::Over, _) => return Flow::Done,
            (Stage::Drop(only), Answer::Dropped(dropped)) => {
                dropped.next.for_each(|turn| world.spawn(me.process, Work::Publish(Publish::new(turn))));
                if dropped.turns.is_empty() && only.is_none() {
                    Stage::RunningAfterAll
                } else {
                    Self::see_off(world, dropped.turns)
                }
            }
            (Stage::Tell(turn), _) => Stage::Await { turn: *turn, until: world.now() + PATIENCE },
            (Stage::Await { turn, .. }, _) if world.is_closed(*turn) => return Flow::Done,
            (Stage::Await { turn, .. }, _) => Stage::Look { turn: *turn, tries: 2 },
            (Stage::Look { turn, tries }, answer) => {
                let (turn, tries) = (*turn, *tries);
                self.looked(world, turn, tries, answer)
            }
            (Stage::Seal(seal), answer) => match seal.take(world, answer) {
                Progress::More => return Flow::Go,
                Progress::Failed | Progress::Over(_) => return Flow::Done,
            },
            (Stage::End { turn, tries, end }, answer) => match end.take(world, answer) {
                Progress::More => return Flow::Go,
                Progress::Over(None) if *tries > 1 => Stage::Look { turn: *turn, tries: *tries - 1 },
                Progress::Over(next) => {
                    let next = next.unwrap_or_default();
                    next.for_each(|turn| world.spawn(me.process, Work::Publish(Publish::new(turn))));
                    return Flow::Done;
                }
                Progress::Failed => return Flow::Done,
            },
            (Stage::SeeOff { left, seal: Some(seal) }, answer) => match seal.take(world, answer) {
                Progress::More => return Flow::Go,
                Progress::Failed | Progress::Over(_) => Self::see_off(world, *left),
            },
            (Stage::SeeOff { left, seal: None }, _) => Self::see_off(world, *left),
            (Stage::Drop(_), answer) => unreachable!("a drop got {answer:?}"),
        };
        Flow::Go
    }

    fn is_ready(&self, world: &World, _me: Me) -> bool {
        match self.stage {
            Stage::Await { turn, until } => world.is_closed(turn) || world.now() >= until,
            _ => true,
        }
    }
}
