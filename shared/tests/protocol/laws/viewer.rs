//! A client that is there all the time: mirrors `api/src/relay/viewer.rs`.

use crate::model::TurnId;
use crate::model::chunk::Chunk;
use crate::model::database::Database;
use crate::model::fold::Fold;
use crate::model::streams::Streams;

/// Every chunk that clients may have, by its number.
#[derive(Debug, Default)]
pub struct Published {
    /// The number before the first.
    base: u32,
    chunks: Vec<Chunk>,
}

impl Published {
    /// Forgets everything.
    pub fn reset(&mut self) {
        self.base = 0;
        self.chunks.clear();
    }

    /// The last number.
    pub fn end(&self) -> u32 {
        self.base + u32::try_from(self.chunks.len()).unwrap_or(0)
    }

    /// Takes in chunks from a number on. False if one of these numbers had another chunk.
    pub fn takes(&mut self, first: u32, chunks: &[Chunk]) -> bool {
        if first <= self.base || first > self.end() + 1 {
            // Far behind everything that was there, or the first of all.
            self.base = first - 1;
            self.chunks.clear();
        }
        let at = (first - self.base - 1) as usize;
        let same = chunks.iter().zip(&self.chunks[at..]).all(|(new, old)| new == old);
        if !same || at + chunks.len() > self.chunks.len() {
            self.chunks.truncate(at);
            self.chunks.extend_from_slice(chunks);
        }
        same
    }
}

/// What the client has.
#[derive(Debug, Clone, Copy, Default)]
pub struct Viewer {
    /// The message so far.
    pub fold: Fold,
    /// The number of the last chunk that it has.
    pub cursor: u32,
    /// It was told that the stream is lost, and began again as a late client.
    pub was_lost: bool,
    /// It has seen the last chunk.
    pub ended: bool,
}

impl Viewer {
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
            self.ended |= chunk.is_last();
        }
        self.cursor += u32::try_from(chunks.len()).unwrap_or(0);
        self.fold.sequence = self.cursor;
    }

    /// Comes back with no cursor, for the shortest replay.
    fn begin_again(&mut self, streams: &Streams, turn: TurnId) {
        let fold = streams.read_fold(turn).unwrap_or_default();
        *self = Self { fold, cursor: fold.sequence, was_lost: true, ended: fold.has_ended() };
    }
}

/// `is_lost`.
fn is_lost(db: &Database, streams: &Streams, turn: TurnId, next: u32) -> bool {
    match streams.meta(turn) {
        Some(meta) => meta.base >= next || meta.last + 1 < next,
        None => db.turn(turn).status.is_terminal(),
    }
}
