//! The folders of users' libraries. Every change holds the lock of the user's folders, so that two
//! moves at once cannot put a folder into itself.

use sqlx::FromRow;

use super::{Fence, Fenced, Store, StoreError, Tx, fence};
use crate::id::{FolderId, UserId};

/// Folders that one user may have.
const MAX_FOLDERS: i64 = 500;
/// How deep folders may lie in each other: nobody finds their way in a deeper tree.
const MAX_DEPTH: i32 = 5;

/// A folder.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Folder {
    /// Its id.
    pub id: FolderId,
    /// The folder that it lies in.
    pub parent_id: Option<FolderId>,
    /// Its name.
    pub name: String,
    /// Its icon.
    pub icon: Option<String>,
    /// Its colour.
    pub color: Option<String>,
}

/// A folder to be made.
#[derive(Debug, Clone)]
pub struct NewFolder {
    /// Its id: making it again with the same id changes nothing.
    pub id: FolderId,
    /// The folder that it is to lie in.
    pub parent_id: Option<FolderId>,
    /// Its name, 1 to 100 characters.
    pub name: String,
    /// Its icon, 1 to 50 characters.
    pub icon: Option<String>,
    /// Its colour, 1 to 50 characters.
    pub color: Option<String>,
}

/// What a folder is to be from now on; what is absent stays.
#[derive(Debug, Clone, Default)]
pub struct FolderChange {
    /// Its name, 1 to 100 characters.
    pub name: Option<String>,
    /// Its icon, 1 to 50 characters.
    pub icon: Option<String>,
    /// Its colour, 1 to 50 characters.
    pub color: Option<String>,
}

/// Why folders stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The user has no such folder.
    #[error("There is no folder {0}.")]
    Missing(FolderId),
    /// Two folders side by side would have one name.
    #[error("There is a folder called {0:?} in the same place.")]
    NameTaken(String),
    /// It would lie in itself.
    #[error("A folder cannot lie in itself.")]
    InItself,
    /// The tree would be too deep.
    #[error("Folders can lie in each other {MAX_DEPTH} deep at most.")]
    TooDeep,
    /// There would be too many.
    #[error("A library has at most {MAX_FOLDERS} folders.")]
    TooMany,
    /// The attempt may write no more, or the store failed.
    #[error(transparent)]
    Fenced(#[from] Fenced),
}

impl From<sqlx::Error> for FolderError {
    fn from(error: sqlx::Error) -> Self {
        Self::Fenced(error.into())
    }
}

const FIND: &str =
    "SELECT id, parent_id, name, icon, color FROM folders WHERE id = $1 AND user_id = $2 AND deleted_at IS NULL";

impl Store {
    /// All folders of a user, by name.
    pub async fn folders(&self, user: &UserId) -> Result<Vec<Folder>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT id, parent_id, name, icon, color FROM folders WHERE user_id = $1 AND deleted_at IS NULL \
             ORDER BY name, id",
        )
        .bind(user)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }

    /// Makes a folder. Safe to repeat.
    pub async fn create_folder(&self, fence: Fence, user: &UserId, new: &NewFolder) -> Result<Folder, FolderError> {
        let mut tx = self.begin_for_folders(fence, user).await?;
        let made =
            sqlx::query_as("SELECT id, parent_id, name, icon, color FROM folders WHERE id = $1 AND user_id = $2")
                .bind(new.id)
                .bind(user)
                .fetch_optional(&mut *tx)
                .await?;
        if let Some(made) = made {
            return Ok(made);
        }
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM folders WHERE user_id = $1 AND deleted_at IS NULL")
            .bind(user)
            .fetch_one(&mut *tx)
            .await?;
        if count >= MAX_FOLDERS {
            return Err(FolderError::TooMany);
        }
        if depth(&mut tx, user, new.parent_id).await? >= MAX_DEPTH {
            return Err(FolderError::TooDeep);
        }
        refuse_taken(&mut tx, user, new.id, new.parent_id, &new.name).await?;
        let folder = sqlx::query_as(
            "INSERT INTO folders (id, user_id, parent_id, name, icon, color) VALUES ($1, $2, $3, $4, $5, $6) \
             RETURNING id, parent_id, name, icon, color",
        )
        .bind(new.id)
        .bind(user)
        .bind(new.parent_id)
        .bind(&new.name)
        .bind(&new.icon)
        .bind(&new.color)
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(folder)
    }

    /// Gives a folder another name, icon or colour. Safe to repeat.
    pub async fn update_folder(
        &self,
        fence: Fence,
        user: &UserId,
        id: FolderId,
        change: &FolderChange,
    ) -> Result<Folder, FolderError> {
        let mut tx = self.begin_for_folders(fence, user).await?;
        let folder = found(&mut tx, user, id).await?;
        if let Some(name) = &change.name {
            refuse_taken(&mut tx, user, id, folder.parent_id, name).await?;
        }
        let folder = sqlx::query_as(
            "UPDATE folders SET name = coalesce($2, name), icon = coalesce($3, icon), color = coalesce($4, color), \
                    updated_at = now() \
             WHERE id = $1 RETURNING id, parent_id, name, icon, color",
        )
        .bind(id)
        .bind(&change.name)
        .bind(&change.icon)
        .bind(&change.color)
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(folder)
    }

    /// Puts a folder, with all that lies in it, into another or to the top. Safe to repeat.
    pub async fn move_folder(
        &self,
        fence: Fence,
        user: &UserId,
        id: FolderId,
        target: Option<FolderId>,
    ) -> Result<Folder, FolderError> {
        let mut tx = self.begin_for_folders(fence, user).await?;
        let folder = found(&mut tx, user, id).await?;
        let below = height(&mut tx, id, target).await?.ok_or(FolderError::InItself)?;
        if depth(&mut tx, user, target).await? + below > MAX_DEPTH {
            return Err(FolderError::TooDeep);
        }
        refuse_taken(&mut tx, user, id, target, &folder.name).await?;
        let folder = sqlx::query_as(
            "UPDATE folders SET parent_id = $2, updated_at = now() WHERE id = $1 \
             RETURNING id, parent_id, name, icon, color",
        )
        .bind(id)
        .bind(target)
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(folder)
    }

    /// Deletes a folder and the folders in it. Safe to repeat: one that is deleted stays so.
    pub async fn delete_folder(&self, fence: Fence, user: &UserId, id: FolderId) -> Result<(), FolderError> {
        let mut tx = self.begin_for_folders(fence, user).await?;
        let known: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM folders WHERE id = $1 AND user_id = $2)")
            .bind(id)
            .bind(user)
            .fetch_one(&mut *tx)
            .await?;
        if !known {
            return Err(FolderError::Missing(id));
        }
        sqlx::query(
            "WITH RECURSIVE below AS ( \
                 SELECT id FROM folders WHERE id = $1 AND deleted_at IS NULL \
                 UNION ALL SELECT f.id FROM folders f JOIN below ON f.parent_id = below.id WHERE f.deleted_at IS NULL) \
             UPDATE folders SET deleted_at = now(), updated_at = now() WHERE id IN (SELECT id FROM below)",
        )
        .bind(id)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// A transaction of a turn's that alone changes its user's folders.
    async fn begin_for_folders(&self, by: Fence, user: &UserId) -> Result<sqlx::PgTransaction<'static>, FolderError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('copilot:folders:' || $1, 0))")
            .bind(user)
            .execute(&mut *tx)
            .await?;
        fence::hold(&mut tx, by).await?;
        Ok(tx)
    }
}

async fn found(tx: Tx<'_>, user: &UserId, id: FolderId) -> Result<Folder, FolderError> {
    let folder = sqlx::query_as(FIND).bind(id).bind(user).fetch_optional(&mut **tx).await?;
    folder.ok_or(FolderError::Missing(id))
}

async fn refuse_taken(
    tx: Tx<'_>,
    user: &UserId,
    id: FolderId,
    parent: Option<FolderId>,
    name: &str,
) -> Result<(), FolderError> {
    let taken: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM folders WHERE user_id = $1 AND parent_id IS NOT DISTINCT FROM $2 \
             AND name = $3 AND id <> $4 AND deleted_at IS NULL)",
    )
    .bind(user)
    .bind(parent)
    .bind(name)
    .bind(id)
    .fetch_one(&mut **tx)
    .await?;
    if taken { Err(FolderError::NameTaken(name.to_owned())) } else { Ok(()) }
}

/// How many folders lie around what is put into `parent`.
async fn depth(tx: Tx<'_>, user: &UserId, parent: Option<FolderId>) -> Result<i32, FolderError> {
    let Some(parent) = parent else { return Ok(0) };
    found(tx, user, parent).await?;
    let depth = sqlx::query_scalar(
        "WITH RECURSIVE above AS ( \
             SELECT parent_id FROM folders WHERE id = $1 \
             UNION ALL SELECT f.parent_id FROM folders f JOIN above ON f.id = above.parent_id) \
         SELECT count(*)::integer FROM above",
    )
    .bind(parent)
    .fetch_one(&mut **tx)
    .await?;
    Ok(depth)
}

/// How deep the tree of a folder is, itself included; `None` if `not_in` is a part of it.
async fn height(tx: Tx<'_>, id: FolderId, not_in: Option<FolderId>) -> Result<Option<i32>, FolderError> {
    let height: Option<i32> = sqlx::query_scalar(
        "WITH RECURSIVE below AS ( \
             SELECT id, 1 AS level FROM folders WHERE id = $1 \
             UNION ALL SELECT f.id, level + 1 FROM folders f JOIN below ON f.parent_id = below.id \
                 WHERE f.deleted_at IS NULL) \
         SELECT max(level) FROM below HAVING NOT coalesce(bool_or(id = $2), false)",
    )
    .bind(id)
    .bind(not_in)
    .fetch_optional(&mut **tx)
    .await?
    .flatten();
    Ok(height)
}
