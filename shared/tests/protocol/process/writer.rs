//! The chunks of an attempt on their way to Redis: mirrors `worker/src/turn/writer.rs`.

use std::rc::Rc;

use super::call::{Answer, Call};
use super::{Flow, Me, Steps};
use crate::mechanism::Mechanism;
use crate::model::chunk::{Chunk, End};
use crate::model::fold::Fold;
use crate::model::streams::{Appended, Batch};
use crate::model::{Attempt, TurnId};
use crate::world::World;

/// `TurnWriter` and its buffer.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    /// What clients have seen once everything is stored.
    pub fold: Fold,
    buffer: Vec<Chunk>,
    /// What is on its way.
    batch: Option<Rc<Batch>>,
    /// Redis has lost the stream, and the row must say whether it may be begun anew.
    asks_row: bool,
    /// The last sequence number that is stored.
    pub stored: u32,
    /// The attempt may write no more.
    pub refused: bool,
}

impl Writer {
    /// A writer that goes on behind `fold`.
    pub fn new(fold: &Fold) -> Self {
        Self { stored: fold.sequence, fold: *fold, ..Self::default() }
    }

    /// `TurnWriter::send`.
    pub fn send(&mut self, chunk: Chunk) {
        self.fold.apply_next(chunk);
        self.buffer.push(chunk);
    }

    /// `TurnWriter::end`.
    pub fn end(&mut self, end: End) {
        let mut fold = self.fold;
        let buffer = &mut self.buffer;
        self.fold.ending(end, |chunk| {
            fold.apply_next(chunk);
            buffer.push(chunk);
        });
        self.fold = fold;
    }

    /// The chunks by which the unfinished step is taken back.
    pub fn take_back(&mut self, attempt: Attempt) {
        let mut fold = self.fold;
        let buffer = &mut self.buffer;
        self.fold.retrying(attempt, |chunk| {
            fold.apply_next(chunk);
            buffer.push(chunk);
        });
        self.fold = fold;
    }

    /// Is everything stored, or refused?
    pub fn is_flushed(&self) -> bool {
        self.refused || self.stored >= self.fold.sequence
    }

    fn take_batch(&mut self, turn: TurnId, attempt: Attempt, snapshot: bool) {
        let chunks = std::mem::take(&mut self.buffer);
        let first = self.fold.sequence + 1 - u32::try_from(chunks.len()).unwrap_or(0);
        let snapshot = snapshot.then(|| Box::new(self.fold));
        self.batch = Some(Rc::new(Batch { turn, attempt, first, chunks, snapshot, anew: false }));
    }

    /// Has Redis lost the stream, or its end?
    fn has_lost(&self, appended: Appended) -> bool {
        match (appended, &self.batch) {
            (Appended::Lost, _) => true,
            (Appended::Gap(last), Some(batch)) => last + 1 < batch.first,
            _ => false,
        }
    }

    /// `Appender::begin_anew`, after the row said that the turn is still ours.
    fn begin_anew(&mut self) {
        let Some(batch) = self.batch.take() else { return };
        let mut chunks = batch.chunks.clone();
        chunks.append(&mut self.buffer);
        let snapshot = Some(Box::new(self.fold));
        self.batch = Some(Rc::new(Batch { chunks, snapshot, anew: true, ..(*batch).clone() }));
    }
}

/// The task that appends, as long as the attempt lives.
pub struct Append {
    pub turn: TurnId,
    pub attempt: Attempt,
    /// The task that runs the turn, whose writer this is.
    pub of: usize,
}

impl Append {
    fn refuse(&self, world: &mut World) -> Flow {
        world.writers[self.of].refused = true;
        world.signals[self.of].lost = true;
        Flow::Done
    }
}

impl Steps for Append {
    fn next(&self, world: &World, _me: Me) -> Call {
        let writer = &world.writers[self.of];
        match &writer.batch {
            Some(_) if writer.asks_row => Call::Holds(self.turn, self.attempt),
            Some(batch) => Call::Append(Rc::clone(batch)),
            None => Call::Local,
        }
    }

    fn take(&mut self, world: &mut World, _me: Me, answer: Answer) -> Flow {
        let lost = world.signals[self.of].lost;
        let asks = world.db.has(Mechanism::HoldsBeforeAnew);
        let writer = &mut world.writers[self.of];
        match answer {
            Answer::Unavailable if lost => return self.refuse(world),
            Answer::Unavailable => return Flow::Sleep(1),
            Answer::Appended(Appended::Stored) => {
                let stored = writer.batch.take().map_or(writer.stored, |batch| batch.last());
                writer.stored = stored;
                world.signals[self.of].stored = stored;
            }
            Answer::Appended(appended) if writer.has_lost(appended) => {
                writer.asks_row = asks;
                if !asks {
                    writer.begin_anew();
                }
            }
            Answer::Is(true) => {
                writer.asks_row = false;
                writer.begin_anew();
            }
            Answer::Appended(_) | Answer::Is(false) => return self.refuse(world),
            _ => {
                let snapshot = world.dice.one_in(6);
                world.writers[self.of].take_batch(self.turn, self.attempt, snapshot);
            }
        }
        Flow::Go
    }

    fn is_ready(&self, world: &World, _me: Me) -> bool {
        let writer = &world.writers[self.of];
        writer.batch.is_some() || !writer.buffer.is_empty()
    }
}
