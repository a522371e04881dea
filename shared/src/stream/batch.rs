//! A batch: consecutive chunks of one turn as they were appended together.
//!
//! Stored and published as `1 <attempt> <first> <last> <end>\n` and the frames. The leading `1` is
//! the version of the format.

use bytes::Bytes;

/// Consecutive chunks, ready for the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Sequence number of the first chunk.
    pub first: u64,
    /// Sequence number of the last chunk.
    pub last: u64,
    /// Does it hold the turn's last chunk?
    pub ends: bool,
    /// The frames, each with its id.
    pub frames: Bytes,
}

/// Bytes that are no batch of a version that this process knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a batch of a known version")]
pub struct BatchError;

impl Batch {
    /// The header that stands before the frames.
    pub fn header(attempt: i32, first: u64, last: u64, ends: bool) -> String {
        format!("1 {attempt} {first} {last} {}\n", u8::from(ends))
    }

    /// Reads a stored or published batch; the frames share its memory.
    pub fn parse(stored: &Bytes) -> Result<Self, BatchError> {
        let head_end = stored.iter().take(96).position(|&b| b == b'\n').ok_or(BatchError)?;
        let head = stored.get(..head_end).and_then(|head| std::str::from_utf8(head).ok()).ok_or(BatchError)?;
        let mut words = head.split(' ');
        let (Some("1"), Some(_attempt), Some(first), Some(last), Some(ends), None) =
            (words.next(), words.next(), words.next(), words.next(), words.next(), words.next())
        else {
            return Err(BatchError);
        };
        Ok(Self {
            first: first.parse().map_err(|_| BatchError)?,
            last: last.parse().map_err(|_| BatchError)?,
            ends: ends == "1",
            frames: stored.slice(head_end + 1..),
        })
    }

    /// The frames from sequence number `next` on.
    pub fn frames_from(&self, next: u64) -> Bytes {
        if next <= self.first {
            return self.frames.clone();
        }
        self.frames.slice(crate::chunk::offset_of(&self.frames, next)..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_reads_back() {
        let stored = Bytes::from(format!("{}data: x\n\n", Batch::header(3, 5, 9, true)));
        let batch = Batch::parse(&stored).unwrap();
        assert_eq!((batch.first, batch.last, batch.ends), (5, 9, true));
        assert_eq!(&batch.frames[..], b"data: x\n\n");
    }

    #[test]
    fn another_version_is_refused() {
        for bad in ["", "2 1 1 1 0\n", "1 1 1 1\n", "1 1 x 1 0\n", "1 1 1 1 0 0\n", "1 1 1 1 0"] {
            assert_eq!(Batch::parse(&Bytes::from(bad)), Err(BatchError), "{bad:?}");
        }
    }
}
