//! One attempt at a turn: mirrors `worker/src/turn.rs` and `worker/src/turn/persist.rs`.

mod steps;
mod usage;

use super::call::{Answer, Calls};
use super::recovery::Recovery;
use super::step::{Listening, StepEnd, Tools};
use super::usage::GiveBack;
use super::writer::{Append, Writer};
use super::{Flow, Me, Work};
use crate::mechanism::Mechanism;
use crate::model::chunk::{Chunk, End, ErrorCode};
use crate::model::database::{Broken, Claimed, Refused, StepCommit, TurnRow};
use crate::model::fold::Fold;
use crate::model::windows::StepUse;
use crate::model::{SECOND, Tick, TurnId, Turns};
use crate::world::World;

/// `MAX_LOSSES`, which is 5 there: small worlds lose fewer workers.
pub const MAX_LOSSES: u8 = 2;

/// How long a turn waits for counters that cannot be read.
const CHECK_PATIENCE: Tick = 60 * SECOND;

/// The attempt, from the claim to its end.
pub struct Attempt {
    /// The turn.
    pub turn: TurnId,
    /// The number of the claim.
    pub number: crate::model::Attempt,
    claimed: TurnRow,
    /// Model calls that are committed.
    steps: u8,
    may_be_steered: bool,
    /// Since when the counters are asked, and why another model call may not be made.
    asked_at: Option<Tick>,
    refused: Option<ErrorCode>,
    /// What the last model call used, if the turn ends with it.
    last: Option<StepCommit>,
    /// An answer may have been lost after a commit.
    ambiguous: bool,
    /// Are the counters up to date at its end?
    is_settled: bool,
    stage: Stage,
}

enum Stage {
    Recover(Recovery),
    Tools(Tools),
    History,
    /// `Allowance::refusal`.
    Check,
    Boundary,
    FlushForHandBack,
    HandBack,
    PublishHandedBack,
    LookForSteering,
    MoveSteering,
    MoveMessages(Turns),
    /// `Allowance::take_over`.
    TakeOver(Turns, Option<GiveBack>),
    Model(Listening),
    FlushStep(StepCommit, StepEnd),
    Commit(StepCommit, Calls),
    /// `Allowance::settle`, of a step after which the turn goes on.
    Settle(StepUse, Calls),
    FlushEnd(Ending),
    Finish(Ending),
    /// The answer to the end was lost, and then it was refused.
    WhoEnded,
    PromoteSeparately(End),
    /// `Allowance::settle` or `release` at the end.
    SettleEnd(End, Turns, GiveBack),
    PublishNext(End, Turns),
    /// Is the turn settled?
    FlushLast(bool),
    GiveUp,
}

/// How the turn ends, and what its last step left.
#[derive(Debug, Clone, Copy)]
pub struct Ending {
    pub end: End,
    pub last: Option<StepCommit>,
}

impl Attempt {
    /// Begins with a claimed turn.
    pub fn new(world: &mut World, turn: TurnId, claimed: &Claimed, me: Me) -> Self {
        let mut attempt = Self {
            turn,
            number: claimed.row.attempt,
            claimed: claimed.row,
            steps: claimed.row.steps,
            may_be_steered: claimed.is_steered,
            asked_at: None,
            refused: None,
            last: None,
            ambiguous: false,
            is_settled: true,
            stage: Stage::Recover(Recovery::new(world, turn, claimed.row)),
        };
        if claimed.row.attempt == 1 {
            attempt.recovered(world, me, &Fold::default(), Calls::empty(crate::model::CallId(0)));
        }
        attempt
    }

    /// Clients have seen what the fold says; a writer goes on behind it.
    fn recovered(&mut self, world: &mut World, me: Me, fold: &Fold, open: Calls) {
        if !world.has_writer(me.task) {
            self.begin_writing(world, me, fold);
        }
        if self.claimed.losses > MAX_LOSSES && world.db.has(Mechanism::AttemptLimit) {
            self.end(world, me, End::Failed(ErrorCode::AttemptsExhausted), None);
        } else if open.is_empty() {
            self.after_tools(world, me);
        } else {
            self.stage = Stage::Tools(Tools::new(world, self.turn, self.number, open));
        }
    }

    /// `TurnWriter::new`, and what of `recover` sends chunks without asking anybody.
    pub fn begin_writing(&self, world: &mut World, me: Me, fold: &Fold) {
        world.begin_writer(me.task, Writer::new(fold));
        world.spawn(me.process, Work::Append(Append { turn: self.turn, attempt: self.number, of: me.task }));
        if !fold.has_started() {
            world.writers[me.task].send(Chunk::Start);
        }
    }

    fn after_tools(&mut self, world: &mut World, me: Me) {
        let writer = &mut world.writers[me.task];
        if writer.fold.in_step() {
            writer.send(Chunk::StepFinish);
        }
        self.stage = Stage::History;
    }

    fn end(&mut self, world: &mut World, me: Me, end: End, last: Option<StepCommit>) {
        if !world.db.has(Mechanism::RowBeforeSeal) {
            world.writers[me.task].end(end);
        }
        self.stage = Stage::FlushEnd(Ending { end, last });
    }

    /// `Stopped::Lost`: whatever it would write is refused.
    fn lose() -> Flow {
        Flow::Done
    }

    /// What a write that must be repeated until it is answered came to; `None` to try again.
    fn written(&mut self, world: &World, me: Me, answer: &Answer) -> Option<Flow> {
        match answer {
            Answer::Unavailable if world.signals[me.task].lost => Some(Self::lose()),
            Answer::Unavailable => {
                self.ambiguous = true;
                Some(Flow::Sleep(1))
            }
            Answer::Written(Err(Refused::Fenced))
            | Answer::Steered(Err(Refused::Fenced))
            | Answer::Steering(Err(Refused::Fenced)) => Some(Self::lose()),
            // The first try was carried out after all.
            Answer::Written(Err(Refused::Broken(Broken::StepKey))) if self.ambiguous => None,
            Answer::Written(Err(Refused::Broken(_))) | Answer::Finished(Err(Refused::Broken(_))) => {
                self.stage = Stage::GiveUp;
                Some(Flow::Go)
            }
            _ => None,
        }
    }

    /// `at_boundary`, and what follows it.
    fn boundary(&mut self, world: &mut World, me: Me) -> Flow {
        let signals = world.signals[me.task];
        if signals.lost {
            return Self::lose();
        }
        if signals.hand_back {
            self.stage = Stage::FlushForHandBack;
            return Flow::Go;
        }
        if signals.cancel {
            self.end(world, me, End::Cancelled, None);
        } else if let Some(code) = self.refused {
            self.end(world, me, End::Failed(code), None);
        } else if self.may_be_steered {
            self.stage = Stage::LookForSteering;
        } else {
            self.begin_step(world, me);
        }
        Flow::Go
    }

    fn begin_step(&mut self, world: &mut World, me: Me) {
        self.may_be_steered = true;
        world.laws.asked(self.turn, self.claimed.losses);
        world.laws.spends(&world.db, &world.windows, self.turn);
        self.stage = Stage::Model(Listening::begin(world, me, self.turn, self.steps + 1));
    }

    fn step_ended(&mut self, world: &mut World, me: Me, commit: StepCommit, end: StepEnd) {
        let end = match end {
            StepEnd::Calls(calls) => {
                self.ambiguous = false;
                self.stage = Stage::Commit(commit, calls);
                return;
            }
            StepEnd::Said => End::Completed,
            StepEnd::Cancelled => End::Cancelled,
            StepEnd::Failed => End::Failed(ErrorCode::ProviderError),
        };
        let empty = commit.said.is_empty() && commit.used == 0;
        self.end(world, me, end, (!empty).then_some(commit));
    }

    fn finished(&mut self, world: &mut World, me: Me, answer: &Answer) -> Flow {
        match answer {
            Answer::Finished(Ok(finished)) if !world.db.has(Mechanism::SessionLock) => {
                self.stage = Stage::PromoteSeparately(finished.end);
                Flow::Go
            }
            Answer::Finished(Ok(finished)) => self.row_ended(world, me, finished.end, finished.next),
            Answer::Finished(Err(Refused::Fenced)) if self.ambiguous => {
                self.stage = Stage::WhoEnded;
                Flow::Go
            }
            Answer::Finished(Err(Refused::Fenced)) => Self::lose(),
            answer => unreachable!("the end of {:?} got {answer:?}", self.turn),
        }
    }

    fn flushed(&mut self, world: &World, me: Me) -> bool {
        self.ambiguous = false;
        !world.writers[me.task].refused
    }

    /// What clients have seen is known: what was not committed is taken back.
    fn begin_recovered(&mut self, world: &mut World, me: Me, fold: &Fold) {
        self.begin_writing(world, me, fold);
        let open = Calls::empty(crate::model::CallId(0));
        let begun = world.writers[me.task].fold.steps_begun();
        if begun > usize::from(self.steps) {
            if world.db.has(Mechanism::TakeBack) {
                world.writers[me.task].take_back(self.number);
            }
            self.recovered(world, me, &Fold::default(), open);
        } else if self.steps > 0 && world.writers[me.task].fold.in_step() {
            if let Stage::Recover(recovery) = &mut self.stage {
                recovery.ask_for_calls(self.steps);
            }
        } else {
            self.recovered(world, me, &Fold::default(), open);
        }
    }
}
