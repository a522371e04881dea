//! A file that is being written.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{File, Noticed, StorageUsage, Target, WorkspaceError, Workspaces};
use crate::blobs::{BlobKey, BlobWriter};
use crate::id::{FileId, WorkspaceId};
use crate::store::PlaceError;

/// A file that is being written. Its bytes go to the blob store as they come; nobody sees it before
/// it is finished. Dropping it deletes what was written.
#[derive(Debug)]
pub struct Upload {
    workspaces: Workspaces,
    workspace: WorkspaceId,
    target: Target,
    blob: BlobKey,
    room: Room,
    writer: Option<BlobWriter>,
    hash: Sha256,
    size: u64,
    fate: Fate,
}

/// What was free when an upload began. The last word is the database's, at the end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// How many bytes.
    pub(super) bytes: u64,
    /// What was used.
    pub(super) usage: StorageUsage,
}

/// What is to become of the blob when the upload is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is nobody's.
    Delete,
    /// It is a file's, or may be: the sweep knows.
    Keep,
}

impl Upload {
    pub(super) fn new(
        workspaces: Workspaces,
        workspace: WorkspaceId,
        target: Target,
        blob: BlobKey,
        room: Room,
    ) -> Self {
        let writer = Some(workspaces.blobs.write(&blob));
        Self { workspaces, workspace, target, blob, room, writer, hash: Sha256::new(), size: 0, fate: Fate::Delete }
    }

    /// Writes more bytes.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), WorkspaceError> {
        let limit = self.workspaces.limits.max_file_bytes;
        self.size = self.size.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if self.size > limit {
            return Err(WorkspaceError::TooLarge(limit));
        }
        if self.size > self.room.bytes {
            return Err(WorkspaceError::QuotaExceeded(self.room.usage, Noticed::Before));
        }
        self.hash.update(&bytes);
        if let Some(writer) = &mut self.writer {
            writer.write(bytes).await?;
        }
        Ok(())
    }

    /// Makes it a file, unless the quota or another file stands in the way.
    pub async fn finish(mut self) -> Result<File, WorkspaceError> {
        if let Some(writer) = self.writer.take() {
            writer.finish().await?;
        }
        let file = File {
            id: FileId::generate(),
            name: self.target.name.clone(),
            path: self.target.path.clone(),
            mime_type: self.target.mime_type.clone(),
            size_bytes: i64::try_from(self.size).unwrap_or(i64::MAX),
            checksum: std::mem::take(&mut self.hash).finalize().into(),
            created_at: chrono::Utc::now(),
            blob: self.blob.clone(),
        };
        // From here on the row may exist, whatever we get to hear. If it does not, the sweep
        // deletes the blob.
        self.fate = Fate::Keep;
        let quota = self.workspaces.limits.quota_bytes;
        let Workspaces { store, by, .. } = &self.workspaces;
        match store.place_file(self.workspace, &file, self.target.on_existing, quota, *by).await {
            Ok(placed) => {
                if let Some(replaced) = placed.replaced {
                    self.workspaces.discard(&replaced).await;
                }
                Ok(File { created_at: placed.created_at, ..file })
            }
            Err(PlaceError::Store(error)) => Err(error.into()),
            Err(refused) => {
                self.fate = Fate::Delete;
                Err(self.refusal(refused, file))
            }
        }
    }

    fn refusal(&self, refused: PlaceError, file: File) -> WorkspaceError {
        match refused {
            PlaceError::Exists => WorkspaceError::Exists(file.path),
            PlaceError::QuotaExceeded { used_bytes, file_count } => {
                let limit_bytes = self.workspaces.limits.quota_bytes;
                let usage = StorageUsage { used_bytes, limit_bytes, file_count };
                WorkspaceError::QuotaExceeded(usage, Noticed::After)
            }
            PlaceError::Abandoned => WorkspaceError::Abandoned,
            PlaceError::Fenced => WorkspaceError::Fenced,
            PlaceError::Store(error) => error.into(),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.fate == Fate::Keep {
            return;
        }
        let (workspaces, blob, writer) = (self.workspaces.clone(), self.blob.clone(), self.writer.take());
        let cleaning = async move {
            if let Some(writer) = writer {
                writer.abort().await;
            }
            workspaces.discard(&blob).await;
        };
        // Without a runtime the process is ending, and the sweep of another one does it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(cleaning);
        }
    }
}
