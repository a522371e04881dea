//! What users prove themselves with to MCP servers. Sealed before it comes here.

use chrono::{DateTime, Utc};

use super::{Store, StoreError};
use crate::id::UserId;

/// A server's address as tokens are found by it (`usage-tools.md` §7.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpServer(String);

impl McpServer {
    /// The server behind an address.
    pub fn of(address: &str) -> Self {
        Self(address.trim().trim_end_matches('/').to_owned())
    }

    /// Its address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The place that a user's token for it is sealed for.
    pub fn place(&self, user: &UserId) -> String {
        // No user id holds a line break.
        format!("mcp\n{}\n{}", user.as_str(), self.0)
    }
}

impl Store {
    /// Keeps a user's token for a server, in place of an earlier one.
    pub async fn save_mcp_token(
        &self,
        user: &UserId,
        server: &McpServer,
        sealed: &[u8],
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<(), StoreError> {
        self.ensure_user(user).await?;
        sqlx::query(
            "INSERT INTO mcp_tokens (user_id, server_url, sealed_token, expires_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (user_id, server_url) DO UPDATE \
             SET sealed_token = excluded.sealed_token, expires_at = excluded.expires_at, updated_at = now()",
        )
        .bind(user)
        .bind(server.as_str())
        .bind(sealed)
        .bind(expires_at)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// A user's sealed token for a server, unless it has expired.
    pub async fn mcp_token(&self, user: &UserId, server: &McpServer) -> Result<Option<Vec<u8>>, StoreError> {
        let sealed = sqlx::query_scalar(
            "SELECT sealed_token FROM mcp_tokens WHERE user_id = $1 AND server_url = $2 \
             AND (expires_at IS NULL OR expires_at > now())",
        )
        .bind(user)
        .bind(server.as_str())
        .fetch_optional(&self.pool)
        .await?;
        Ok(sealed)
    }

    /// Forgets a user's token for a server; false if there was none.
    pub async fn delete_mcp_token(&self, user: &UserId, server: &McpServer) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM mcp_tokens WHERE user_id = $1 AND server_url = $2")
            .bind(user)
            .bind(server.as_str())
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }
}
