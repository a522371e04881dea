//! Secrets that the processes of a deployment share.

use super::{Store, StoreError};

impl Store {
    /// The deployment's secret of this name; `candidate` becomes it if there is none.
    pub async fn deployment_secret(&self, name: &str, candidate: [u8; 32]) -> Result<Vec<u8>, StoreError> {
        // The update changes nothing: it lets the statement return the row that another process made.
        let secret = sqlx::query_scalar(
            "INSERT INTO deployment_secrets AS s (name, secret) VALUES ($1, $2) \
             ON CONFLICT (name) DO UPDATE SET secret = s.secret RETURNING secret",
        )
        .bind(name)
        .bind(candidate.as_slice())
        .fetch_one(&self.pool)
        .await?;
        Ok(secret)
    }
}
