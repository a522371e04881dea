//! A model call and its tools: mirrors `worker/src/turn/step.rs` and `calls.rs`.

use super::call::{Answer, Call, Calls};
use super::{Flow, Me};
use crate::mechanism::Mechanism;
use crate::model::chunk::{Chunk, Outcome};
use crate::model::database::{Refused, StepCommit};
use crate::model::{Attempt, CallId, TurnId};
use crate::world::World;

/// What a provider is about to say.
#[derive(Debug, Clone, Copy)]
pub struct Listening {
    turn: TurnId,
    step: u8,
    pieces: u8,
    calls: u8,
    fails: bool,
    open: Option<u8>,
    said: u8,
    asked: Calls,
}

/// How a model call ended.
#[derive(Debug, Clone, Copy)]
pub enum StepEnd {
    Said,
    Calls(Calls),
    Cancelled,
    Failed,
}

impl Listening {
    /// The model begins to answer.
    pub fn begin(world: &mut World, me: Me, turn: TurnId, step: u8) -> Self {
        let script = world.scripts[turn.at()];
        let last = step >= script.steps;
        world.writers[me.task].send(Chunk::StepStart);
        let pieces = u8::try_from(world.dice.below(4)).unwrap_or(0);
        let calls = if last { 0 } else { u8::try_from(world.dice.between(1, 2)).unwrap_or(1) };
        Self {
            turn,
            step,
            pieces: if last && !script.fails { pieces.max(1) } else { pieces },
            calls,
            fails: last && script.fails,
            open: None,
            said: 0,
            asked: Calls::empty(CallId(0)),
        }
    }

    /// Hears the next event, or the user's stop. The step once it is over.
    pub fn hear(&mut self, world: &mut World, me: Me) -> Option<(StepCommit, StepEnd)> {
        if world.signals[me.task].cancel {
            return Some(self.end(world, me, StepEnd::Cancelled));
        }
        if self.pieces > 0 {
            self.pieces -= 1;
            self.speak(world, me);
        } else if self.calls > 0 {
            self.calls -= 1;
            self.close(world, me);
            let call = world.new_call();
            world.writers[me.task].send(Chunk::ToolInputStart(call));
            self.asked.push(call);
        } else if self.fails {
            return Some(self.end(world, me, StepEnd::Failed));
        } else {
            return Some(self.end(world, me, StepEnd::Said));
        }
        None
    }

    fn speak(&mut self, world: &mut World, me: Me) {
        let piece = world.new_piece();
        let writer = &mut world.writers[me.task];
        let part = self.open.unwrap_or_else(|| {
            let part = writer.fold.next_part();
            writer.send(Chunk::TextStart(part));
            part
        });
        self.open = Some(part);
        writer.send(Chunk::TextDelta(part, piece));
        self.said += 1;
    }

    fn close(&mut self, world: &mut World, me: Me) {
        if let Some(part) = self.open.take() {
            world.writers[me.task].send(Chunk::TextEnd(part));
        }
    }

    fn end(&mut self, world: &mut World, me: Me, end: StepEnd) -> (StepCommit, StepEnd) {
        self.close(world, me);
        let complete = matches!(end, StepEnd::Said);
        let writer = &mut world.writers[me.task];
        if complete {
            self.asked.iter().for_each(|call| writer.send(Chunk::ToolInputAvailable(call)));
        }
        let said = writer.fold.open_step_parts();
        let spoke = u32::from(self.said) + u32::try_from(self.asked.len()).unwrap_or(0);
        let used = if complete { 100 + world.dice.below(1_000) } else { spoke };
        let commit = StepCommit { step: self.step, said, used, estimated: !complete, chunk_sequence: 0 };
        world.laws.reported(self.turn, &commit);
        let end = if complete && !self.asked.is_empty() { StepEnd::Calls(self.asked) } else { end };
        (commit, end)
    }
}

/// The calls of a step, from the ledger entry before they start to the one after they end.
#[derive(Debug, Clone, Copy)]
pub struct Tools {
    turn: TurnId,
    attempt: Attempt,
    /// What no group has taken up yet.
    waiting: Calls,
    /// The group that runs.
    group: Calls,
    stage: ToolStage,
    ambiguous: bool,
}

#[derive(Debug, Clone, Copy)]
enum ToolStage {
    Start,
    StartUnfenced,
    Run,
    Finish(CallId, Outcome),
    HasFinished(CallId, Outcome),
}

/// How far the calls are.
pub enum Ran {
    More(Flow),
    All,
    /// By the user.
    Stopped,
    Lost,
    Broken,
}

impl Tools {
    /// Groups calls: those that may run side by side, then one by one.
    pub fn new(world: &mut World, turn: TurnId, attempt: Attempt, calls: Calls) -> Self {
        let mut tools = Self {
            turn,
            attempt,
            waiting: Calls::empty(CallId(0)),
            group: Calls::empty(CallId(0)),
            stage: ToolStage::Run,
            ambiguous: false,
        };
        let (mut group, mut alone) = (Calls::empty(CallId(0)), Calls::empty(CallId(0)));
        for call in calls.iter() {
            if world.tool(call).alone { alone.push(call) } else { group.push(call) }
        }
        tools.waiting = alone;
        tools.start(world, group);
        if group.is_empty() {
            tools.start_next(world);
        }
        tools
    }

    fn start(&mut self, world: &mut World, group: Calls) {
        self.group = group;
        self.ambiguous = false;
        let ledger = world.db.has(Mechanism::LedgerBeforeStart);
        self.stage = if ledger { ToolStage::Start } else { ToolStage::Run };
        if !ledger {
            world.laws.started(group.as_slice());
        }
    }

    /// False if no call is left.
    fn start_next(&mut self, world: &mut World) -> bool {
        let Some(next) = self.waiting.as_slice().first().copied() else { return false };
        let mut rest = Calls::empty(CallId(0));
        self.waiting.iter().skip(1).for_each(|call| rest.push(call));
        self.waiting = rest;
        let mut group = Calls::empty(CallId(0));
        group.push(next);
        self.start(world, group);
        true
    }

    /// The next call.
    pub fn next(&self, world: &World) -> Call {
        match self.stage {
            ToolStage::Start if world.db.has(Mechanism::LedgerLock) => {
                Call::StartCalls(self.turn, self.attempt, self.group)
            }
            ToolStage::Start => Call::StartCallsFence(self.turn, self.attempt),
            ToolStage::StartUnfenced => Call::StartCallsUnfenced(self.turn, self.attempt, self.group),
            ToolStage::Run => Call::Local,
            ToolStage::Finish(call, outcome) => Call::FinishCall(self.turn, self.attempt, call, outcome),
            ToolStage::HasFinished(call, _) => Call::HasFinishedCall(self.turn, self.attempt, call),
        }
    }

    /// Takes the answer in.
    pub fn take(&mut self, world: &mut World, me: Me, answer: Answer) -> Ran {
        match (self.stage, answer) {
            (_, Answer::Unavailable) if world.signals[me.task].lost => return Ran::Lost,
            (_, Answer::Unavailable) => {
                self.ambiguous = true;
                return Ran::More(Flow::Sleep(1));
            }
            (ToolStage::Start, Answer::Written(Ok(()))) if !world.db.has(Mechanism::LedgerLock) => {
                self.stage = ToolStage::StartUnfenced;
            }
            (ToolStage::Start | ToolStage::StartUnfenced, Answer::Written(Ok(()))) => {
                self.stage = ToolStage::Run;
                let signals = world.signals[me.task];
                if !signals.lost && !signals.cancel {
                    world.laws.started(self.group.as_slice());
                }
            }
            (ToolStage::Run, _) => return self.run(world, me),
            (ToolStage::Finish(call, outcome), Answer::Written(Ok(()))) => self.tell(world, me, call, outcome),
            (ToolStage::Finish(call, outcome), Answer::Written(Err(Refused::Fenced))) if self.ambiguous => {
                self.stage = ToolStage::HasFinished(call, outcome);
            }
            (ToolStage::HasFinished(call, outcome), Answer::Is(true)) => self.tell(world, me, call, outcome),
            (_, Answer::Written(Err(Refused::Fenced)) | Answer::Is(false)) => return Ran::Lost,
            (_, Answer::Written(Err(Refused::Broken(_)))) => return Ran::Broken,
            (stage, answer) => unreachable!("{stage:?} of {:?} got {answer:?}", self.turn),
        }
        Ran::More(Flow::Go)
    }

    /// Waits for one of the group to end.
    fn run(&mut self, world: &mut World, me: Me) -> Ran {
        let signals = world.signals[me.task];
        if signals.lost {
            return Ran::Lost;
        }
        if signals.cancel {
            return Ran::Stopped;
        }
        if self.group.is_empty() {
            return if self.start_next(world) { Ran::More(Flow::Go) } else { Ran::All };
        }
        let at = world.dice.index(self.group.len());
        let call = self.group.as_slice()[at];
        let mut rest = Calls::empty(CallId(0));
        self.group.iter().filter(|other| *other != call).for_each(|other| rest.push(other));
        self.group = rest;
        self.ambiguous = false;
        self.stage = ToolStage::Finish(call, world.new_outcome());
        Ran::More(Flow::Go)
    }

    fn tell(&mut self, world: &mut World, me: Me, call: CallId, outcome: Outcome) {
        world.writers[me.task].send(Chunk::ToolOutput(call, outcome));
        self.stage = ToolStage::Run;
    }
}
