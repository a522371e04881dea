//! What an admin sees and does across all users. Never called for an owner's request.

use sqlx::{FromRow, QueryBuilder};

use super::rows::{TurnRow, turn_columns};
use super::{Store, StoreError};
use crate::id::UserId;
use crate::turn::{Turn, TurnStatus};

/// Which turns an admin wants to see.
#[derive(Debug, Clone, Default)]
pub struct TurnFilter {
    /// Only those that stand so.
    pub status: Option<TurnStatus>,
    /// Only those of this user.
    pub user: Option<UserId>,
    /// Only those accepted before the turn of this number.
    pub before: Option<i64>,
}

/// A turn with what only an admin sees.
#[derive(Debug, Clone)]
pub struct AdminTurn {
    /// Its record.
    pub turn: Turn,
    /// Its place in the order of acceptance over all users.
    pub number: i64,
}

#[derive(FromRow)]
struct AdminTurnRow {
    #[sqlx(flatten)]
    turn: TurnRow,
    number: i64,
}

impl From<AdminTurnRow> for AdminTurn {
    fn from(row: AdminTurnRow) -> Self {
        Self { turn: row.turn.into(), number: row.number }
    }
}

impl Store {
    /// Turns of all users, newest first.
    pub async fn list_all_turns(&self, filter: &TurnFilter, limit: i64) -> Result<Vec<AdminTurn>, StoreError> {
        let mut query =
            QueryBuilder::new(concat!("SELECT ", turn_columns!(), ", t.number FROM turns t WHERE t.number < "));
        query.push_bind(filter.before.unwrap_or(i64::MAX));
        if let Some(status) = filter.status {
            query.push(" AND t.status = ").push_bind(status);
        }
        if let Some(user) = &filter.user {
            query.push(" AND t.user_id = ").push_bind(user);
        }
        query.push(" ORDER BY t.number DESC LIMIT ").push_bind(limit);
        let rows: Vec<AdminTurnRow> = query.build_query_as().fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(AdminTurn::from).collect())
    }
}
