//! What all viewers of one turn share: its newest batches.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use copilot_shared::stream::Batch;
use tokio::sync::watch;

/// How far a viewer may fall behind before it is cut off.
const RING_BYTES: usize = 512 << 10;

/// The newest batches of a turn. Older ones are read from Redis.
pub(super) struct Channel {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// Counts how often messages may have been missed; `None` before the first subscription.
    epoch: Option<u64>,
    ring: VecDeque<Batch>,
    bytes: usize,
    viewers: usize,
    ended: bool,
    /// Batches were dropped because the ring was full.
    overflowed: bool,
}

/// What a viewer finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing that it has not.
    Nothing,
    /// Batches that follow what it has; `next` is what it wants after them.
    Frames { frames: Bytes, next: u64, ends: bool },
    /// What it wants next is no longer here.
    Behind,
}

impl Channel {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), changed: watch::Sender::new(0) }
    }

    /// Wakes up when anything changes.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The subscription stands; what was published before it may have been missed.
    pub(super) fn subscribed(&self) {
        let mut state = self.lock();
        state.epoch = Some(state.epoch.map_or(0, |epoch| epoch + 1));
        drop(state);
        self.wake();
    }

    /// Since when messages are received without a gap.
    pub(super) fn epoch(&self) -> Option<u64> {
        self.lock().epoch
    }

    /// Has the turn's last chunk passed?
    pub(super) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// Were batches dropped that a viewer may have been too slow for?
    pub(super) fn has_overflowed(&self) -> bool {
        self.lock().overflowed
    }

    /// Takes a published batch in.
    pub(super) fn push(&self, batch: Batch) {
        let mut state = self.lock();
        match state.ring.back().map(|newest| newest.last + 1) {
            Some(next) if batch.last < next => return,
            Some(next) if batch.first != next => {
                // A hole: viewers read the stream again.
                state.ring.clear();
                state.bytes = 0;
                state.epoch = state.epoch.map(|epoch| epoch + 1);
            }
            Some(_) | None => {}
        }
        state.ended |= batch.ends;
        state.bytes += batch.frames.len();
        state.ring.push_back(batch);
        while state.bytes > RING_BYTES && state.ring.len() > 1 {
            if let Some(oldest) = state.ring.pop_front() {
                state.overflowed = true;
                state.bytes -= oldest.frames.len();
            }
        }
        drop(state);
        self.wake();
    }

    /// What follows sequence number `next - 1`.
    pub(super) fn look(&self, next: u64) -> Found {
        let state = self.lock();
        let (Some(oldest), Some(newest)) = (state.ring.front(), state.ring.back()) else { return Found::Nothing };
        if newest.last < next {
            return Found::Nothing;
        }
        if oldest.first > next {
            return Found::Behind;
        }
        let wanted: Vec<Bytes> =
            state.ring.iter().filter(|batch| batch.last >= next).map(|batch| batch.frames_from(next)).collect();
        Found::Frames { frames: joined(wanted), next: newest.last + 1, ends: newest.ends }
    }

    pub(super) fn enter(&self) {
        self.lock().viewers += 1;
    }

    /// One viewer less. True if it was the last.
    pub(super) fn leave(&self) -> bool {
        let mut state = self.lock();
        state.viewers -= 1;
        state.viewers == 0
    }

    fn wake(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One piece is shared as it is; several become one, so that they leave in one write.
fn joined(mut pieces: Vec<Bytes>) -> Bytes {
    if pieces.len() == 1
        && let Some(only) = pieces.pop()
    {
        return only;
    }
    let mut all = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    for piece in pieces {
        all.extend_from_slice(&piece);
    }
    all.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(first: u64, last: u64, bytes: usize) -> Batch {
        Batch { first, last, ends: false, frames: vec![b'x'; bytes].into() }
    }

    #[test]
    fn a_viewer_gets_what_follows_and_nothing_twice() {
        let channel = Channel::new();
        assert_eq!(channel.look(1), Found::Nothing);
        channel.push(batch(1, 2, 10));
        channel.push(batch(1, 2, 10));
        channel.push(batch(3, 3, 5));
        assert!(matches!(channel.look(1), Found::Frames { frames, next: 4, .. } if frames.len() == 15));
        assert!(matches!(channel.look(3), Found::Frames { frames, next: 4, .. } if frames.len() == 5));
        assert_eq!(channel.look(4), Found::Nothing);
    }

    #[test]
    fn a_batch_that_comes_again_is_dropped_and_takes_nothing_with_it() {
        let channel = Channel::new();
        channel.subscribed();
        let before = channel.epoch();
        channel.push(batch(1, 2, 10));
        channel.push(batch(3, 3, 5));
        channel.push(batch(1, 2, 10));
        assert!(matches!(channel.look(1), Found::Frames { frames, next: 4, .. } if frames.len() == 15));
        assert_eq!(channel.epoch(), before, "viewers need not read the stream again");
    }

    #[test]
    fn a_hole_is_never_passed_over() {
        let channel = Channel::new();
        channel.subscribed();
        let before = channel.epoch();
        channel.push(batch(1, 2, 1));
        channel.push(batch(5, 6, 1));
        assert_eq!(channel.look(3), Found::Behind);
        assert_ne!(channel.epoch(), before, "viewers must read the stream again");
        assert!(matches!(channel.look(5), Found::Frames { next: 7, .. }));
    }

    #[test]
    fn the_ring_is_bounded_and_a_slow_viewer_is_behind() {
        let channel = Channel::new();
        for n in 1..=100 {
            channel.push(batch(n, n, RING_BYTES / 10));
        }
        assert!(channel.lock().bytes <= RING_BYTES);
        assert_eq!(channel.look(1), Found::Behind);
        assert!(matches!(channel.look(100), Found::Frames { .. }));
    }
}
