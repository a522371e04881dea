//! A client that is there all the time: mirrors `api/src/relay/viewer.rs`.

use crate::model::TurnId;
use crate::model::chunk::Chunk;
use crate::model::database::Database;
use crate::model::fold::Fold;
use crate::model::streams::Streams;

/// What the client has.
#[derive(Debug, Clone, Default)]
pub struct Viewer {
    /// The message so far.
    pub fold: Fold,
    /// The number of the last chunk that it has.
    pub cursor: u32,
    /// It was told that the stream is lost, and began again as a late client.
    pub was_lost: bool,
    /// It has seen the last chunk.
    pub ended: bool,
    /// What it was sent since it came.
    seen: Vec<Chunk>,
}

impl Viewer {
    /// What it had when it came.
    pub fn base(&self) -> u32 {
        self.cursor - u32::try_from(self.seen.len()).unwrap_or(0)
    }

    /// What it was sent from a number on.
    pub fn seen_from(&self, first: u32) -> &[Chunk] {
        let skip = first.saturating_sub(self.base() + 1) as usize;
        self.seen.get(skip..).unwrap_or_default()
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        let mut seen = std::mem::take(&mut self.seen);
        seen.clear();
        *self = Self { seen, ..Self::default() };
    }

    /// Reads what is stored behind its cursor (`read_stored`).
    pub fn read(&mut self, db: &Database, streams: &Streams, turn: TurnId) {
        if self.ended {
            return;
        }
        let (first, chunks) = streams.read_after(turn, self.cursor);
        if chunks.is_empty() {
            let lost = self.cursor > 0 && is_lost(db, streams, turn, self.cursor + 1);
            if lost {
                self.begin_again(streams, turn);
            }
            return;
        }
        if first > self.cursor + 1 && self.cursor > 0 {
            self.begin_again(streams, turn);
            return;
        }
        if first > self.cursor + 1 {
            // Nothing was seen yet, so it is a late client anyway.
            self.begin_again(streams, turn);
            self.was_lost = false;
            return;
        }
        for chunk in chunks {
            self.fold.apply_next(*chunk);
            self.seen.push(*chunk);
            self.ended |= chunk.is_last();
        }
        self.cursor += u32::try_from(chunks.len()).unwrap_or(0);
        self.fold.sequence = self.cursor;
    }

    /// Comes back with no cursor, for the shortest replay.
    fn begin_again(&mut self, streams: &Streams, turn: TurnId) {
        let fold = streams.read_fold(turn).unwrap_or_default();
        *self = Self { fold, cursor: fold.sequence, was_lost: true, ended: fold.has_ended(), ..Self::default() };
    }
}

/// `is_lost`.
fn is_lost(db: &Database, streams: &Streams, turn: TurnId, next: u32) -> bool {
    match streams.meta(turn) {
        Some(meta) => meta.base >= next || meta.last + 1 < next,
        None => db.turn(turn).status.is_terminal(),
    }
}
