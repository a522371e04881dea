//! Redis: mirrors `shared/src/stream/append.lua` line by line, and the reads of
//! [`copilot_shared::stream::Streams`].

use super::chunk::Chunk;
use super::fold::Fold;
use super::{Attempt, TURNS, TurnId};
use crate::mechanism::{Mechanism, Mechanisms};

/// One batch (`copilot_shared::stream::Append`).
#[derive(Debug, Clone)]
pub struct Batch {
    /// The turn.
    pub turn: TurnId,
    /// The writer's attempt.
    pub attempt: Attempt,
    /// Sequence number of the first chunk.
    pub first: u32,
    /// The chunks; none to raise the attempt only.
    pub chunks: Vec<Chunk>,
    /// The fold after the batch, if late clients are to start from it.
    pub snapshot: Option<Box<Fold>>,
    /// Begin a stream that was lost here.
    pub anew: bool,
}

impl Batch {
    /// `Streams::raise`, of a stream that is known to reach a sequence number.
    pub fn raise(turn: TurnId, attempt: Attempt, reaches: u32) -> Self {
        Self { turn, attempt, first: reaches + 1, chunks: Vec::new(), snapshot: None, anew: false }
    }

    /// `Streams::begin_anew`.
    pub fn begin_anew(turn: TurnId, attempt: Attempt, fold: &Fold) -> Self {
        Self { first: fold.sequence + 1, snapshot: Some(Box::new(*fold)), anew: true, ..Self::raise(turn, attempt, 0) }
    }

    /// Sequence number of the last chunk.
    pub fn last(&self) -> u32 {
        self.first + u32::try_from(self.chunks.len()).unwrap_or(0) - 1
    }

    /// Is the last chunk the turn's last?
    pub fn ends(&self) -> bool {
        self.chunks.last().is_some_and(|chunk| chunk.is_last())
    }
}

/// What became of an append (`copilot_shared::stream::Appended`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is stored.
    Stored,
    /// A newer attempt exists.
    Fenced,
    /// The last chunk is there.
    Closed,
    /// The server has lost the stream.
    Lost,
    /// The sequence number does not follow: the stream ends at this one.
    Gap(u32),
}

/// `copilot_shared::stream::Meta`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// The newest attempt.
    pub attempt: Attempt,
    /// The last sequence number.
    pub last: u32,
    /// The last chunk is there.
    pub closed: bool,
    /// Chunks up to this one were lost.
    pub base: u32,
}

/// One turn's keys.
#[derive(Debug, Default)]
pub struct Stream {
    /// The meta hash.
    pub meta: Option<Meta>,
    /// The stored chunks, the first of which has sequence number `base + 1`.
    pub chunks: Vec<Chunk>,
    /// The snapshot.
    pub snapshot: Option<Fold>,
    /// The last number of each batch, for a server that comes back with an older state.
    marks: Vec<u32>,
    /// The snapshot that it began with.
    first_snapshot: Option<Fold>,
}

/// The server.
#[derive(Debug, Default)]
pub struct Streams {
    /// The streams of the turns.
    pub of: [Stream; TURNS],
    /// What is in force.
    pub mechanisms: Mechanisms,
}

impl Streams {
    /// Empties the server.
    pub fn reset(&mut self, mechanisms: Mechanisms) {
        self.mechanisms = mechanisms;
        (0..TURNS).for_each(|turn| self.lose(turn));
    }

    /// The keys of a turn are gone.
    pub fn lose(&mut self, turn: usize) {
        let stream = &mut self.of[turn];
        stream.meta = None;
        stream.chunks.clear();
        stream.snapshot = None;
        stream.marks.clear();
        stream.first_snapshot = None;
    }

    /// `append.lua`: one atomic step.
    pub fn append(&mut self, batch: &Batch) -> Appended {
        let has = |mechanism| self.mechanisms.has(mechanism);
        let stream = &mut self.of[batch.turn.at()];
        let (first, last) = (batch.first, batch.last());
        let known = stream.meta;
        if let Some(meta) = known {
            if meta.attempt > batch.attempt && has(Mechanism::AttemptFenceInAppend) {
                return Appended::Fenced;
            }
            if meta.closed && has(Mechanism::ClosedStreamTakesNothing) {
                return Appended::Closed;
            }
        }
        let mut meta = known.unwrap_or(Meta { attempt: batch.attempt, last: 0, closed: false, base: 0 });
        if batch.anew && meta.last < first - 1 {
            stream.chunks.clear();
            stream.marks.clear();
            stream.snapshot = None;
            stream.first_snapshot = batch.snapshot.as_deref().copied();
            meta.base = first - 1;
            meta.last = first - 1;
        } else if known.is_none() && first != 1 {
            return Appended::Lost;
        }
        if last < first {
            if meta.last < last {
                return Appended::Lost;
            }
            meta.attempt = batch.attempt;
            stream.meta = Some(meta);
            stream.snapshot = batch.snapshot.as_deref().copied().or(stream.snapshot);
            return Appended::Stored;
        }
        if first != meta.last + 1 && has(Mechanism::SequenceInAppend) {
            let repeated = known.is_some_and(|known| known.attempt == batch.attempt) && last <= meta.last;
            return if repeated { Appended::Stored } else { Appended::Gap(meta.last) };
        }
        stream.chunks.extend_from_slice(&batch.chunks);
        stream.snapshot = batch.snapshot.as_deref().copied().or(stream.snapshot);
        meta.attempt = batch.attempt;
        meta.last = last;
        stream.marks.push(last);
        meta.closed |= batch.ends();
        stream.meta = Some(meta);
        Appended::Stored
    }

    /// Redis comes back with an older state of a stream: its newest batches are gone. (One that was
    /// begun anew is not older than that.)
    pub fn lose_tail(&mut self, turn: usize, batches: u32) {
        let stream = &mut self.of[turn];
        let Some(meta) = &mut stream.meta else { return };
        let floor = stream.first_snapshot.map_or(0, |snapshot| snapshot.sequence);
        for _ in 0..batches {
            if stream.marks.last().is_some_and(|mark| *mark > floor) {
                stream.marks.pop();
                meta.last = stream.marks.last().copied().unwrap_or(meta.base);
                meta.closed = false;
            }
        }
        stream.chunks.truncate((meta.last - meta.base) as usize);
        if stream.snapshot.is_some_and(|snapshot| snapshot.sequence > meta.last) {
            stream.snapshot = stream.first_snapshot;
        }
    }

    /// `Streams::meta`.
    pub fn meta(&self, turn: TurnId) -> Option<Meta> {
        self.of[turn.at()].meta
    }

    /// `Streams::read_after`: the number of the first chunk behind `sequence`, and the chunks from it on.
    pub fn read_after(&self, turn: TurnId, sequence: u32) -> (u32, &[Chunk]) {
        let stream = &self.of[turn.at()];
        let base = stream.meta.map_or(0, |meta| meta.base);
        let skip = (sequence.saturating_sub(base) as usize).min(stream.chunks.len());
        (sequence.max(base) + 1, &stream.chunks[skip..])
    }

    /// `Streams::read_fold`.
    pub fn read_fold(&self, turn: TurnId) -> Option<Fold> {
        self.of[turn.at()].meta?;
        let mut fold = self.of[turn.at()].snapshot.unwrap_or_default();
        let (first, chunks) = self.read_after(turn, fold.sequence);
        if !chunks.is_empty() {
            fold.sequence = first - 1;
        }
        for chunk in chunks {
            fold.apply_next(*chunk);
        }
        Some(fold)
    }
}
