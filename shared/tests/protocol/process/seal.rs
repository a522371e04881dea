//! Ending a turn where no worker does: mirrors `shared/src/seal.rs` and `Streams::seal`.

use super::call::{Answer, Call};
use super::usage::{GiveBack, SettleAll};
use crate::mechanism::Mechanism;
use crate::model::chunk::{Chunk, End, List, Outcome, Said, Status};
use crate::model::database::{CallRow, Seen, TurnRow};
use crate::model::fold::Fold;
use crate::model::streams::{Appended, Batch};
use crate::model::{Attempt, CallId, TurnId, Turns};
use crate::world::World;

/// `LOST_STREAM_JUMP`.
const LOST_STREAM_JUMP: u32 = 1_000_000;

/// How a sub-task goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<T> {
    /// It has more calls to make.
    More,
    /// A server could not be reached: whoever asked gives up.
    Failed,
    /// It is over.
    Over(T),
}

/// `seal::rebuild`, with the jump.
pub fn rebuilt(world: &World, row: &TurnRow, mut fold: Fold) -> Fold {
    let jump = if world.db.has(Mechanism::LostStreamJump) { LOST_STREAM_JUMP } else { 0 };
    fold.sequence = row.chunk_sequence + jump;
    fold
}

/// How far a turn's stream is known to reach.
pub fn reach(world: &World, row: &TurnRow) -> u32 {
    if world.db.has(Mechanism::RaiseKnowsReach) { row.chunk_sequence } else { 0 }
}

/// The end that a terminal row tells of (`TurnEnd::of`).
pub fn end_of(row: &TurnRow) -> Option<End> {
    match row.status {
        Status::Queued | Status::Running => None,
        Status::Completed => Some(End::Completed),
        Status::Cancelled => Some(End::Cancelled),
        Status::Failed => row.error.map(End::Failed),
    }
}

/// `seal::seal`. Over with true once the last chunk is there.
#[derive(Debug, Clone)]
pub struct Seal {
    turn: TurnId,
    /// How far the stream is known to reach.
    reaches: u32,
    row: TurnRow,
    end: End,
    attempt: Attempt,
    stage: SealStage,
    fold: Fold,
    outcomes: List<(CallId, Outcome), 4>,
}

#[derive(Debug, Clone)]
enum SealStage {
    // `settle_ended`.
    Settle(SettleAll),
    Release(GiveBack),
    Raise,
    Messages,
    Anew,
    Fenced,
    Fold,
    Outcomes,
    Append,
    Note,
}

impl Seal {
    /// Seals the stream of a turn that has ended as `row` says; `None` if it has not.
    pub fn new(world: &World, turn: TurnId, row: TurnRow) -> Option<Self> {
        Some(Self {
            turn,
            reaches: reach(world, &row),
            row,
            end: end_of(&row)?,
            attempt: row.attempt,
            stage: if world.db.has(Mechanism::SettleBeforeSeal) {
                SealStage::Settle(SettleAll::of_turn(turn))
            } else {
                SealStage::Raise
            },
            fold: Fold::default(),
            outcomes: List::empty((CallId(0), Outcome::Unknown)),
        })
    }

    /// The next call.
    pub fn next(&self) -> Call {
        match &self.stage {
            SealStage::Settle(settle) => settle.next(),
            SealStage::Release(give_back) => give_back.next(),
            SealStage::Fenced => Call::Meta(self.turn),
            SealStage::Messages => Call::TurnMessages(self.turn),
            SealStage::Anew => Call::append(Batch::begin_anew(self.turn, self.attempt, &self.fold)),
            SealStage::Raise => Call::append(Batch::raise(self.turn, self.attempt, self.reaches)),
            SealStage::Fold => Call::ReadFold(self.turn),
            SealStage::Outcomes => Call::CallsOfStep(self.turn, self.row.steps),
            SealStage::Append => Call::append(self.last_batch()),
            SealStage::Note => Call::NoteSealed(Turns::of(self.turn)),
        }
    }

    fn last_batch(&self) -> Batch {
        let mut fold = self.fold;
        let mut batch = Batch::raise(self.turn, self.attempt, fold.sequence);
        for (call, outcome) in self.outcomes.iter() {
            fold.apply(Chunk::ToolOutput(call, outcome));
            batch.chunks.push(Chunk::ToolOutput(call, outcome));
        }
        fold.ending(self.end, |chunk| batch.chunks.push(chunk));
        batch
    }

    /// Takes the answer in.
    pub fn take(&mut self, world: &World, answer: Answer) -> Progress<bool> {
        self.stage = match (&mut self.stage, answer) {
            (_, Answer::Unavailable) => return Progress::Failed,
            (SealStage::Settle(settle), answer) => match (settle.take(&answer), self.row.user) {
                (Progress::Over(()), Some(_)) => SealStage::Release(GiveBack::release(world, self.row.ticket)),
                (Progress::Over(()), None) => SealStage::Raise,
                (Progress::More, _) => return Progress::More,
                (Progress::Failed, _) => return Progress::Failed,
            },
            (SealStage::Release(give_back), answer) => match give_back.take(&answer) {
                Progress::Over(()) => SealStage::Raise,
                Progress::More => return Progress::More,
                Progress::Failed => return Progress::Failed,
            },
            (SealStage::Raise, Answer::Appended(Appended::Lost)) => SealStage::Messages,
            (SealStage::Messages, Answer::Fold(Some(fold))) => {
                self.fold = rebuilt(world, &self.row, *fold);
                SealStage::Anew
            }
            (SealStage::Anew, Answer::Appended(Appended::Stored)) => self.taken(world),
            (SealStage::Raise, Answer::Appended(Appended::Stored)) => SealStage::Fold,
            (SealStage::Raise | SealStage::Anew, Answer::Appended(Appended::Fenced)) => SealStage::Fenced,
            (_, Answer::Appended(Appended::Closed)) => SealStage::Note,
            (SealStage::Fenced, Answer::Meta(meta)) => {
                self.attempt = meta.map_or(self.attempt, |meta| meta.attempt);
                SealStage::Raise
            }
            (SealStage::Fold, Answer::Fold(fold)) => {
                self.fold = fold.map(|fold| *fold).unwrap_or_default();
                if self.fold.sequence < self.reaches { SealStage::Raise } else { self.taken(world) }
            }
            (SealStage::Outcomes, Answer::Calls(calls)) => {
                self.note_outcomes(&calls);
                SealStage::Append
            }
            (SealStage::Append, Answer::Appended(Appended::Stored)) => SealStage::Note,
            // Another sealer was quicker, or the stream was lost in between.
            (SealStage::Append, Answer::Appended(_)) => SealStage::Raise,
            (SealStage::Raise | SealStage::Anew, Answer::Appended(_)) => return Progress::Over(false),
            (SealStage::Note, _) => return Progress::Over(true),
            (stage, answer) => unreachable!("{stage:?} got {answer:?}"),
        };
        Progress::More
    }

    /// What clients have seen is known, and nobody else writes.
    fn taken(&self, world: &World) -> SealStage {
        let asks = self.fold.has_open_tools() && world.db.has(Mechanism::OutcomesBeforeSeal);
        if asks { SealStage::Outcomes } else { SealStage::Append }
    }

    fn note_outcomes(&mut self, calls: &[CallRow]) {
        self.outcomes.clear();
        for call in calls {
            if let Some(outcome) = call.outcome.filter(|_| !self.fold.has_tool_output(call.id)) {
                self.outcomes.push((call.id, outcome));
            }
        }
    }
}

/// `seal::end_without_worker`. Over with the turns that may run now, or `None` if the turn ended
/// or was claimed meanwhile.
#[derive(Debug, Clone)]
pub struct EndWithoutWorker {
    turn: TurnId,
    row: TurnRow,
    end: End,
    stage: EndStage,
    fold: Fold,
    next: Turns,
}

#[derive(Debug, Clone)]
enum EndStage {
    Seize,
    Raise,
    Messages,
    Anew,
    Fold,
    SeizeLate,
    End,
    Row,
    Seal(Box<Seal>),
}

impl EndWithoutWorker {
    /// Ends a turn as `row` shows it.
    pub fn new(world: &World, turn: TurnId, row: TurnRow, end: End) -> Self {
        let seizes = world.db.has(Mechanism::SeizeBeforeRead);
        let stage = if seizes { EndStage::Seize } else { EndStage::Raise };
        Self { turn, row, end, stage, fold: Fold::default(), next: Turns::default() }
    }

    /// The next call.
    pub fn next(&self, world: &World) -> Call {
        // Before the row is seized, the attempt that it will have.
        let attempt = self.row.attempt + u8::from(!world.db.has(Mechanism::SeizeBeforeRead));
        match &self.stage {
            EndStage::Seize | EndStage::SeizeLate => Call::Seize(self.turn, self.row.attempt),
            EndStage::Raise => Call::append(Batch::raise(self.turn, attempt, reach(world, &self.row))),
            EndStage::Messages => Call::TurnMessages(self.turn),
            EndStage::Anew => Call::append(Batch::begin_anew(self.turn, attempt, &self.fold)),
            EndStage::Fold => Call::ReadFold(self.turn),
            EndStage::End => Call::EndWithoutWorker(self.turn, self.row.attempt, self.end, self.seen()),
            EndStage::Row => Call::TurnOfAnySession(self.turn),
            EndStage::Seal(seal) => seal.next(),
        }
    }

    fn taken(seizes: bool) -> EndStage {
        if seizes { EndStage::End } else { EndStage::SeizeLate }
    }

    /// What the open step said, unless it is committed, and how far the stream reaches.
    fn seen(&self) -> Seen {
        let committed = self.fold.steps_begun() <= usize::from(self.row.steps);
        let unfinished = if committed { Said::nothing() } else { self.fold.open_step_parts() };
        Seen { unfinished, chunk_sequence: self.fold.sequence }
    }

    /// Takes the answer in.
    pub fn take(&mut self, world: &World, answer: Answer) -> Progress<Option<Turns>> {
        let seizes = world.db.has(Mechanism::SeizeBeforeRead);
        self.stage = match (&mut self.stage, answer) {
            (EndStage::Seal(seal), answer) => {
                return match seal.take(world, answer) {
                    Progress::More => Progress::More,
                    Progress::Failed => Progress::Failed,
                    Progress::Over(_) => Progress::Over(Some(self.next)),
                };
            }
            (_, Answer::Unavailable) => return Progress::Failed,
            (EndStage::Seize, Answer::Seized(Ok(row))) => {
                self.row = row;
                EndStage::Raise
            }
            (EndStage::SeizeLate, Answer::Seized(Ok(row))) => {
                // As it was looked at before the stream was.
                self.row.attempt = row.attempt;
                EndStage::End
            }
            (EndStage::Raise, Answer::Appended(Appended::Lost)) => EndStage::Messages,
            (EndStage::Messages, Answer::Fold(Some(fold))) => {
                self.fold = rebuilt(world, &self.row, *fold);
                EndStage::Anew
            }
            (EndStage::Raise, Answer::Appended(Appended::Stored)) => EndStage::Fold,
            (EndStage::Anew, Answer::Appended(Appended::Stored)) => Self::taken(seizes),
            (EndStage::Raise | EndStage::Anew, Answer::Appended(_)) => return Progress::Over(None),
            (EndStage::Fold, Answer::Fold(fold)) => {
                self.fold = fold.map(|fold| *fold).unwrap_or_default();
                let lost = self.fold.sequence < reach(world, &self.row);
                if lost { EndStage::Raise } else { Self::taken(seizes) }
            }
            (EndStage::End, Answer::Finished(Ok(finished))) => {
                self.next = finished.next;
                EndStage::Row
            }
            (_, Answer::Finished(Err(_)) | Answer::Seized(Err(_))) => return Progress::Over(None),
            (EndStage::Row, Answer::Row(row)) => match Seal::new(world, self.turn, row) {
                Some(seal) => EndStage::Seal(Box::new(seal)),
                None => return Progress::Over(Some(self.next)),
            },
            (stage, answer) => unreachable!("{stage:?} got {answer:?}"),
        };
        Progress::More
    }
}
