//! The fenced append.

use bytes::Bytes;
use fred::prelude::*;

use super::{Batch, StreamError, Streams};
use crate::chunk::{Chunk, Frame, write_bare_frame, write_frame, write_usage};
use crate::fold::Fold;
use crate::id::TurnId;
use crate::turn::Attempt;

/// One batch to append.
#[derive(Debug)]
pub struct Append {
    /// The turn.
    pub turn: TurnId,
    /// The writer's attempt.
    pub attempt: Attempt,
    /// Sequence number of the first chunk.
    pub first: u64,
    /// Sequence number of the last chunk.
    pub last: u64,
    /// Is the last chunk the turn's last?
    pub ends: bool,
    /// Header and frames.
    pub payload: Bytes,
    /// The fold after the batch, if late clients are to start from it.
    pub snapshot: Option<Bytes>,
    /// Begin a stream that the server has lost with this batch. Only the holder of the turn's
    /// lease may do so.
    pub anew: bool,
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is stored and on its way to the viewers, or it was before.
    Stored,
    /// A newer attempt exists: stop at once.
    Fenced,
    /// The turn's last chunk is there: nothing may follow.
    Closed,
    /// The server has lost the stream, or the end of it.
    Lost,
    /// The sequence number does not follow: the stream ends at this one.
    Gap(u64),
}

impl Append {
    /// Puts chunks behind `last` into one batch; a usage comment takes no sequence number.
    pub fn of(turn: TurnId, attempt: Attempt, last: u64, frames: &[Frame]) -> Self {
        let count = frames.iter().filter(|frame| matches!(frame, Frame::Chunk(..))).count();
        let new_last = last + u64::try_from(count).unwrap_or(u64::MAX);
        let ends =
            frames.iter().any(|frame| matches!(frame, Frame::Chunk(_, Chunk::Finish { .. } | Chunk::Abort { .. })));
        let mut payload = Vec::with_capacity(64 + frames.len() * 128);
        payload.extend_from_slice(Batch::header(attempt.0, last + 1, new_last, ends).as_bytes());
        let mut sequence = last;
        for frame in frames {
            match frame {
                Frame::Chunk(_, chunk) => {
                    sequence += 1;
                    write_frame(&mut payload, turn, sequence, chunk);
                }
                Frame::Usage(usage) => write_usage(&mut payload, usage),
            }
        }
        Self {
            turn,
            attempt,
            first: last + 1,
            last: new_last,
            ends,
            payload: payload.into(),
            snapshot: None,
            anew: false,
        }
    }
}

impl Streams {
    /// Appends a batch, if the attempt may still write.
    pub async fn append(&self, append: &Append) -> Result<Appended, StreamError> {
        let keys = [self.meta_key(append.turn), self.chunks_key(append.turn), self.snapshot_key(append.turn)];
        let ttl_ms = u64::try_from(self.settings.ttl.as_millis()).unwrap_or(u64::MAX);
        let args: Vec<Value> = vec![
            append.attempt.0.into(),
            number(append.first),
            number(append.last),
            Value::Bytes(append.payload.clone()),
            flag(append.ends),
            number(ttl_ms),
            Value::Bytes(append.snapshot.clone().unwrap_or_default()),
            flag(append.anew),
        ];
        let client = self.pool.next();
        let (word, last): (String, u64) = self.append.evalsha_with_reload(client, keys.to_vec(), args).await?;
        Ok(match word.as_str() {
            "ok" => Appended::Stored,
            "fenced" => Appended::Fenced,
            "closed" => Appended::Closed,
            "lost" => Appended::Lost,
            _ => Appended::Gap(last),
        })
    }

    /// Raises the attempt, so that older ones can write no more. `reaches` is a sequence number that
    /// the stream is known to have had: one that does not reach as far was lost, and did not just
    /// never begin.
    pub async fn raise(&self, turn: TurnId, attempt: Attempt, reaches: u64) -> Result<Appended, StreamError> {
        let nothing = Append {
            turn,
            attempt,
            first: reaches + 1,
            last: reaches,
            ends: false,
            payload: Bytes::new(),
            snapshot: None,
            anew: false,
        };
        self.append(&nothing).await
    }

    /// Begins a lost stream anew behind `fold.sequence`, with the fold as its snapshot; one that
    /// reaches as far is left as it is. Only the holder of the turn's lease may do so.
    pub async fn begin_anew(&self, turn: TurnId, attempt: Attempt, fold: &Fold) -> Result<Appended, StreamError> {
        let nothing = Append {
            turn,
            attempt,
            first: fold.sequence + 1,
            last: fold.sequence,
            ends: false,
            payload: Bytes::new(),
            snapshot: Some(super::snapshot::encode(fold)),
            anew: true,
        };
        self.append(&nothing).await
    }

    /// Forgets a turn whose session was deleted.
    pub async fn forget(&self, turn: TurnId) -> Result<(), StreamError> {
        let keys = [self.meta_key(turn), self.chunks_key(turn), self.snapshot_key(turn)];
        let _deleted: i64 = self.pool.next().del(keys.to_vec()).await?;
        Ok(())
    }
}

fn number(n: u64) -> Value {
    Value::Integer(i64::try_from(n).unwrap_or(i64::MAX))
}

fn flag(set: bool) -> Value {
    Value::from_static_str(if set { "1" } else { "0" })
}

/// The frames that give a late client the fold's message: only the last one is a cursor.
pub(super) fn encode_replay(turn: TurnId, fold: &Fold) -> Vec<u8> {
    let frames = fold.replay();
    let mut out = Vec::new();
    let last = frames.len().saturating_sub(1);
    for (at, frame) in frames.iter().enumerate() {
        match frame {
            Frame::Chunk(_, chunk) if at == last => write_frame(&mut out, turn, fold.sequence, chunk),
            Frame::Chunk(_, chunk) => write_bare_frame(&mut out, chunk),
            Frame::Usage(usage) => write_usage(&mut out, usage),
        }
    }
    out
}

impl Fold {
    /// The replay as bytes of the wire.
    pub fn replay_frames(&self, turn: TurnId) -> Bytes {
        encode_replay(turn, self).into()
    }
}
