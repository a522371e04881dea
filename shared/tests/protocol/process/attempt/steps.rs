//! The calls of an attempt, one after the other.

use super::{Attempt, Stage};
use crate::mechanism::Mechanism;
use crate::model::Turns;
use crate::model::chunk::End;
use crate::model::fold::Fold;
use crate::process::call::{Answer, Call};
use crate::process::step;
use crate::process::usage::GiveBack;
use crate::process::{Flow, Me, Steps, recovery, seal};
use crate::world::World;

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
                    recovery::Next::Ask(flow) => flow,
                    recovery::Next::Write(fold) => {
                        self.begin_recovered(world, me, &fold);
                        Flow::Go
                    }
                    recovery::Next::GoOn(open) => {
                        self.recovered(world, me, &Fold::default(), open);
                        Flow::Go
                    }
                    recovery::Next::Lost => Self::lose(),
                };
            }
            Stage::Tools(tools) => {
                return match tools.take(world, me, answer) {
                    step::Ran::More(flow) => flow,
                    step::Ran::All => {
                        self.after_tools(world, me);
                        Flow::Go
                    }
                    step::Ran::Stopped => {
                        self.end(world, me, End::Cancelled, None);
                        Flow::Go
                    }
                    step::Ran::Lost => Self::lose(),
                    step::Ran::Broken => {
                        self.stage = Stage::GiveUp;
                        Flow::Go
                    }
                };
            }
            Stage::Model(listening) => {
                if world.signals[me.task].lost {
                    return Self::lose();
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
                    return Self::lose();
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
                    return Self::lose();
                }
                commit.chunk_sequence = world.writers[me.task].fold.sequence;
                self.step_ended(world, me, commit, end);
            }
            (Stage::Commit(commit, calls), Answer::Written(_)) => {
                let (commit, calls) = (*commit, *calls);
                self.committed(world, &commit, calls);
            }
            (Stage::FlushEnd(ending), _) => {
                let ending = *ending;
                if !self.flushed(world, me) {
                    return Self::lose();
                }
                self.last = ending.last;
                self.stage = Stage::Finish(ending);
            }
            (Stage::Finish(_), answer) => return self.finished(world, me, &answer),
            (Stage::WhoEnded, Answer::Row(row)) => {
                let end = seal::end_of(&row).filter(|_| row.attempt == self.number);
                return match end {
                    Some(end) => self.row_ended(world, me, end, Turns::default()),
                    None => Self::lose(),
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
