//! What an attempt asks of the counters: mirrors `worker/src/turn/allowance.rs`.

use super::{Attempt, CHECK_PATIENCE, Stage};
use crate::mechanism::Mechanism;
use crate::model::chunk::{End, ErrorCode};
use crate::model::database::StepCommit;
use crate::model::windows::StepUse;
use crate::model::{Turns, UserId};
use crate::process::call::{Answer, Calls};
use crate::process::seal::Progress;
use crate::process::step::Tools;
use crate::process::usage::GiveBack;
use crate::process::{Flow, Me};
use crate::world::World;

impl Attempt {
    /// The row has ended: what was used is counted, then the stream is next.
    pub(super) fn row_ended(&mut self, world: &mut World, me: Me, end: End, next: Turns) -> Flow {
        let used = self.last.and_then(|last| self.used(&last));
        self.stage = match (self.claimed.user, used) {
            (None, _) => return self.settled(world, me, end, next, true),
            (Some(_), Some(used)) => Stage::SettleEnd(end, next, GiveBack::settle(world, used)),
            (Some(_), None) => Stage::SettleEnd(end, next, GiveBack::release(world, self.claimed.ticket)),
        };
        Flow::Go
    }

    pub(super) fn settled(&mut self, world: &mut World, me: Me, end: End, next: Turns, settled: bool) -> Flow {
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

    /// A step is in the rows: it is counted, then its calls are made.
    pub(super) fn committed(&mut self, world: &mut World, commit: &StepCommit, calls: Calls) {
        self.steps = commit.step;
        self.stage = match self.used(commit) {
            Some(used) => Stage::Settle(used, calls),
            None => Stage::Tools(Tools::new(world, self.turn, self.number, calls)),
        };
    }

    /// What a step counts for its user.
    pub(super) fn used(&self, step: &StepCommit) -> Option<StepUse> {
        let user = self.claimed.user?;
        (step.used > 0).then_some(StepUse { user, ticket: self.claimed.ticket, step: step.step, weight: step.used })
    }

    /// Whose limits are to be asked before the next model call.
    pub(super) fn limited(&self, world: &World, me: Me) -> Option<UserId> {
        let signals = world.signals[me.task];
        let exempt = signals.cancel || signals.hand_back || world.limit.is_none();
        self.claimed.user.filter(|_| !exempt)
    }

    /// What the counters said, or that they could not be asked.
    pub(super) fn checked(&mut self, world: &World, me: Me, answer: &Answer) -> Flow {
        let now = world.now();
        match answer {
            Answer::Used(used) if world.limit.is_some_and(|limit| *used >= limit) => {
                self.refused = Some(ErrorCode::LimitReached);
            }
            Answer::Unavailable if world.signals[me.task].lost => return Self::lose(),
            Answer::Unavailable if now < *self.asked_at.get_or_insert(now) + CHECK_PATIENCE => return Flow::Sleep(2),
            Answer::Unavailable => self.refused = Some(ErrorCode::UsageUnavailable),
            _ => {}
        }
        self.asked_at = None;
        self.stage = Stage::Boundary;
        Flow::Go
    }

    /// Gives back what turns had reserved whose messages are answered by this one now.
    pub(super) fn take_over(&mut self, world: &mut World, me: Me, mut taken: Turns) -> Flow {
        match taken.pop().filter(|_| self.claimed.user.is_some()) {
            Some(turn) => {
                let ticket = world.db.turn(turn).ticket;
                self.stage = Stage::TakeOver(taken, Some(GiveBack::release(world, ticket)));
            }
            None => self.begin_step(world, me),
        }
        Flow::Go
    }

    /// Takes in what the counters answered: what they do not take now is counted later.
    pub(super) fn take_usage(&mut self, world: &mut World, me: Me, answer: &Answer) -> Option<Flow> {
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
}
