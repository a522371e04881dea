//! Where an attempt begins: mirrors `worker/src/turn/recovery.rs`.

use super::call::{Answer, Call, Calls};
use super::seal::{reach, rebuilt};
use super::{Flow, Me};
use crate::mechanism::Mechanism;
use crate::model::chunk::{Chunk, Outcome};
use crate::model::database::{CallRow, CallStatus, Refused, TurnRow};
use crate::model::fold::Fold;
use crate::model::streams::{Appended, Batch};
use crate::model::{CallId, TurnId};
use crate::world::World;

/// `recover`, of any attempt but the first.
pub struct Recovery {
    turn: TurnId,
    row: TurnRow,
    stage: Stage,
}

enum Stage {
    Raise,
    Messages,
    Anew(Box<Fold>),
    Fold,
    Calls(u8),
    /// What is left to look at, and what is open.
    Reopen {
        left: Vec<CallRow>,
        open: Calls,
        ambiguous: bool,
    },
    HasFinished {
        left: Vec<CallRow>,
        open: Calls,
    },
}

/// What comes next.
pub enum Next {
    /// Another call.
    Ask(Flow),
    /// A writer that goes on behind this.
    Write(Box<Fold>),
    /// The calls that are to be made.
    GoOn(Calls),
    /// The attempt may write no more.
    Lost,
}

impl Recovery {
    /// Begins to look.
    pub fn new(world: &World, turn: TurnId, row: TurnRow) -> Self {
        let raises = world.db.has(Mechanism::RaiseBeforeRead);
        Self { turn, row, stage: if raises { Stage::Raise } else { Stage::Fold } }
    }

    /// Looks at the calls of the last committed step.
    pub fn ask_for_calls(&mut self, step: u8) {
        self.stage = Stage::Calls(step);
    }

    /// The next call.
    pub fn next(&self, world: &World) -> Call {
        let (turn, attempt) = (self.turn, self.row.attempt);
        match &self.stage {
            Stage::Messages => Call::TurnMessages(turn),
            Stage::Anew(fold) => Call::append(Batch::begin_anew(turn, attempt, fold)),
            Stage::Raise => Call::append(Batch::raise(turn, attempt, reach(world, &self.row))),
            Stage::Fold => Call::ReadFold(turn),
            Stage::Calls(step) => Call::CallsOfStep(turn, *step),
            Stage::Reopen { left, .. } => {
                left.first().map_or(Call::Local, |call| Call::FinishCall(turn, attempt, call.id, Outcome::Unknown))
            }
            Stage::HasFinished { left, .. } => {
                left.first().map_or(Call::Local, |call| Call::HasFinishedCall(turn, attempt, call.id))
            }
        }
    }

    /// Takes the answer in.
    pub fn take(&mut self, world: &mut World, me: Me, answer: Answer) -> Next {
        if matches!(answer, Answer::Unavailable) {
            return self.try_again(world, me);
        }
        self.stage = match (&mut self.stage, answer) {
            (Stage::Raise, Answer::Appended(Appended::Lost)) => Stage::Messages,
            (Stage::Messages, Answer::Fold(Some(fold))) => Stage::Anew(Box::new(rebuilt(world, &self.row, *fold))),
            (Stage::Anew(fold), Answer::Appended(Appended::Stored)) => return Next::Write(fold.clone()),
            (Stage::Raise, Answer::Appended(Appended::Stored)) => Stage::Fold,
            (Stage::Anew(_) | Stage::Raise, Answer::Appended(_)) => return Next::Lost,
            // It lost its end between the two looks.
            (Stage::Fold, Answer::Fold(fold)) => match fold.unwrap_or_default() {
                fold if fold.sequence < reach(world, &self.row) => Stage::Raise,
                fold => return Next::Write(fold),
            },
            (Stage::Calls(_), Answer::Calls(calls)) => {
                return self.reopen(world, me, calls, Calls::empty(CallId(0)));
            }
            (Stage::Reopen { left, open, ambiguous }, Answer::Written(result)) => {
                let (left, open) = (std::mem::take(left), *open);
                match result {
                    Ok(()) => return self.told(world, me, left, open),
                    Err(Refused::Fenced) if *ambiguous => Stage::HasFinished { left, open },
                    Err(_) => return Next::Lost,
                }
            }
            (Stage::HasFinished { left, open }, Answer::Is(true)) => {
                let (left, open) = (std::mem::take(left), *open);
                return self.told(world, me, left, open);
            }
            (Stage::HasFinished { .. }, _) => return Next::Lost,
            (Stage::Reopen { open, .. }, _) => return Next::GoOn(*open),
            (_, answer) => unreachable!("the recovery of {:?} got {answer:?}", self.turn),
        };
        Next::Ask(Flow::Go)
    }

    fn try_again(&mut self, world: &World, me: Me) -> Next {
        if world.signals[me.task].lost {
            return Next::Lost;
        }
        match &mut self.stage {
            Stage::Reopen { ambiguous, .. } => *ambiguous = true,
            Stage::Calls(_) | Stage::HasFinished { .. } => {}
            // `seen` looks again from the beginning.
            Stage::Messages | Stage::Anew(_) | Stage::Raise | Stage::Fold => {
                *self = Self::new(world, self.turn, self.row);
            }
        }
        Next::Ask(Flow::Sleep(1))
    }

    /// The outcome of the first call that is left is recorded as unknown: clients are told.
    fn told(&mut self, world: &mut World, me: Me, mut left: Vec<CallRow>, open: Calls) -> Next {
        let call = left.remove(0);
        world.writers[me.task].send(Chunk::ToolOutput(call.id, Outcome::Unknown));
        self.reopen(world, me, left, open)
    }

    /// `reopen`, for one call after the other.
    fn reopen(&mut self, world: &mut World, me: Me, mut left: Vec<CallRow>, mut open: Calls) -> Next {
        while let Some(call) = left.first().copied() {
            if let Some(outcome) = call.outcome {
                let writer = &mut world.writers[me.task];
                if !writer.fold.has_tool_output(call.id) {
                    writer.send(Chunk::ToolOutput(call.id, outcome));
                }
            } else if call.status == CallStatus::Requested || may_repeat(world, call.id) {
                open.push(call.id);
            } else {
                self.stage = Stage::Reopen { left, open, ambiguous: false };
                return Next::Ask(Flow::Go);
            }
            left.remove(0);
        }
        Next::GoOn(open)
    }
}

fn may_repeat(world: &World, call: CallId) -> bool {
    !world.tool(call).never || !world.db.has(Mechanism::NeverRepeat)
}
