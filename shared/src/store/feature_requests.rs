//! What users wish for. Each wish keeps its words; others find the title only.

use sqlx::FromRow;

use super::{Fence, Fenced, Store, StoreError};
use crate::id::{FeatureRequestId, UserId};

/// Something that users wish for.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct RequestedFeature {
    /// Its id.
    pub id: FeatureRequestId,
    /// What people call it by is `FR-` and this.
    pub number: i64,
    /// What is wished for.
    pub title: String,
}

/// A user's wish.
#[derive(Debug, Clone)]
pub struct NewFeatureRequest {
    /// Its id, and that of the user's words: asking again with the same changes nothing.
    pub id: FeatureRequestId,
    /// What is wished for, 1 to 200 characters.
    pub title: String,
    /// The user's words, 1 to 10,000 characters.
    pub description: String,
    /// What others asked for before, if this is the same.
    pub existing: Option<FeatureRequestId>,
}

impl Store {
    /// The wishes that fit some words, best first; of equal ones the most wished for.
    pub async fn search_feature_requests(&self, words: &str, limit: i64) -> Result<Vec<RequestedFeature>, StoreError> {
        // Any of the words will do: a query says the same as a title in other words.
        let rows = sqlx::query_as(
            "WITH asked AS (SELECT replace(plainto_tsquery('english', $1)::text, '&', '|')::tsquery AS query) \
             SELECT r.id, r.number, r.title FROM feature_requests r, asked \
             WHERE r.words @@ asked.query \
             ORDER BY ts_rank_cd(r.words, asked.query, 1) DESC, \
                 (SELECT count(DISTINCT n.user_id) FROM feature_request_needs n WHERE n.feature_request_id = r.id) DESC, \
                 r.number \
             LIMIT $2",
        )
        .bind(words)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }

    /// Keeps a user's wish: on its own, or with what others asked for. `None` if that is not there.
    /// Safe to repeat.
    pub async fn request_feature(
        &self,
        fence: Fence,
        user: &UserId,
        new: &NewFeatureRequest,
    ) -> Result<Option<RequestedFeature>, Fenced> {
        let mut tx = self.begin_fenced(fence).await?;
        if new.existing.is_none() {
            sqlx::query(
                "INSERT INTO feature_requests (id, title, words) \
                 VALUES ($1, $2, setweight(to_tsvector('english', $2), 'A') || to_tsvector('english', $3)) \
                 ON CONFLICT (id) DO NOTHING",
            )
            .bind(new.id)
            .bind(&new.title)
            .bind(&new.description)
            .execute(&mut *tx)
            .await?;
        }
        let request: Option<RequestedFeature> =
            sqlx::query_as("SELECT id, number, title FROM feature_requests WHERE id = $1")
                .bind(new.existing.unwrap_or(new.id))
                .fetch_optional(&mut *tx)
                .await?;
        let Some(request) = request else { return Ok(None) };
        sqlx::query(
            "INSERT INTO feature_request_needs (id, feature_request_id, user_id, description) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(new.id)
        .bind(request.id)
        .bind(user)
        .bind(&new.description)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Some(request))
    }
}
