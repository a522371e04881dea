//! From a turn's stream to its viewers.
//!
//! One subscription connection serves the whole process. A batch is received once, and its bytes
//! are shared by all who watch the turn (`hub`, `channel`). A viewer is a sequence number that
//! moves forward (`viewer`): it subscribes, reads what is stored, and splices by number, so that
//! nothing is passed over and nothing comes twice. Viewers hold no buffers of their own.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use copilot_shared::id::TurnId;
use copilot_shared::store::Store;
use copilot_shared::stream::{StreamError, Streams};
use futures_util::stream::BoxStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

mod channel;
mod hub;
mod viewer;

use hub::Hub;

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

/// The bytes of an event stream. An error cuts the connection, so that no client takes the
/// response for complete.
pub type Frames = BoxStream<'static, Result<Bytes, io::Error>>;

/// The relay of one API process. Cheap to clone.
#[derive(Clone)]
pub struct Relay {
    hub: Arc<Hub>,
    streams: Streams,
    store: Store,
    stop: CancellationToken,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").finish_non_exhaustive()
    }
}

impl Relay {
    /// A relay that cuts its viewers at `stop`, so that they resume elsewhere.
    pub fn new(streams: Streams, store: Store, stop: CancellationToken) -> Result<Self, StreamError> {
        let hub = Hub::start(streams.clone(), stop.clone())?;
        Ok(Self { hub, streams, store, stop })
    }

    /// Tells whether the subscription connection is there.
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.hub.connected()
    }

    /// The bytes of a turn's event stream, heartbeats included, from `retry:` to `[DONE]`. It may
    /// be called before the turn has begun, and ends when the turn does, or when the process stops.
    pub fn follow(&self, turn: TurnId, start: Start) -> Frames {
        viewer::follow(self, turn, start)
    }

    /// Waits until a turn's last chunk is there.
    pub async fn ended(&self, turn: TurnId) {
        viewer::ended(self, turn).await;
    }
}
