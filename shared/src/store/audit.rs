//! The audit: appended, and never changed (the table refuses it).

use sqlx::types::Json;

use super::{Store, StoreError, Tx};
use crate::audit::AuditRecord;

const APPEND: &str =
    "INSERT INTO audit_records (actor, acting_as, action, target, details) VALUES ($1, $2, $3, $4, $5)";

impl Store {
    /// Writes a record down, before the act that it tells of.
    pub async fn record_audit(&self, record: &AuditRecord) -> Result<(), StoreError> {
        append(record).execute(&self.pool).await?;
        told(record);
        Ok(())
    }

    /// Writes a record down in the transaction of the act itself, so that there is both or neither.
    pub(super) async fn record_audit_in(tx: Tx<'_>, record: &AuditRecord) -> Result<(), StoreError> {
        append(record).execute(&mut **tx).await?;
        told(record);
        Ok(())
    }
}

fn append(record: &AuditRecord) -> sqlx::query::Query<'_, sqlx::Postgres, sqlx::postgres::PgArguments> {
    sqlx::query(APPEND)
        .bind(&record.actor)
        .bind(&record.acting_as)
        .bind(record.action.as_str())
        .bind(record.target.to_string())
        .bind(Json(&record.details))
}

fn told(record: &AuditRecord) {
    let acting_as = record.acting_as.as_ref().map(crate::id::UserId::as_str);
    tracing::info!(actor = %record.actor, acting_as, action = record.action.as_str(), target = %record.target, "audit");
}
