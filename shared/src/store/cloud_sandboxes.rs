//! Which sandbox outside belongs to which session, and which of them are to be killed.
//!
//! A row is there before its sandbox is asked for, and until it has been killed: whoever dies in
//! between, the next finds what there may be.

use std::time::Duration;

use sqlx::FromRow;
use sqlx::postgres::PgTransaction;
use uuid::Uuid;

use super::{Fence, Fenced, Store, StoreError, interval};
use crate::id::SessionId;

/// What is known of a session's sandbox.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct CloudSandbox {
    /// What it is, or was, asked for with.
    pub creation_key: Uuid,
    /// Its id, once that is known.
    pub sandbox_id: Option<String>,
}

impl Store {
    /// The session's sandbox, which is about to be used and then stays for `keep`. `candidate` is the
    /// key of a new one, if there is none.
    pub async fn claim_cloud_sandbox(
        &self,
        fence: Fence,
        session: SessionId,
        candidate: Uuid,
        keep: Duration,
    ) -> Result<CloudSandbox, Fenced> {
        let mut tx = self.begin_fenced(fence).await?;
        let sandbox = sqlx::query_as(
            "INSERT INTO cloud_sandboxes (session_id, creation_key, due_at) VALUES ($1, $2, now() + $3) \
             ON CONFLICT (session_id) DO UPDATE SET used_at = now(), due_at = excluded.due_at \
             RETURNING creation_key, sandbox_id",
        )
        .bind(session)
        .bind(candidate)
        .bind(interval(keep))
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(sandbox)
    }

    /// The sandbox that was asked for with this key is gone: the next one has another key.
    pub async fn replace_cloud_sandbox(
        &self,
        fence: Fence,
        session: SessionId,
        gone: Uuid,
        candidate: Uuid,
    ) -> Result<(), Fenced> {
        let mut tx = self.begin_fenced(fence).await?;
        sqlx::query(
            "UPDATE cloud_sandboxes SET creation_key = $3, sandbox_id = NULL, used_at = now() \
             WHERE session_id = $1 AND creation_key = $2",
        )
        .bind(session)
        .bind(gone)
        .bind(candidate)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Notes what was made with this key. Returns the sandbox that the session has: another one if
    /// somebody was first, none if nobody knows of the key any more. Without a fence: whoever made
    /// it, it must be known.
    pub async fn note_cloud_sandbox(
        &self,
        session: SessionId,
        key: Uuid,
        sandbox_id: &str,
    ) -> Result<Option<String>, StoreError> {
        let noted = sqlx::query_scalar(
            "UPDATE cloud_sandboxes SET sandbox_id = coalesce(sandbox_id, $3) \
             WHERE session_id = $1 AND creation_key = $2 RETURNING sandbox_id",
        )
        .bind(session)
        .bind(key)
        .bind(sandbox_id)
        .fetch_optional(&self.pool)
        .await?;
        Ok(noted)
    }

    /// Takes a sandbox that is to be killed and that nobody else has taken.
    pub async fn take_due_cloud_sandbox(&self) -> Result<Option<DueCloudSandbox>, StoreError> {
        let mut tx = self.pool.begin().await?;
        let row: Option<(SessionId, Option<String>, f64)> = sqlx::query_as(
            "SELECT session_id, sandbox_id, extract(epoch FROM now() - used_at)::float8 FROM cloud_sandboxes \
             WHERE due_at <= now() ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED",
        )
        .fetch_optional(&mut *tx)
        .await?;
        Ok(row.map(|(session, sandbox_id, unused)| {
            let unused = Duration::try_from_secs_f64(unused).unwrap_or_default();
            DueCloudSandbox { tx, session, sandbox_id, unused }
        }))
    }
}

/// A sandbox that is being killed. Its row is held until then, so that nobody begins to use it.
#[derive(Debug)]
pub struct DueCloudSandbox {
    tx: PgTransaction<'static>,
    /// Whose it is, or was.
    pub session: SessionId,
    /// Its id, if that is known.
    pub sandbox_id: Option<String>,
    /// How long ago somebody was last about to ask for it, or to use it.
    pub unused: Duration,
}

impl DueCloudSandbox {
    /// It was killed.
    pub async fn forget(mut self) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM cloud_sandboxes WHERE session_id = $1")
            .bind(self.session)
            .execute(&mut *self.tx)
            .await?;
        Ok(self.tx.commit().await?)
    }

    /// It could not be killed, or may not be there yet: leaves it alone for a while.
    pub async fn postpone(mut self, pause: Duration) -> Result<(), StoreError> {
        sqlx::query("UPDATE cloud_sandboxes SET due_at = now() + $2 WHERE session_id = $1")
            .bind(self.session)
            .bind(interval(pause))
            .execute(&mut *self.tx)
            .await?;
        Ok(self.tx.commit().await?)
    }
}
