//! The reconciler that every process runs: mirrors `shared/src/reconciler.rs`.

use super::call::{Answer, Call};
use super::seal::{EndWithoutWorker, Progress, Seal};
use super::{Flow, Me, Steps};
use crate::model::chunk::{End, ErrorCode};
use crate::model::database::TurnRow;
use crate::model::{SECOND, SessionId, Tick, TurnId, Turns, UserId};
use crate::world::World;

const TICK: Tick = SECOND / 2;
const RARE: u8 = 4;
const CANCEL_PATIENCE: Tick = 6 * SECOND;
const SEAL_PATIENCE: Tick = 3 * SECOND;

/// The loop.
pub struct Reconcile {
    stage: Stage,
    looks: u8,
    leases_count_from: Tick,
    publishing: Publishing,
}

enum Stage {
    Lapsed,
    Due,
    Forgotten,
    Stuck,
    Promote(Vec<(SessionId, Option<UserId>)>, Turns),
    Overdue,
    Uncancelled,
    Unsealed,
    Ending { rows: Vec<(TurnId, TurnRow)>, end: EndWithoutWorker, then: After },
    Sealing { rows: Vec<(TurnId, TurnRow)>, seal: Seal },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Overdue,
    Uncancelled,
}

/// `Reconciler::publish`.
#[derive(Debug, Clone, Copy, Default)]
struct Publishing {
    left: Turns,
    failed: Turns,
}

impl Publishing {
    fn is_over(self) -> bool {
        self.left.is_empty() && self.failed.is_empty()
    }

    fn next(mut self) -> Call {
        self.left.pop().map_or(Call::NoteUnpublished(self.failed), Call::PublishTurn)
    }

    /// False if what failed could not even be noted.
    fn take(&mut self, answer: &Answer) -> bool {
        let unavailable = matches!(answer, Answer::Unavailable);
        match self.left.pop() {
            Some(turn) if unavailable => self.failed.insert(turn),
            Some(_) => {}
            None => {
                self.failed = Turns::default();
                return !unavailable;
            }
        }
        true
    }
}

impl Default for Reconcile {
    fn default() -> Self {
        Self { stage: Stage::Due, looks: 0, leases_count_from: 0, publishing: Publishing::default() }
    }
}

impl Reconcile {
    fn rest(&mut self, world: &World) -> Flow {
        self.looks = (self.looks + 1) % RARE;
        self.stage = if world.now() >= self.leases_count_from { Stage::Lapsed } else { Stage::Due };
        Flow::Sleep(TICK)
    }

    /// The rarer looks come with every fourth tick only.
    fn is_common_look_over(&self) -> bool {
        matches!(self.stage, Stage::Forgotten) && self.looks != 0
    }

    fn fail(&mut self, world: &World) -> Flow {
        self.leases_count_from = world.now() + world.db.settings.lease;
        self.publishing = Publishing::default();
        self.rest(world)
    }

    fn end_next(world: &World, mut rows: Vec<(TurnId, TurnRow)>, then: After) -> Stage {
        let end = match then {
            After::Overdue => End::Failed(ErrorCode::QueueTimeout),
            After::Uncancelled => End::Cancelled,
        };
        match (rows.pop(), then) {
            (Some((turn, row)), _) => Stage::Ending { rows, end: EndWithoutWorker::new(world, turn, row, end), then },
            (None, After::Overdue) => Stage::Uncancelled,
            (None, After::Uncancelled) => Stage::Unsealed,
        }
    }

    fn seal_next(world: &World, mut rows: Vec<(TurnId, TurnRow)>) -> Option<Stage> {
        let (turn, row) = rows.pop()?;
        Seal::new(world, turn, row).map(|seal| Stage::Sealing { rows, seal })
    }
}

impl Steps for Reconcile {
    fn next(&self, world: &World, _me: Me) -> Call {
        if !self.publishing.is_over() {
            return self.publishing.next();
        }
        match &self.stage {
            Stage::Lapsed => Call::EnqueueLapsed,
            Stage::Due => Call::TakeDue,
            Stage::Forgotten => Call::EnqueueForgotten,
            Stage::Stuck => Call::StuckSessions,
            Stage::Promote(sessions, _) => {
                sessions.last().map_or(Call::Local, |(session, user)| Call::PromoteStuck(*session, *user))
            }
            Stage::Overdue => world.longest_wait.map_or(Call::Local, Call::OverdueTurns),
            Stage::Uncancelled => Call::UncancelledTurns(CANCEL_PATIENCE),
            Stage::Unsealed => Call::UnsealedTurns(SEAL_PATIENCE),
            Stage::Ending { end, .. } => end.next(world),
            Stage::Sealing { seal, .. } => seal.next(),
        }
    }

    fn take(&mut self, world: &mut World, _me: Me, answer: Answer) -> Flow {
        if !self.publishing.is_over() {
            return match self.publishing.take(&answer) {
                false => self.fail(world),
                true if self.publishing.is_over() && self.is_common_look_over() => self.rest(world),
                true => Flow::Go,
            };
        }
        if matches!(answer, Answer::Unavailable) {
            return self.fail(world);
        }
        self.stage = match (&mut self.stage, answer) {
            (Stage::Lapsed, _) => Stage::Due,
            (Stage::Due, Answer::Turns(due)) => {
                self.publishing.left = due;
                Stage::Forgotten
            }
            (Stage::Forgotten, _) => Stage::Stuck,
            (Stage::Stuck, Answer::Stuck(sessions)) => Stage::Promote(sessions, Turns::default()),
            (Stage::Promote(sessions, next), answer) => {
                if let Answer::Turns(turns) = answer {
                    sessions.pop();
                    next.0 |= turns.0;
                }
                if sessions.is_empty() {
                    self.publishing.left = *next;
                    Stage::Overdue
                } else {
                    return Flow::Go;
                }
            }
            (Stage::Overdue, Answer::Rows(rows)) => Self::end_next(world, rows, After::Overdue),
            (Stage::Overdue, _) => Stage::Uncancelled,
            (Stage::Uncancelled, Answer::Rows(rows)) => Self::end_next(world, rows, After::Uncancelled),
            (Stage::Unsealed, Answer::Rows(rows)) => match Self::seal_next(world, rows) {
                Some(stage) => stage,
                None => return self.rest(world),
            },
            (Stage::Ending { rows, end, then }, answer) => match end.take(world, answer) {
                Progress::More => return Flow::Go,
                Progress::Failed => return self.fail(world),
                Progress::Over(next) => {
                    self.publishing.left = next.unwrap_or_default();
                    Self::end_next(world, std::mem::take(rows), *then)
                }
            },
            (Stage::Sealing { rows, seal }, answer) => match seal.take(world, answer) {
                Progress::More => return Flow::Go,
                Progress::Failed => return self.fail(world),
                Progress::Over(_) => match Self::seal_next(world, std::mem::take(rows)) {
                    Some(stage) => stage,
                    None => return self.rest(world),
                },
            },
            (_, answer) => unreachable!("the reconciler got {answer:?}"),
        };
        if self.publishing.is_over() && self.is_common_look_over() { self.rest(world) } else { Flow::Go }
    }
}
