//! A user's workspace: files that outlive the conversations in which they were made.
//!
//! What is known of a file is in PostgreSQL, its bytes are in the [blob store](crate::blobs). Three
//! rules hold the two together: an entry among the loose blobs is written before a blob is; it goes
//! in the transaction that makes the file's row; and a file's end puts its blob back there. So a
//! blob without a row is always known, and the [sweep](Workspaces::sweep) deletes it.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::blobs::{BlobError, BlobKey, BlobReader, Blobs};
use crate::id::{FileId, UserId};
use crate::store::{Fence, Fenced, Store, StoreError};

mod config;
mod path;
mod text;
mod upload;

pub use config::WorkspaceConfig;
pub use path::{FilePath, PathError, extension_of, file_name, mime_type_of};
pub use text::{TextRange, is_image, is_text};
use upload::Room;
pub use upload::Upload;

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its id. A file that takes another one's place has an id of its own.
    pub id: FileId,
    /// The last segment of its path, or what it was called by whoever uploaded it.
    pub name: String,
    /// Where it is.
    pub path: FilePath,
    /// Its type.
    pub mime_type: String,
    /// Its size in bytes.
    pub size_bytes: i64,
    /// SHA-256 of its bytes.
    pub checksum: [u8; 32],
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// Where its bytes are.
    pub blob: BlobKey,
}

/// What a file is to be called, and what becomes of one that is already there.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it is to be.
    pub path: FilePath,
    /// What it is to be called.
    pub name: String,
    /// Its type.
    pub mime_type: String,
    /// What becomes of a file that has the path.
    pub on_existing: OnExisting,
}

impl Target {
    /// A file at a path, of the type that its name tells, that takes no other one's place.
    pub fn at(path: FilePath) -> Self {
        let name = path.name().to_owned();
        Self { mime_type: mime_type_of(&name), name, path, on_existing: OnExisting::Refuse }
    }

    /// The same, taking the place of a file that has the path.
    #[must_use]
    pub fn replacing(self) -> Self {
        Self { on_existing: OnExisting::Replace, ..self }
    }
}

/// What becomes of a file that has the path of a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExisting {
    /// It stays, and the new one is refused.
    Refuse,
    /// It is deleted.
    Replace,
}

/// What a user's files take up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StorageUsage {
    /// Bytes of all files.
    pub used_bytes: i64,
    /// Bytes that they may have.
    pub limit_bytes: i64,
    /// How many files there are.
    pub file_count: i64,
}

impl StorageUsage {
    /// The share that is used, in percent, to one place.
    pub fn used_percent(&self) -> f64 {
        if self.limit_bytes == 0 {
            return 0.0;
        }
        // Tenths of a percent, rounded, in integers: both are far below what overflows.
        let tenths = (self.used_bytes.saturating_mul(1000).saturating_add(self.limit_bytes / 2)) / self.limit_bytes;
        f64::from(i32::try_from(tenths).unwrap_or(i32::MAX)) / 10.0
    }
}

/// Why a file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// It has more bytes than a file may.
    #[error("File exceeds maximum size of {} MB", .0 >> 20)]
    TooLarge(u64),
    /// The user's files would have more bytes than they may. Whether that shows only now that the
    /// file is written, since others were written meanwhile.
    #[error("Storage limit exceeded")]
    QuotaExceeded(StorageUsage, Noticed),
    /// Another file has the path.
    #[error("File already exists at path: {0}")]
    Exists(FilePath),
    /// The upload took so long that it counts as abandoned.
    #[error("the upload took too long")]
    Abandoned,
    /// The turn on whose behalf it was to be written or deleted has a newer attempt, or has ended.
    #[error("the attempt was fenced off")]
    Fenced,
    /// The blob store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// PostgreSQL failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Fenced> for WorkspaceError {
    fn from(error: Fenced) -> Self {
        match error {
            Fenced::Fenced => Self::Fenced,
            Fenced::Store(error) => Self::Store(error),
        }
    }
}

/// When it shows that a quota is exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noticed {
    /// When the upload began, or as soon as it was longer than what was free then.
    Before,
    /// When the file was complete: others had been written meanwhile.
    After,
}

/// How much there may be.
#[derive(Debug, Clone, Copy)]
pub struct WorkspaceLimits {
    /// Bytes of all files of a user.
    pub quota_bytes: i64,
    /// Bytes of one file.
    pub max_file_bytes: u64,
}

/// An upload that is not complete after this long counts as abandoned.
const UPLOAD_PATIENCE: Duration = Duration::from_hours(2);

/// How often loose blobs are looked for.
const SWEEP_EVERY: Duration = Duration::from_mins(1);

/// How long a blob that could not be deleted is left alone.
const SWEEP_PAUSE: Duration = Duration::from_mins(5);

/// The workspaces of all users.
#[derive(Debug, Clone)]
pub struct Workspaces {
    store: Store,
    blobs: Blobs,
    limits: WorkspaceLimits,
    by: Option<Fence>,
}

impl Workspaces {
    /// The workspaces in these stores.
    pub fn new(store: Store, blobs: Blobs, limits: WorkspaceLimits) -> Self {
        Self { store, blobs, limits, by: None }
    }

    /// The same on behalf of a turn: nothing is written or deleted unless its attempt is still the
    /// newest one.
    #[must_use]
    pub fn on_behalf_of(&self, turn: Fence) -> Self {
        Self { by: Some(turn), ..self.clone() }
    }

    /// How much there may be.
    pub fn limits(&self) -> WorkspaceLimits {
        self.limits
    }

    /// Begins to write a file of `expected` bytes, if that is known. What can be told before the
    /// first byte is refused here; the last word is that of [`Upload::finish`].
    pub async fn begin(&self, user: &UserId, target: Target, expected: Option<u64>) -> Result<Upload, WorkspaceError> {
        let limit = self.limits.max_file_bytes;
        if expected.is_some_and(|expected| expected > limit) {
            return Err(WorkspaceError::TooLarge(limit));
        }
        let workspace = self.store.ensure_workspace(user).await?;
        let replaced = match (self.find_at(user, &target.path).await?, target.on_existing) {
            (Some(_), OnExisting::Refuse) => return Err(WorkspaceError::Exists(target.path)),
            (Some(old), OnExisting::Replace) => old.size_bytes,
            (None, _) => 0,
        };
        let usage = self.usage(user).await?;
        let growth = i64::try_from(expected.unwrap_or(1)).unwrap_or(i64::MAX) - replaced;
        if growth > 0 && usage.used_bytes.saturating_add(growth) > usage.limit_bytes {
            return Err(WorkspaceError::QuotaExceeded(usage, Noticed::Before));
        }
        let blob = BlobKey::new(workspace, Uuid::now_v7());
        self.store.note_loose_blob(&blob, UPLOAD_PATIENCE).await?;
        let room = usage.limit_bytes.saturating_sub(usage.used_bytes).saturating_add(replaced);
        Ok(Upload::new(self.clone(), workspace, target, blob, Room { bytes: room.max(0).unsigned_abs(), usage }))
    }

    /// Writes a file that is at hand as a whole.
    pub async fn write(&self, user: &UserId, target: Target, content: Bytes) -> Result<File, WorkspaceError> {
        let mut upload = self.begin(user, target, u64::try_from(content.len()).ok()).await?;
        upload.write(content).await?;
        upload.finish().await
    }

    /// A file of the user's.
    pub async fn find(&self, user: &UserId, id: FileId) -> Result<Option<File>, StoreError> {
        self.store.find_file(user, id).await
    }

    /// The user's file at a path.
    pub async fn find_at(&self, user: &UserId, path: &FilePath) -> Result<Option<File>, StoreError> {
        self.store.find_file_at(user, path).await
    }

    /// Has the user ever written a file?
    pub async fn exists(&self, user: &UserId) -> Result<bool, StoreError> {
        self.store.has_workspace(user).await
    }

    /// Those of the user's files that have these ids, in the order of the ids.
    pub async fn find_all(&self, user: &UserId, ids: &[FileId]) -> Result<Vec<File>, StoreError> {
        let mut found = self.store.find_files(user, ids).await?;
        found.sort_by_key(|file| ids.iter().position(|id| *id == file.id));
        Ok(found)
    }

    /// A page of the user's files below a prefix, newest first, and how many there are in all.
    pub async fn list(
        &self,
        user: &UserId,
        prefix: &str,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<File>, i64), StoreError> {
        self.store.list_files(user, prefix, limit, offset).await
    }

    /// The bytes of a file, or a part of them. `None` if the file was deleted meanwhile.
    pub async fn read(
        &self,
        file: &File,
        range: Option<std::ops::Range<u64>>,
    ) -> Result<Option<BlobReader>, BlobError> {
        self.blobs.read(&file.blob, range).await
    }

    /// All bytes of a file of at most `limit`.
    pub async fn read_whole(&self, file: &File, limit: usize) -> Result<Option<Bytes>, BlobError> {
        match self.read(file, None).await? {
            Some(reader) => Ok(Some(reader.collect(limit).await?)),
            None => Ok(None),
        }
    }

    /// Deletes a file of the user's. `None` if there is none.
    pub async fn delete(&self, user: &UserId, id: FileId) -> Result<Option<File>, WorkspaceError> {
        let Some(file) = self.store.delete_file(user, id, self.by).await? else { return Ok(None) };
        self.discard(&file.blob).await;
        Ok(Some(file))
    }

    /// The user's file at a path, if it has this content, in place of writing it once more. Whoever
    /// wrote it cannot take it back any more.
    pub async fn find_again(
        &self,
        user: &UserId,
        path: &FilePath,
        checksum: &[u8; 32],
    ) -> Result<Option<File>, StoreError> {
        self.store.find_file_again(user, path, checksum).await
    }

    /// Deletes a file that was written for nothing, unless somebody found it again meanwhile.
    pub async fn take_back(&self, user: &UserId, file: &File) -> Result<(), StoreError> {
        if self.store.take_back_file(user, file).await? {
            self.discard(&file.blob).await;
        }
        Ok(())
    }

    /// What the user's files take up.
    pub async fn usage(&self, user: &UserId) -> Result<StorageUsage, StoreError> {
        let (used_bytes, file_count) = self.store.workspace_usage(user).await?;
        Ok(StorageUsage { used_bytes, limit_bytes: self.limits.quota_bytes, file_count })
    }

    /// Deletes a loose blob now rather than with the next sweep, which does what fails here.
    async fn discard(&self, blob: &BlobKey) {
        let deleted = self.blobs.delete(blob).await;
        let noted = match deleted {
            Ok(()) => self.store.forget_loose_blob(blob).await,
            Err(error) => {
                tracing::warn!(blob = %blob, error = &error as &dyn std::error::Error, "a blob is left to the sweep");
                return;
            }
        };
        if let Err(error) = noted {
            tracing::warn!(blob = %blob, error = &error as &dyn std::error::Error, "a deleted blob is left to the sweep");
        }
    }

    /// Sweeps now and then until `stop`.
    pub async fn keep_swept(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(SWEEP_EVERY) => {}
            }
            match self.sweep().await {
                Ok(0) => {}
                Ok(swept) => tracing::info!(swept, "deleted blobs that no file has"),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the sweep of blobs broke off; trying again"
                ),
            }
        }
    }

    /// Deletes the loose blobs that are due. Returns how many.
    pub async fn sweep(&self) -> Result<u64, StoreError> {
        let mut swept = 0;
        while let Some(loose) = self.store.take_loose_blob().await? {
            // The row is held meanwhile: an upload that completes after all finds it gone.
            match self.blobs.delete(loose.blob()).await {
                Ok(()) => {
                    loose.forget().await?;
                    swept += 1;
                }
                Err(error) => {
                    tracing::warn!(blob = %loose.blob(), error = &error as &dyn std::error::Error, "a loose blob could not be deleted; trying again later");
                    loose.postpone(SWEEP_PAUSE).await?;
                }
            }
        }
        Ok(swept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_have_one_place() {
        let usage = |used_bytes, limit_bytes| StorageUsage { used_bytes, limit_bytes, file_count: 0 };
        let tenths = |usage: StorageUsage| format!("{:?}", usage.used_percent());
        assert_eq!(tenths(usage(0, 500)), "0.0");
        assert_eq!(tenths(usage(1, 3)), "33.3");
        assert_eq!(tenths(usage(2, 3)), "66.7");
        assert_eq!(tenths(usage(500 << 20, 500 << 20)), "100.0");
        assert_eq!(tenths(usage(1, 0)), "0.0");
    }
}
