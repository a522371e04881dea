//! The session's working directory, wherever commands run.

use bytes::Bytes;
use copilot_shared::blobs::BlobReader;

use crate::cloud::CloudPieces;
use crate::sandbox::{Pieces, SessionFileError};
use crate::tools::{ToolContext, ToolFailure};

/// A file of the directory, which is read piece by piece.
pub(super) enum SessionFile {
    Here(Pieces),
    Outside(CloudPieces),
}

impl SessionFile {
    pub(super) async fn open(context: &ToolContext, path: &str) -> Result<Self, SessionFileError> {
        match &context.resources.cloud {
            None => context.resources.sandbox.open(context.session_id, path).await.map(Self::Here),
            Some(cloud) => cloud.open(context.whose(), path).await.map(Self::Outside),
        }
    }

    /// Its size in bytes, if that is known.
    pub(super) fn size(&self) -> Option<u64> {
        match self {
            Self::Here(pieces) => Some(pieces.size()),
            Self::Outside(pieces) => pieces.size(),
        }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, SessionFileError> {
        match self {
            Self::Here(pieces) => pieces.next().await,
            Self::Outside(pieces) => pieces.next().await,
        }
    }
}

/// Puts a file of so many bytes into the directory.
pub(super) async fn save(
    context: &ToolContext,
    path: &str,
    size: u64,
    mut content: BlobReader,
) -> Result<(), ToolFailure> {
    if let Some(cloud) = &context.resources.cloud {
        return cloud.save(context.whose(), path, size, content.into_stream()).await.map_err(unsaved);
    }
    let mut saving = context.resources.sandbox.save(context.session_id, path, size).await.map_err(unsaved)?;
    while let Some(piece) = content.next().await {
        saving.write(piece?).await.map_err(unsaved)?;
    }
    saving.finish().await.map_err(unsaved)
}

fn unsaved(error: SessionFileError) -> ToolFailure {
    match error {
        SessionFileError::Outside | SessionFileError::Missing | SessionFileError::NoFile => {
            ToolFailure::refused("invalid_save_path", error.to_string())
        }
        SessionFileError::Full => ToolFailure::refused("directory_full", error.to_string()),
        SessionFileError::System(_) => error.into(),
    }
}
