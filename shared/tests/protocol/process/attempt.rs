//! One attempt at a turn: mirrors `worker/src/turn.rs` and `worker/src/turn/persist.rs`.

use super::call::{Answer, Call, Calls};
use super::recovery::Recovery;
use super::seal::Progress;
use super::step::{Listening, StepEnd, Tools};
use super::usage::GiveBack;
use super::writer::{Append, Writer};
use super::{Flow, Me, Steps, Work};
use crate::mechanism::Mechanism;
use crate::model::chunk::{Chunk, End, ErrorCode};
use crate::model::database::{Broken, Claimed, Refused, StepCommit, TurnRow};
use crate::model::fold::Fold;
use crate::model::windows::StepUse;
use crate::model::{SECOND, Tick, TurnId, Turns, UserId};
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

    /// The row has ended: what was used is counted, then the stream is next.
    fn row_ended(&mut self, world: &mut World, me: Me, end: End, next: Turns) -> Flow {
        let used = self.last.and_then(|last| self.used(&last));
        self.stage = match (self.claimed.user, used) {
            (None, _) => return self.settled(world, me, end, next, true),
            (Some(_), Some(used)) => Stage::SettleEnd(end, next, GiveBack::settle(world, used)),
            (Some(_), None) => Stage::SettleEnd(end, next, GiveBack::release(world, self.claimed.ticket)),
        };
        Flow::Go
    }

    fn settled(&mut self, world: &mut World, me: Me, end: End, next: Turns, settled: bool) -> Flow {
        if let Some(used) = self.last.and_then(|last| self.used(&last)).filter(|_| settled) {
            world.process_mut(me).settled.push((used.ticket, used.step));
        }
        if world.db.has(Mechanism::RowBeforeSeal) {
            world.writers[me.task].end(end);
        }
        self.stage = Stage::PublishNext(end, next);
        self.is_settled = settled;
        Flow::Go
    }

    /// What a step counts for its user.
    fn used(&self, step: &StepCommit) -> Option<StepUse> {
        let user = self.claimed.user?;
        (step.used > 0).then_some(StepUse { user, ticket: self.claimed.ticket, step: step.step, weight: step.used })
    }

    /// Whose limits are to be asked before the next model call.
    fn limited(&self, world: &World, me: Me) -> Option<UserId> {
        let signals = world.signals[me.task];
        let exempt = signals.cancel || signals.hand_back || world.limit.is_none();
        self.claimed.user.filter(|_| !exempt)
    }

    /// What the counters said, or that they could not be asked.
    fn checked(&mut self, world: &World, me: Me, answer: &Answer) -> Flow {
        let now = world.now();
        match answer {
            Answer::Used(used) if world.limit.is_some_and(|limit| *used >= limit) => {
                self.refused = Some(ErrorCode::LimitReached);
            }
            Answer::Unavailable if world.signals[me.task].lost => return self.lose(),
            Answer::Unavailable if now < *self.asked_at.get_or_insert(now) + CHECK_PATIENCE => return Flow::Sleep(2),
            Answer::Unavailable => self.refused = Some(ErrorCode::UsageUnavailable),
            _ => {}
        }
        self.asked_at = None;
        self.stage = Stage::Boundary;
        Flow::Go
    }

    /// Gives back what turns had reserved whose messages are answered by this one now.
    fn take_over(&mut self, world: &mut World, me: Me, mut taken: Turns) -> Flow {
        match taken.pop().filter(|_| self.claimed.user.is_some()) {
            Some(turn) => {
                let ticket = world.db.turn(turn).ticket;
                self.stage = Stage::TakeOver(taken, Some(GiveBack::release(world, ticket)));
            }
            None => self.begin_step(world, me),
        }
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
            Stage::Check => self.limited(world, me).map_or(Call::Local, Call::Look),
            Stage::TakeOver(_, give_back) => give_back.as_ref().map_or(Call::Local, GiveBack::next),
            Stage::Settle(step, _) => Call::Settle(*step, false),
            Stage::SettleEnd(_, _, give_back) => give_back.next(),
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
            | Stage::FlushLast(_) => Call::Local,
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
            Stage::FlushForHandBack | Stage::FlushStep(..) | Stage::FlushEnd(_) | Stage::FlushLast(_) => {
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

    /// Takes in what the counters answered: what they do not take now is counted later.
    fn take_usage(&mut self, world: &mut World, me: Me, answer: &Answer) -> Option<Flow> {
        match &mut self.stage {
            Stage::Check => Some(self.checked(world, me, answer)),
            Stage::Settle(step, calls) => {
                let (step, calls) = (*step, *calls);
                if !matches!(answer, Answer::Unavailable) {
                    world.process_mut(me).settled.push((step.ticket, step.step));
                }
                self.stage = Stage::Tools(Tools::new(world, self.turn, self.number, calls));
                Some(Flow::Go)
            }
            Stage::SettleEnd(end, next, give_back) => {
                let (end, next) = (*end, *next);
                match give_back.take(answer) {
                    Progress::More => Some(Flow::Go),
                    Progress::Over(()) => Some(self.settled(world, me, end, next, true)),
                    Progress::Failed => Some(self.settled(world, me, end, next, false)),
                }
            }
            Stage::TakeOver(taken, give_back) => {
                let taken = *taken;
                match give_back.as_mut().map(|give_back| give_back.take(answer)) {
                    Some(Progress::More) => Some(Flow::Go),
                    _ => Some(self.take_over(world, me, taken)),
                }
            }
            _ => None,
        }
    }

    fn take_own(&mut self, world: &mut World, me: Me, answer: Answer) -> Flow {
        if let Stage::PublishHandedBack | Stage::GiveUp = self.stage {
            return Flow::Done;
        }
        if let Stage::PublishNext(end, mut next) = self.stage {
            let more = next.pop().is_some();
            self.stage = if more { Stage::PublishNext(end, next) } else { Stage::FlushLast(self.is_settled) };
            return Flow::Go;
        }
        if let Some(flow) = self.take_usage(world, me, &answer) {
            return flow;
        }
        if let Some(flow) = self.written(world, me, &answer) {
            return flow;
        }
        match (&mut self.stage, answer) {
            (Stage::History, Answer::Text(text)) => {
                world.laws.read_text(self.turn, text);
                self.stage = Stage::Check;
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
            (Stage::MoveSteering, Answer::Steering(Ok(steering))) if world.db.has(Mechanism::SteeringLock) => {
                return self.take_over(world, me, steering);
            }
            (Stage::MoveSteering, Answer::Steering(Ok(steering))) => self.stage = Stage::MoveMessages(steering),
            (Stage::MoveMessages(steering), Answer::Steered(Ok(_))) => {
                let steering = *steering;
                return self.take_over(world, me, steering);
            }
            (Stage::FlushStep(commit, end), _) => {
                let (mut commit, end) = (*commit, *end);
                if !self.flushed(world, me) {
                    return self.lose();
                }
                commit.chunk_sequence = world.writers[me.task].fold.sequence;
                self.step_ended(world, me, commit, end);
            }
            (Stage::Commit(commit, calls), Answer::Written(_)) => {
                let (commit, calls) = (*commit, *calls);
                self.steps = commit.step;
                self.stage = match self.used(&commit) {
                    Some(used) => Stage::Settle(used, calls),
                    None => Stage::Tools(Tools::new(world, self.turn, self.number, calls)),
                };
            }
            (Stage::FlushEnd(ending), _) => {
                let ending = *ending;
                if !self.flushed(world, me) {
                    return self.lose();
                }
                self.last = ending.last;
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
            (Stage::FlushLast(settled), _) => {
                // Sealing settles, so what is not settled is left to be sealed.
                if *settled && !world.writers[me.task].refused {
                    world.process_mut(me).sealed.insert(self.turn);
                }
                return Flow::Done;
            }
            (_, answer) => unreachable!("an attempt at {:?} got {answer:?}", self.turn),
        }
        Flow::Go
    }
}
