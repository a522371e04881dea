//! The files of users: uploaded, listed, downloaded, deleted.

use copilot_shared::blobs::{BlobError, BlobReader};
use copilot_shared::id::{FileId, SessionId, UserId};
use copilot_shared::session::Caller;
use copilot_shared::store::StoreError;
use copilot_shared::workspace::{File, FilePath, PathError, StorageUsage, Target, WorkspaceError, file_name};

use super::uploads::{TooManyUploads, UploadUnderWay};
use super::{App, SessionError};
use crate::auth::Place;

/// From this share on, in percent, the log says that a workspace is nearly full.
const NEARLY_FULL: f64 = 80.0;

/// What is known of a file before its first byte.
#[derive(Debug)]
pub struct Announced {
    /// The conversation in whose directory it is to be.
    pub session: Option<SessionId>,
    /// What its uploader calls it.
    pub name: String,
    /// What type its uploader says it is.
    pub mime_type: Option<String>,
    /// Is it to take the place of a file that has its path?
    pub overwrite: bool,
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The caller has never had one.
    #[error("Workspace not found")]
    NoWorkspace,
    /// There is no such file of the caller's.
    #[error("File not found")]
    NotFound,
    /// The conversation is not the caller's.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// It cannot be called so.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The caller uploads too much at once.
    #[error(transparent)]
    TooManyUploads(#[from] TooManyUploads),
    /// It cannot be written.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The blob store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl App {
    /// Begins to take a file, after others of the caller's if there are too many at once. Nobody sees
    /// it before its upload is finished.
    pub async fn begin_upload(&self, user: &UserId, announced: Announced) -> Result<UploadUnderWay, FileError> {
        if let Some(session) = announced.session {
            self.owned_session(&Place { caller: Caller::User(user.clone()), session }).await?;
        }
        let name = file_name(&announced.name);
        let path = FilePath::within(announced.session, &name)?;
        let mut target = Target::at(path);
        // The name tells the type better than browsers do, if it tells any.
        if target.mime_type == "application/octet-stream"
            && let Some(said) = announced.mime_type
        {
            target.mime_type = said;
        }
        let target = if announced.overwrite { target.replacing() } else { target };
        let slot = self.uploads.take(user).await?;
        Ok(UploadUnderWay { upload: self.workspaces.begin(user, target, None).await?, slot })
    }

    /// Completes an upload.
    pub async fn finish_upload(&self, user: &UserId, under_way: UploadUnderWay) -> Result<File, FileError> {
        let UploadUnderWay { upload, slot } = under_way;
        let file = upload.finish().await?;
        drop(slot);
        let usage = self.workspaces.usage(user).await?;
        if usage.used_percent() >= NEARLY_FULL {
            tracing::warn!(user.id = %user, used_bytes = usage.used_bytes, limit_bytes = usage.limit_bytes, "a workspace is nearly full");
        }
        Ok(file)
    }

    /// A page of the caller's files, of one conversation or of all, and how many there are.
    pub async fn list_files(
        &self,
        user: &UserId,
        session: Option<SessionId>,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<File>, i64), FileError> {
        let prefix = FilePath::prefix_within(session, "")?;
        Ok(self.workspaces.list(user, &prefix, limit, offset).await?)
    }

    /// A file of the caller's.
    pub async fn find_file(&self, user: &UserId, id: FileId) -> Result<File, FileError> {
        match self.workspaces.find(user, id).await? {
            Some(file) => Ok(file),
            None => Err(self.missing(user).await?),
        }
    }

    /// The bytes of a file, or a part of them.
    pub async fn read_file(&self, file: &File, range: Option<std::ops::Range<u64>>) -> Result<BlobReader, FileError> {
        self.workspaces.read(file, range).await?.ok_or(FileError::NotFound)
    }

    /// Deletes a file of the caller's.
    pub async fn delete_file(&self, user: &UserId, id: FileId) -> Result<(), FileError> {
        match self.workspaces.delete(user, id).await? {
            Some(_) => Ok(()),
            None => Err(self.missing(user).await?),
        }
    }

    /// What the caller's files take up.
    pub async fn storage_usage(&self, user: &UserId) -> Result<StorageUsage, StoreError> {
        self.workspaces.usage(user).await
    }

    async fn missing(&self, user: &UserId) -> Result<FileError, StoreError> {
        Ok(if self.workspaces.exists(user).await? { FileError::NotFound } else { FileError::NoWorkspace })
    }
}
