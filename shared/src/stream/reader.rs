//! Reading stored chunks: the tail behind a cursor, and the fold.

use bytes::Bytes;
use fred::prelude::*;

use super::{Batch, StreamError, Streams, snapshot};
use crate::chunk::parse_frames;
use crate::fold::Fold;
use crate::id::TurnId;
use crate::turn::Attempt;

/// Batches a read asks for at most: thousands, since one round trip a batch would be slow.
const PAGE: u64 = 2_000;

/// What is known of a stored stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// The newest attempt.
    pub attempt: Attempt,
    /// The last sequence number.
    pub last: u64,
    /// The last chunk is there.
    pub closed: bool,
    /// Chunks up to this sequence number were lost, and only the snapshot tells of them.
    pub base: u64,
}

/// Stored batches behind a sequence number.
#[derive(Debug)]
pub struct Stored {
    /// The batches, in order. The first may begin before what was asked for.
    pub batches: Vec<Batch>,
    /// There may be more.
    pub more: bool,
}

impl Streams {
    /// What is known of a turn's stream; `None` if there is none.
    pub async fn meta(&self, turn: TurnId) -> Result<Option<Meta>, StreamError> {
        let fields = vec!["attempt", "last", "closed", "base"];
        let (attempt, last, closed, base): (Option<i32>, Option<u64>, Option<i64>, Option<u64>) =
            self.pool.next().hmget(self.meta_key(turn), fields).await?;
        Ok(attempt.map(|attempt| Meta {
            attempt: Attempt(attempt),
            last: last.unwrap_or(0),
            closed: closed.is_some(),
            base: base.unwrap_or(0),
        }))
    }

    /// The batches that hold chunks behind `sequence`.
    pub async fn read_after(&self, turn: TurnId, sequence: u64) -> Result<Stored, StreamError> {
        let start = format!("{}-0", sequence.saturating_add(1));
        let entries: Vec<(Value, Vec<Value>)> =
            self.pool.next().xrange(self.chunks_key(turn), start, "+", Some(PAGE)).await?;
        let more = entries.len() == usize::try_from(PAGE).unwrap_or(usize::MAX);
        let mut batches = Vec::with_capacity(entries.len());
        for (_id, fields) in entries {
            let payload = fields.into_iter().nth(1).and_then(Value::into_bytes).unwrap_or_default();
            batches.push(Batch::parse(&payload)?);
        }
        Ok(Stored { batches, more })
    }

    /// The oldest chunk that is stored.
    pub async fn oldest_sequence(&self, turn: TurnId) -> Result<Option<u64>, StreamError> {
        let entries: Vec<(Value, Vec<Value>)> =
            self.pool.next().xrange(self.chunks_key(turn), "-", "+", Some(1)).await?;
        let Some((_id, fields)) = entries.into_iter().next() else { return Ok(None) };
        let payload = fields.into_iter().nth(1).and_then(Value::into_bytes).unwrap_or_default();
        Ok(Some(Batch::parse(&payload)?.first))
    }

    /// The state after every stored chunk; `None` if there is no stream.
    pub async fn read_fold(&self, turn: TurnId) -> Result<Option<Fold>, StreamError> {
        if self.meta(turn).await?.is_none() {
            return Ok(None);
        }
        let stored: Option<Bytes> = self.pool.next().get(self.snapshot_key(turn)).await?;
        let mut fold = stored.and_then(|stored| snapshot::decode(&stored)).unwrap_or_default();
        loop {
            let page = self.read_after(turn, fold.sequence).await?;
            for batch in &page.batches {
                match parse_frames(&batch.frames) {
                    Ok(frames) => fold.apply_frames(frames),
                    Err(error) => tracing::error!(turn.id = %turn, %error, "a stored batch cannot be folded"),
                }
                // What a newer version wrote and we left out keeps its place.
                fold.sequence = fold.sequence.max(batch.last);
            }
            if !page.more {
                return Ok(Some(fold));
            }
        }
    }
}
