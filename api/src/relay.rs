//! From a turn's stream to its viewers.

use bytes::Bytes;
use copilot_shared::id::TurnId;
use copilot_shared::store::Store;
use copilot_shared::stream::Streams;
use futures_util::stream::BoxStream;

/// Where a viewer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the first chunk, as they come: for the request that made the turn.
    Everything,
    /// Behind this sequence number.
    After(u64),
    /// With the shortest replay, for a client without a cursor.
    Compacted,
}

/// The relay of one API process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Relay {
    _streams: Streams,
    _store: Store,
}

impl Relay {
    /// A relay; connects when it is first used.
    pub fn new(streams: Streams, store: Store) -> Self {
        Self { _streams: streams, _store: store }
    }

    /// The bytes of a turn's event stream, heartbeats included, from `retry:` to `[DONE]`. It may
    /// be called before the turn has begun, and ends when the turn does, or when the process stops.
    pub fn follow(&self, _turn: TurnId, _start: Start) -> BoxStream<'static, Bytes> {
        Box::pin(futures_util::stream::empty())
    }
}
