//! The reconciler that every process runs: mirrors `shared/src/reconciler.rs`.

use super::call::{Answer, Call};
use super::seal::{EndWithoutWorker, Progress, Seal};
use super::usage::{GiveBack, SettleAll};
use super::{Flow, Me, Steps};
use crate::mechanism::Mechanism;
use crate::model::chunk::{End, ErrorCode};
use crate::model::database::TurnRow;
use crate::model::{SECOND, SessionId, Tick, Ticket, TurnId, Turns, UserId};
use crate::world::World;

const TICK: Tick = SECOND / 2;
const RARE: u8 = 4;
const CANCEL_PATIENCE: Tick = 6 * SECOND;
const SEAL_PATIENCE: Tick = 3 * SECOND;
/// How long a submit may take from its reservation to its row.
const SUBMITTED_WITHIN: Tick = 20 * SECOND;

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
    Ending { rows: Vec<(TurnId, TurnRow)>, end: Box<EndWithoutWorker>, then: After },
    Sealing { rows: Vec<(TurnId, TurnRow)>, seal: Box<Seal> },
    // `settle_overdue` and `release_orphans`.
    Settle(SettleAll),
    Orphans,
    InFlight(Vec<(UserId, Ticket)>),
    Release(Vec<(UserId, Ticket)>, GiveBack),
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

    /// Usage that no counter tells, and reservations without a turn.
    fn settle(&mut self, world: &World, answer: &Answer) -> Flow {
        let next = match (&mut self.stage, answer) {
            (Stage::Settle(settle), answer) => match settle.take(answer) {
                Progress::More => return Flow::Go,
                Progress::Failed => return self.fail(world),
                Progress::Over(()) => Some(Stage::Orphans),
            },
            (Stage::Orphans, Answer::Reservations(old)) if old.is_empty() => None,
            (Stage::Orphans, Answer::Reservations(old)) => Some(Stage::InFlight(old.clone())),
            (Stage::InFlight(old), Answer::Tickets(in_flight)) => {
                let checks = world.db.has(Mechanism::OrphansAreNotInFlight);
                let mut orphans = std::mem::take(old);
                orphans.retain(|(_, ticket)| !in_flight.contains(ticket) || !checks);
                Self::release_next(world, orphans)
            }
            (Stage::Release(orphans, give_back), answer) => match give_back.take(answer) {
                Progress::More => return Flow::Go,
                Progress::Failed => return self.fail(world),
                Progress::Over(()) => Self::release_next(world, std::mem::take(orphans)),
            },
            (_, answer) => unreachable!("the reconciler got {answer:?}"),
        };
        match next {
            Some(stage) => {
                self.stage = stage;
                Flow::Go
            }
            None => self.rest(world),
        }
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
            (Some((turn, row)), _) => {
                let end = Box::new(EndWithoutWorker::new(world, turn, row, end));
                Stage::Ending { rows, end, then }
            }
            (None, After::Overdue) => Stage::Uncancelled,
            (None, After::Uncancelled) => Stage::Unsealed,
        }
    }

    fn seal_next(world: &World, mut rows: Vec<(TurnId, TurnRow)>) -> Stage {
        let seal = rows.pop().and_then(|(turn, row)| Seal::new(world, turn, row));
        seal.map_or_else(|| Stage::Settle(SettleAll::overdue()), |seal| Stage::Sealing { rows, seal: Box::new(seal) })
    }

    fn release_next(world: &World, mut orphans: Vec<(UserId, Ticket)>) -> Option<Stage> {
        let (_, ticket) = orphans.pop()?;
        Some(Stage::Release(orphans, GiveBack::release(world, ticket)))
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
            Stage::Settle(settle) => settle.next(),
            Stage::Orphans => Call::TakeOldReservations(SUBMITTED_WITHIN),
            Stage::InFlight(old) => Call::InFlightOf(old.iter().map(|(_, ticket)| *ticket).collect()),
            Stage::Release(_, give_back) => give_back.next(),
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
            (Stage::Unsealed, Answer::Rows(rows)) => Self::seal_next(world, rows),
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
                Progress::Over(_) => Self::seal_next(world, std::mem::take(rows)),
            },
            (_, answer) => return self.settle(world, &answer),
        };
        if self.publishing.is_over() && self.is_common_look_over() { self.rest(world) } else { Flow::Go }
    }
}
