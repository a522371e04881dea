//! Rows of workspaces, their files, and the blobs that no file has. Whoever changes what a
//! workspace holds has its row, so that the quota is exact and a path has one file.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use sqlx::postgres::PgTransaction;

use super::{Fence, Fenced, Store, StoreError, Tx, fence, interval};
use crate::blobs::BlobKey;
use crate::id::{FileId, UserId, WorkspaceId};
use crate::workspace::{File, FilePath, OnExisting};

/// Why a file was not placed. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Another file has the path.
    #[error("the path is taken")]
    Exists,
    /// The files of the workspace would have more bytes than they may.
    #[error("the quota is exceeded")]
    QuotaExceeded {
        /// The bytes that they have.
        used_bytes: i64,
        /// How many they are.
        file_count: i64,
    },
    /// The blob was swept.
    #[error("the upload was abandoned")]
    Abandoned,
    /// The turn on whose behalf it was written has a newer attempt, or has ended.
    #[error("the attempt was fenced off")]
    Fenced,
    /// The store failed; the file may have been placed all the same.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for PlaceError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<Fenced> for PlaceError {
    fn from(error: Fenced) -> Self {
        match error {
            Fenced::Fenced => Self::Fenced,
            Fenced::Store(error) => Self::Store(error),
        }
    }
}

/// A file has its place.
#[derive(Debug)]
pub struct Placed {
    /// When, by the database's clock.
    pub created_at: DateTime<Utc>,
    /// The blob of the file that it replaced.
    pub replaced: Option<BlobKey>,
}

#[derive(FromRow)]
struct FileRow {
    id: FileId,
    name: String,
    path: FilePath,
    mime_type: String,
    size_bytes: i64,
    checksum: Vec<u8>,
    created_at: DateTime<Utc>,
    blob_key: BlobKey,
}

impl From<FileRow> for File {
    fn from(row: FileRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            path: row.path,
            mime_type: row.mime_type,
            size_bytes: row.size_bytes,
            // The column has no other length.
            checksum: row.checksum.try_into().unwrap_or_default(),
            created_at: row.created_at,
            blob: row.blob_key,
        }
    }
}

macro_rules! own_files {
    ($and:literal) => {
        concat!(
            "SELECT f.id, f.name, f.path, f.mime_type, f.size_bytes, f.checksum, f.created_at, f.blob_key \
             FROM workspace_files f JOIN workspaces w ON w.id = f.workspace_id \
             WHERE w.user_id = $1 AND f.deleted_at IS NULL ",
            $and
        )
    };
}

impl Store {
    /// The user's workspace, made on demand.
    pub async fn ensure_workspace(&self, user: &UserId) -> Result<WorkspaceId, StoreError> {
        let find = "SELECT id FROM workspaces WHERE user_id = $1";
        if let Some(id) = sqlx::query_scalar(find).bind(user).fetch_optional(&self.pool).await? {
            return Ok(id);
        }
        self.ensure_user(user).await?;
        sqlx::query("INSERT INTO workspaces (id, user_id) VALUES ($1, $2) ON CONFLICT (user_id) DO NOTHING")
            .bind(WorkspaceId::generate())
            .bind(user)
            .execute(&self.pool)
            .await?;
        Ok(sqlx::query_scalar(find).bind(user).fetch_one(&self.pool).await?)
    }

    /// Has the user a workspace?
    pub async fn has_workspace(&self, user: &UserId) -> Result<bool, StoreError> {
        let has = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM workspaces WHERE user_id = $1)");
        Ok(has.bind(user).fetch_one(&self.pool).await?)
    }

    /// Makes a file of a blob that was written, on behalf of a turn if `by` names one.
    pub async fn place_file(
        &self,
        workspace: WorkspaceId,
        file: &File,
        on_existing: OnExisting,
        quota_bytes: i64,
        by: Option<Fence>,
    ) -> Result<Placed, PlaceError> {
        let mut tx = self.pool.begin().await?;
        let used_bytes: i64 = sqlx::query_scalar("SELECT used_bytes FROM workspaces WHERE id = $1 FOR UPDATE")
            .bind(workspace)
            .fetch_optional(&mut *tx)
            .await?
            // The user was deleted meanwhile.
            .ok_or(PlaceError::Abandoned)?;
        hold(&mut tx, by).await?;
        let old: Option<(FileId, BlobKey, i64)> = sqlx::query_as(
            "SELECT id, blob_key, size_bytes FROM workspace_files \
             WHERE workspace_id = $1 AND path = $2 AND deleted_at IS NULL",
        )
        .bind(workspace)
        .bind(&file.path)
        .fetch_optional(&mut *tx)
        .await?;
        if old.is_some() && on_existing == OnExisting::Refuse {
            return Err(PlaceError::Exists);
        }
        let growth = file.size_bytes - old.as_ref().map_or(0, |old| old.2);
        if growth > 0 && used_bytes.saturating_add(growth) > quota_bytes {
            let file_count = count_files(&mut tx, workspace).await?;
            return Err(PlaceError::QuotaExceeded { used_bytes, file_count });
        }
        if let Some((id, blob, _)) = &old {
            soft_delete(&mut tx, *id, blob).await?;
        }
        let created_at = insert_file(&mut tx, workspace, file).await?;
        grow(&mut tx, workspace, growth).await?;
        tx.commit().await?;
        Ok(Placed { created_at, replaced: old.map(|old| old.1) })
    }

    /// Deletes a file of the user's, on behalf of a turn if `by` names one. Its blob is loose then.
    pub async fn delete_file(&self, user: &UserId, id: FileId, by: Option<Fence>) -> Result<Option<File>, Fenced> {
        let mut tx = self.pool.begin().await?;
        let Some(workspace) = lock_workspace(&mut tx, user).await? else { return Ok(None) };
        hold(&mut tx, by).await?;
        let file: Option<FileRow> =
            sqlx::query_as(own_files!("AND f.id = $2")).bind(user).bind(id).fetch_optional(&mut *tx).await?;
        let Some(file) = file.map(File::from) else { return Ok(None) };
        end_file(tx, workspace, &file).await?;
        Ok(Some(file))
    }

    /// The user's file at a path, if it has this content, for somebody who would have written it
    /// there: it counts as written anew, so that whoever did write it cannot take it back any more.
    pub async fn find_file_again(
        &self,
        user: &UserId,
        path: &FilePath,
        checksum: &[u8; 32],
    ) -> Result<Option<File>, StoreError> {
        let row: Option<FileRow> = sqlx::query_as(
            "UPDATE workspace_files f \
             SET created_at = greatest(clock_timestamp(), f.created_at + interval '1 microsecond') \
             FROM workspaces w WHERE w.id = f.workspace_id AND w.user_id = $1 \
                 AND f.path = $2 AND f.checksum = $3 AND f.deleted_at IS NULL \
             RETURNING f.id, f.name, f.path, f.mime_type, f.size_bytes, f.checksum, f.created_at, f.blob_key",
        )
        .bind(user)
        .bind(path)
        .bind(checksum.as_slice())
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(File::from))
    }

    /// Deletes a file of the user's, unless somebody found it again since it was written. The row's
    /// lock decides between the two; whoever comes second sees what the first one did.
    pub async fn take_back_file(&self, user: &UserId, file: &File) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        let Some(workspace) = lock_workspace(&mut tx, user).await? else { return Ok(false) };
        let row: Option<FileRow> = sqlx::query_as(own_files!("AND f.id = $2 AND f.created_at = $3 FOR UPDATE OF f"))
            .bind(user)
            .bind(file.id)
            .bind(file.created_at)
            .fetch_optional(&mut *tx)
            .await?;
        let Some(file) = row.map(File::from) else { return Ok(false) };
        end_file(tx, workspace, &file).await?;
        Ok(true)
    }

    /// A file of the user's.
    pub async fn find_file(&self, user: &UserId, id: FileId) -> Result<Option<File>, StoreError> {
        let row: Option<FileRow> =
            sqlx::query_as(own_files!("AND f.id = $2")).bind(user).bind(id).fetch_optional(&self.pool).await?;
        Ok(row.map(File::from))
    }

    /// The user's file at a path.
    pub async fn find_file_at(&self, user: &UserId, path: &FilePath) -> Result<Option<File>, StoreError> {
        let row: Option<FileRow> =
            sqlx::query_as(own_files!("AND f.path = $2")).bind(user).bind(path).fetch_optional(&self.pool).await?;
        Ok(row.map(File::from))
    }

    /// Those of the user's files that have these ids.
    pub async fn find_files(&self, user: &UserId, ids: &[FileId]) -> Result<Vec<File>, StoreError> {
        let rows: Vec<FileRow> =
            sqlx::query_as(own_files!("AND f.id = ANY ($2)")).bind(user).bind(ids).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(File::from).collect())
    }

    /// A page of the user's files whose paths begin with `prefix`, newest first, and how many
    /// there are in all.
    pub async fn list_files(
        &self,
        user: &UserId,
        prefix: &str,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<File>, i64), StoreError> {
        let rows: Vec<FileRow> = sqlx::query_as(own_files!(
            "AND starts_with(f.path, $2) ORDER BY f.created_at DESC, f.id DESC LIMIT $3 OFFSET $4"
        ))
        .bind(user)
        .bind(prefix)
        .bind(limit)
        .bind(offset)
        .fetch_all(&self.pool)
        .await?;
        let total = sqlx::query_scalar(
            "SELECT count(*) FROM workspace_files f JOIN workspaces w ON w.id = f.workspace_id \
             WHERE w.user_id = $1 AND f.deleted_at IS NULL AND starts_with(f.path, $2)",
        )
        .bind(user)
        .bind(prefix)
        .fetch_one(&self.pool)
        .await?;
        Ok((rows.into_iter().map(File::from).collect(), total))
    }

    /// Bytes and number of the user's files.
    pub async fn workspace_usage(&self, user: &UserId) -> Result<(i64, i64), StoreError> {
        let usage: Option<(i64, i64)> = sqlx::query_as(
            "SELECT w.used_bytes, (SELECT count(*) FROM workspace_files f \
                 WHERE f.workspace_id = w.id AND f.deleted_at IS NULL) \
             FROM workspaces w WHERE w.user_id = $1",
        )
        .bind(user)
        .fetch_optional(&self.pool)
        .await?;
        Ok(usage.unwrap_or_default())
    }

    /// Notes that a blob is about to be written. Unless a file has it by then, it is deleted after
    /// `patience`.
    pub async fn note_loose_blob(&self, blob: &BlobKey, patience: Duration) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO loose_blobs (blob_key, due_at) VALUES ($1, now() + $2)")
            .bind(blob)
            .bind(interval(patience))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// A loose blob was deleted.
    pub async fn forget_loose_blob(&self, blob: &BlobKey) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM loose_blobs WHERE blob_key = $1").bind(blob).execute(&self.pool).await?;
        Ok(())
    }

    /// Takes a loose blob that is due and that nobody else has taken.
    pub async fn take_loose_blob(&self) -> Result<Option<LooseBlob>, StoreError> {
        let mut tx = self.pool.begin().await?;
        let blob: Option<BlobKey> = sqlx::query_scalar(
            "SELECT blob_key FROM loose_blobs WHERE due_at <= now() ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED",
        )
        .fetch_optional(&mut *tx)
        .await?;
        Ok(blob.map(|blob| LooseBlob { tx, blob }))
    }
}

/// A loose blob that is being deleted. Its row is held until then.
#[derive(Debug)]
pub struct LooseBlob {
    tx: PgTransaction<'static>,
    blob: BlobKey,
}

impl LooseBlob {
    /// The blob.
    pub fn blob(&self) -> &BlobKey {
        &self.blob
    }

    /// It was deleted.
    pub async fn forget(mut self) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM loose_blobs WHERE blob_key = $1").bind(&self.blob).execute(&mut *self.tx).await?;
        Ok(self.tx.commit().await?)
    }

    /// It could not be deleted: leaves it alone for a while.
    pub async fn postpone(mut self, pause: Duration) -> Result<(), StoreError> {
        sqlx::query("UPDATE loose_blobs SET due_at = now() + $2 WHERE blob_key = $1")
            .bind(&self.blob)
            .bind(interval(pause))
            .execute(&mut *self.tx)
            .await?;
        Ok(self.tx.commit().await?)
    }
}

/// Takes the lock of those who change what the user's workspace holds, if there is one.
async fn lock_workspace(tx: Tx<'_>, user: &UserId) -> Result<Option<WorkspaceId>, sqlx::Error> {
    sqlx::query_scalar("SELECT id FROM workspaces WHERE user_id = $1 FOR UPDATE")
        .bind(user)
        .fetch_optional(&mut **tx)
        .await
}

/// Holds the turn on whose behalf a file is written or deleted. After the workspace's lock, for
/// which it may wait: its turn's lease must be renewed meanwhile.
async fn hold(tx: Tx<'_>, by: Option<Fence>) -> Result<(), Fenced> {
    match by {
        Some(by) => fence::hold(tx, by).await,
        None => Ok(()),
    }
}

/// Ends a file and the transaction, which has the workspace's lock.
async fn end_file(mut tx: PgTransaction<'static>, workspace: WorkspaceId, file: &File) -> Result<(), sqlx::Error> {
    soft_delete(&mut tx, file.id, &file.blob).await?;
    grow(&mut tx, workspace, -file.size_bytes).await?;
    tx.commit().await
}

async fn count_files(tx: Tx<'_>, workspace: WorkspaceId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM workspace_files WHERE workspace_id = $1 AND deleted_at IS NULL")
        .bind(workspace)
        .fetch_one(&mut **tx)
        .await
}

async fn insert_file(tx: Tx<'_>, workspace: WorkspaceId, file: &File) -> Result<DateTime<Utc>, PlaceError> {
    let created: Option<DateTime<Utc>> = sqlx::query_scalar(
        "WITH held AS (DELETE FROM loose_blobs WHERE blob_key = $5 RETURNING blob_key) \
         INSERT INTO workspace_files (id, workspace_id, name, path, blob_key, mime_type, size_bytes, checksum) \
         SELECT $1, $2, $3, $4, blob_key, $6, $7, $8 FROM held RETURNING created_at",
    )
    .bind(file.id)
    .bind(workspace)
    .bind(&file.name)
    .bind(&file.path)
    .bind(&file.blob)
    .bind(&file.mime_type)
    .bind(file.size_bytes)
    .bind(file.checksum.as_slice())
    .fetch_optional(&mut **tx)
    .await?;
    created.ok_or(PlaceError::Abandoned)
}

async fn soft_delete(tx: Tx<'_>, id: FileId, blob: &BlobKey) -> Result<(), sqlx::Error> {
    sqlx::query(
        "WITH gone AS (UPDATE workspace_files SET deleted_at = clock_timestamp() WHERE id = $1) \
         INSERT INTO loose_blobs (blob_key, due_at) VALUES ($2, now())",
    )
    .bind(id)
    .bind(blob)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn grow(tx: Tx<'_>, workspace: WorkspaceId, bytes: i64) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE workspaces SET used_bytes = used_bytes + $2, updated_at = now() WHERE id = $1")
        .bind(workspace)
        .bind(bytes)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
