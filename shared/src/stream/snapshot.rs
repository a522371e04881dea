//! The stored fold: where a late client's replay begins.

use bytes::Bytes;

use crate::fold::Fold;

/// The version of the format; another one is as good as no snapshot.
const VERSION: &[u8] = b"1\n";

/// Writes a fold down.
pub(super) fn encode(fold: &Fold) -> Bytes {
    let mut out = VERSION.to_vec();
    // A fold has string keys only, so it always serialises.
    let json = serde_json::to_writer(&mut out, fold);
    debug_assert!(json.is_ok());
    out.into()
}

/// Reads a fold back; `None` if it is of another version. The chunks are then read from the start.
pub(super) fn decode(stored: &[u8]) -> Option<Fold> {
    let json = stored.strip_prefix(VERSION)?;
    serde_json::from_slice(json).inspect_err(|error| tracing::warn!(%error, "a snapshot cannot be read")).ok()
}

impl Fold {
    /// The fold as a snapshot for [`super::Append`].
    pub fn to_snapshot(&self) -> Bytes {
        encode(self)
    }
}
