//! The sign of a worker's life: an advisory lock on a connection of its own.

use sqlx::{Connection, PgConnection};

use super::{Store, StoreError};
use crate::id::WorkerId;

/// Held as long as the connection lives. PostgreSQL frees it the moment the process dies, which
/// lets another worker claim its turns without waiting for a lease.
#[derive(Debug)]
pub struct WorkerLock {
    connection: PgConnection,
}

impl WorkerLock {
    /// Is the connection, and so the lock, still there?
    pub async fn check(&mut self) -> Result<(), StoreError> {
        self.connection.ping().await?;
        Ok(())
    }
}

impl Store {
    /// Takes the lock of a worker on a fresh connection.
    pub async fn lock_worker(&self, worker: WorkerId) -> Result<WorkerLock, StoreError> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        sqlx::query("SELECT pg_advisory_lock(worker_lock_key($1))").bind(worker).execute(&mut connection).await?;
        Ok(WorkerLock { connection })
    }
}
