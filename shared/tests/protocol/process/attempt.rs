//! One attempt at a turn: mirrors `worker/src/turn.rs` and `worker/src/turn/persist.rs`.

use super::call::{Answer, Call, Calls};
use super::recovery::Recovery;
use super::step::{Listening, StepEnd, Tools};
use super::writer::{Append, Writer};
use super::{Flow, Me, Steps, Work};
use crate::mechanism::Mechanism;
use crate::model::chunk::{Chunk, End, ErrorCode};
use crate::model::database::{Broken, Claimed, Refused, StepCommit, TurnRow};
use crate::model::fold::Fold;
use crate::model::{TurnId, Turns};
use crate::world::World;

/// `MAX_LOSSES`, which is 5 there: small worlds lose fewer workers.
pub const MAX_LOSSES: u8 = 2;

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
    /// An answer may have been lost after a commit.
    ambiguous: bool,
    stage: Stage,
}

enum Stage {
    Recover(Recovery),
    Tools(Tools),
    History,
    Boundary,
    FlushForHandBack,
    HandBack,
    PublishHandedBack,
    LookForSteering,
    MoveSteering,
    MoveMessages(Turns),
    Model(Listening),
    FlushStep(StepCommit, StepEnd),
    Commit(StepCommit, Calls),
    FlushEnd(Ending),
    Finish(Ending),
    /// The answer to the end was lost, and then it was refused.
    WhoEnded,
    PromoteSeparately(End),
    PublishNext(End, Turns),
    FlushLast,
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
            ambiguous: false,
            stage: Stage::Recover(Recovery::new(world, turn, claimed.row)),
        };
        if claimed.row.attempt == 1 {
            attempt.recovered(world, me, Fold::default(), Calls::empty(crate::model::CallId(0)));
        }
        attempt
    }

    /// Clients have seen what the fold says; a writer goes on behind it.
    fn recovered(&mut self, world: &mut World, me: Me, fold: Fold, open: Calls) {
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
    pub fn begin_writing(&self, world: &mut World, me: Me, fold: Fold) {
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
    fn lose(&mut self) -> Flow {
        Flow::Done
    }

    /// What a write that must be repeated until it is answered came to; `None` to try again.
    fn written(&mut self, world: &World, me: Me, answer: &Answer) -> Option<Flow> {
        match answer {
            Answer::Unavailable if world.signals[me.task].lost => Some(self.lose()),
            Answer::Unavailable => {
                self.ambiguous = true;
                Some(Flow::Sleep(1))
            }
            Answer::Written(Err(Refused::Fenced))
            | Answer::Steered(Err(Refused::Fenced))
            | Answer::Steering(Err(Refused::Fenced)) => Some(self.lose()),
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
            return self.lose();
        }
        if signals.hand_back {
            self.stage = Stage::FlushForHandBack;
            return Flow::Go;
        }
        if signals.cancel {
            self.end(world, me, End::Cancelled, None);
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

    /// The row has ended: the stream is next.
    fn row_ended(&mut self, world: &mut World, me: Me, end: End, next: Turns) -> Flow {
        if world.db.has(Mechanism::RowBeforeSeal) {
            world.writers[me.task].end(end);
        }
        self.stage = Stage::PublishNext(end, next);
        Flow::Go
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
            Answer::Finished(Err(Refused::Fenced)) => self.lose(),
            answer => unreachable!("the end of {:?} got {answer:?}", self.turn),
        }
    }

    fn flushed(&mut self, world: &World, me: Me) -> bool {
        self.ambiguous = false;
        !world.writers[me.task].refused
    }
}

impl Steps for Attempt {
    fn next(&self, world: &World, me: Me) -> Call {
        let (turn, number) = (self.turn, self.number);
        match &self.stage {
            Stage::Recover(recovery) => recovery.next(world),
            Stage::Tools(tools) => tools.next(world),
            Stage::History => Call::History(turn),
            Stage::HandBack => Call::HandBack(turn, number),
            Stage::PublishHandedBack => Call::PublishTurn(turn),
            Stage::LookForSteering => Call::LookForSteering(turn, number),
            Stage::MoveSteering if world.db.has(Mechanism::SteeringLock) => Call::MoveSteering(turn, number),
            Stage::MoveSteering => Call::FindSteering(turn, number),
            Stage::MoveMessages(steering) => Call::MoveMessages(turn, *steering),
            Stage::Commit(commit, _) => Call::CommitStep(turn, number, *commit),
            Stage::Finish(ending) if world.db.has(Mechanism::SessionLock) => {
                Call::Finish(turn, number, ending.end, ending.last, world.writers[me.task].fold.sequence)
            }
            Stage::Finish(ending) => {
                let reaches = world.writers[me.task].fold.sequence;
                Call::FinishUnpromoted(turn, number, ending.end, ending.last, reaches)
            }
            Stage::WhoEnded => Call::TurnOfAnySession(turn),
            Stage::PromoteSeparately(_) => Call::Promote(turn),
            Stage::PublishNext(_, next) => {
                let mut next = *next;
                next.pop().map_or(Call::Local, Call::PublishTurn)
            }
            Stage::GiveUp => Call::GiveUp(turn, number),
            Stage::Boundary
            | Stage::FlushForHandBack
            | Stage::Model(_)
            | Stage::FlushStep(..)
            | Stage::FlushEnd(_)
            | Stage::FlushLast => Call::Local,
        }
    }

    fn take(&mut self, world: &mut World, me: Me, answer: Answer) -> Flow {
        match &mut self.stage {
            Stage::Recover(recovery) => {
                return match recovery.take(world, me, answer) {
                    super::recovery::Next::Ask(flow) => flow,
                    super::recovery::Next::Write(fold) => {
                        self.begin_recovered(world, me, *fold);
                        Flow::Go
                    }
                    super::recovery::Next::GoOn(open) => {
                        self.recovered(world, me, Fold::default(), open);
                        Flow::Go
                    }
                    super::recovery::Next::Lost => self.lose(),
                };
            }
            Stage::Tools(tools) => {
                return match tools.take(world, me, answer) {
                    super::step::Ran::More(flow) => flow,
                    super::step::Ran::All => {
                        self.after_tools(world, me);
                        Flow::Go
                    }
                    super::step::Ran::Stopped => {
                        self.end(world, me, End::Cancelled, None);
                        Flow::Go
                    }
                    super::step::Ran::Lost => self.lose(),
                    super::step::Ran::Broken => {
                        self.stage = Stage::GiveUp;
                        Flow::Go
                    }
                };
            }
            Stage::Model(listening) => {
                if world.signals[me.task].lost {
                    return self.lose();
                }
                if let Some((commit, end)) = listening.hear(world, me) {
                    self.stage = Stage::FlushStep(commit, end);
                }
                return Flow::Go;
            }
            _ => {}
        }
        self.take_own(world, me, answer)
    }

    fn is_ready(&self, world: &World, me: Me) -> bool {
        match self.stage {
            Stage::FlushForHandBack | Stage::FlushStep(..) | Stage::FlushEnd(_) | Stage::FlushLast => {
                world.writers[me.task].is_flushed()
            }
            _ => true,
        }
    }
}

impl Attempt {
    /// What clients have seen is known: what was not committed is taken back.
    fn begin_recovered(&mut self, world: &mut World, me: Me, fold: Fold) {
        self.begin_writing(world, me, fold);
        let open = Calls::empty(crate::model::CallId(0));
        let begun = world.writers[me.task].fold.steps_begun();
        if begun > usize::from(self.steps) {
            if world.db.has(Mechanism::TakeBack) {
                world.writers[me.task].take_back(self.number);
            }
            self.recovered(world, me, Fold::default(), open);
        } else if self.steps > 0 && world.writers[me.task].fold.in_step() {
            if let Stage::Recover(recovery) = &mut self.stage {
                recovery.ask_for_calls(self.steps);
            }
        } else {
            self.recovered(world, me, Fold::default(), open);
        }
    }

    fn take_own(&mut self, world: &mut World, me: Me, answer: Answer) -> Flow {
        if let Stage::PublishHandedBack | Stage::GiveUp = self.stage {
            return Flow::Done;
        }
        if let Stage::PublishNext(end, mut next) = self.stage {
            self.stage = if next.pop().is_some() { Stage::PublishNext(end, next) } else { Stage::FlushLast };
            return Flow::Go;
        }
        if let Some(flow) = self.written(world, me, &answer) {
            return flow;
        }
        match (&mut self.stage, answer) {
            (Stage::History, Answer::Text(text)) => {
                world.laws.read_text(self.turn, text);
                self.stage = Stage::Boundary;
            }
            (Stage::Boundary, _) => return self.boundary(world, me),
            (Stage::FlushForHandBack, _) => {
                if !self.flushed(world, me) {
                    return self.lose();
                }
                self.stage = Stage::HandBack;
            }
            (Stage::HandBack, Answer::Written(Ok(()))) => self.stage = Stage::PublishHandedBack,
            (Stage::LookForSteering, Answer::Steered(Ok(true))) => self.stage = Stage::MoveSteering,
            (Stage::LookForSteering, Answer::Steered(Ok(false))) => self.begin_step(world, me),
            (Stage::MoveSteering, Answer::Steering(Ok(steering))) => self.stage = Stage::MoveMessages(steering),
            (Stage::MoveSteering | Stage::MoveMessages(_), Answer::Steered(Ok(_))) => self.begin_step(world, me),
            (Stage::FlushStep(commit, end), _) => {
                let (mut commit, end) = (*commit, *end);
                if !self.flushed(world, me) {
                    return self.lose();
                }
                commit.chunk_sequence = world.writers[me.task].fold.sequence;
                self.step_ended(world, me, commit, end);
            }
            (Stage::Commit(commit, calls), Answer::Written(_)) => {
                let (step, calls) = (commit.step, *calls);
                self.steps = step;
                self.stage = Stage::Tools(Tools::new(world, self.turn, self.number, calls));
            }
            (Stage::FlushEnd(ending), _) => {
                let ending = *ending;
                if !self.flushed(world, me) {
                    return self.lose();
                }
                self.stage = Stage::Finish(ending);
            }
            (Stage::Finish(_), answer) => return self.finished(world, me, &answer),
            (Stage::WhoEnded, Answer::Row(row)) => {
                let end = super::seal::end_of(&row).filter(|_| row.attempt == self.number);
                return match end {
                    Some(end) => self.row_ended(world, me, end, Turns::default()),
                    None => self.lose(),
                };
            }
            (Stage::PromoteSeparately(end), Answer::Turns(next)) => {
                let end = *end;
                return self.row_ended(world, me, end, next);
            }
            (Stage::FlushLast, _) => {
                if !world.writers[me.task].refused {
                    world.process_mut(me).sealed.insert(self.turn);
                }
                return Flow::Done;
            }
            (_, answer) => unreachable!("an attempt at {:?} got {answer:?}", self.turn),
        }
        Flow::Go
    }
}
