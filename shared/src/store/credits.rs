//! The ledger of credits: transactions are only ever added, each once by its key, and the balance
//! is their sum. Every change locks the user's balance first, which exists before it is locked:
//! two first transactions wait for each other like any two (`usage-tools.md` §2.3, defect).

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use sqlx::types::Json;

use super::{Store, StoreError, Tx};
use crate::credit::{
    Amount, Cents, CreditKind, Insufficient, Metadata, TooMuch, Transaction, TransactionKey, after_grant, after_refill,
    after_spend,
};
use crate::id::UserId;

/// A transaction is in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// What it added, in cents; negative if it took.
    pub amount: Cents,
    /// The balance right after it.
    pub balance: Cents,
    /// It was there already, under the same key; nothing happened now.
    pub repeated: bool,
}

/// Why nothing was spent.
#[derive(Debug, thiserror::Error)]
pub enum SpendError {
    /// The balance does not cover it.
    #[error(transparent)]
    Insufficient(#[from] Insufficient),
    /// The key stands for another transaction.
    #[error("the key was used for another transaction")]
    Conflict,
    /// The store failed. It may be spent all the same: the same key tells.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why nothing was granted.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// There is no such user.
    #[error("no such user")]
    UnknownUser,
    /// The balance would be too high.
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    /// The key stands for another transaction.
    #[error("the key was used for another transaction")]
    Conflict,
    /// Nobody has credits here.
    #[error("credits are disabled")]
    Disabled,
    /// The store failed. It may be granted all the same: the same key tells.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for SpendError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<sqlx::Error> for GrantError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

#[derive(FromRow)]
struct RecordedRow {
    kind: CreditKind,
    amount: Cents,
    running_balance: Cents,
}

impl RecordedRow {
    fn repeated(&self) -> Recorded {
        Recorded { amount: self.amount, balance: self.running_balance, repeated: true }
    }
}

#[derive(FromRow)]
struct TransactionRow {
    sequence: i64,
    key: TransactionKey,
    kind: CreditKind,
    amount: Cents,
    running_balance: Cents,
    metadata: Json<Metadata>,
    created_at: DateTime<Utc>,
}

impl From<TransactionRow> for Transaction {
    fn from(row: TransactionRow) -> Self {
        Self {
            sequence: row.sequence,
            key: row.key,
            kind: row.kind,
            amount: row.amount,
            running_balance: row.running_balance,
            metadata: row.metadata.0,
            created_at: row.created_at,
        }
    }
}

/// What is added to the ledger, and the balance that it leads to.
struct Entry<'a> {
    key: &'a TransactionKey,
    kind: CreditKind,
    amount: Cents,
    balance: Cents,
    metadata: &'a Metadata,
}

impl Store {
    /// Takes an amount from a known user's balance, once a key.
    pub async fn spend_credits(
        &self,
        user: &UserId,
        amount: Amount,
        key: &TransactionKey,
        metadata: &Metadata,
    ) -> Result<Recorded, SpendError> {
        let mut tx = self.pool.begin().await?;
        let recorded = spend_in(&mut tx, user, amount, key, metadata).await?;
        tx.commit().await?;
        Ok(recorded)
    }

    /// Gives an amount to a user, once a key.
    pub async fn grant_credits(
        &self,
        user: &UserId,
        amount: Amount,
        key: &TransactionKey,
        metadata: &Metadata,
    ) -> Result<Recorded, GrantError> {
        let mut tx = self.pool.begin().await?;
        let recorded = grant_in(&mut tx, user, amount, key, metadata).await?;
        tx.commit().await?;
        Ok(recorded)
    }

    /// Fills a user's balance up to `refill`, once a key. An unknown user has none to fill.
    pub async fn refill_credits(
        &self,
        user: &UserId,
        refill: Cents,
        key: &TransactionKey,
        metadata: &Metadata,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        let Some(balance) = lock_balance(&mut tx, user).await? else { return Ok(()) };
        if find_recorded(&mut tx, user, key).await?.is_some() {
            return Ok(());
        }
        let (amount, balance) = after_refill(balance, refill);
        record(&mut tx, user, &Entry { key, kind: CreditKind::Grant, amount, balance, metadata }).await?;
        tx.commit().await?;
        Ok(())
    }

    /// What a user has.
    pub async fn credit_balance(&self, user: &UserId) -> Result<Cents, StoreError> {
        let balance: Option<Cents> = sqlx::query_scalar("SELECT balance FROM credit_balances WHERE user_id = $1")
            .bind(user)
            .fetch_optional(&self.pool)
            .await?;
        Ok(balance.unwrap_or_default())
    }

    /// Is a transaction with this key in the ledger?
    pub async fn has_transaction(&self, user: &UserId, key: &TransactionKey) -> Result<bool, StoreError> {
        let found =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM credit_transactions WHERE user_id = $1 AND key = $2)")
                .bind(user)
                .bind(key)
                .fetch_one(&self.pool)
                .await?;
        Ok(found)
    }

    /// A user's newest transactions before a sequence number, or the newest of all; newest first.
    pub async fn credit_transactions(
        &self,
        user: &UserId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Transaction>, StoreError> {
        let rows: Vec<TransactionRow> = sqlx::query_as(
            "SELECT sequence, key, kind, amount, running_balance, metadata, created_at FROM credit_transactions \
             WHERE user_id = $1 AND ($2::bigint IS NULL OR sequence < $2) ORDER BY sequence DESC LIMIT $3",
        )
        .bind(user)
        .bind(before)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(Transaction::from).collect())
    }
}

/// Takes an amount in a transaction of more than that.
pub(super) async fn spend_in(
    tx: Tx<'_>,
    user: &UserId,
    amount: Amount,
    key: &TransactionKey,
    metadata: &Metadata,
) -> Result<Recorded, SpendError> {
    let balance = lock_balance(tx, user).await?.ok_or(sqlx::Error::RowNotFound)?;
    if let Some(row) = find_recorded(tx, user, key).await? {
        let same = row.kind == CreditKind::Usage && row.amount == amount.taken();
        return if same { Ok(row.repeated()) } else { Err(SpendError::Conflict) };
    }
    let left = after_spend(balance, amount)?;
    let entry = Entry { key, kind: CreditKind::Usage, amount: amount.taken(), balance: left, metadata };
    Ok(record(tx, user, &entry).await?)
}

/// Gives an amount in a transaction of more than that.
pub(super) async fn grant_in(
    tx: Tx<'_>,
    user: &UserId,
    amount: Amount,
    key: &TransactionKey,
    metadata: &Metadata,
) -> Result<Recorded, GrantError> {
    let balance = lock_balance(tx, user).await?.ok_or(GrantError::UnknownUser)?;
    if let Some(row) = find_recorded(tx, user, key).await? {
        let same = row.kind == CreditKind::Grant && row.amount == amount.cents();
        return if same { Ok(row.repeated()) } else { Err(GrantError::Conflict) };
    }
    let sum = after_grant(balance, amount)?;
    let entry = Entry { key, kind: CreditKind::Grant, amount: amount.cents(), balance: sum, metadata };
    Ok(record(tx, user, &entry).await?)
}

/// The user's balance, locked until the end of the transaction; `None` if there is no such user.
async fn lock_balance(tx: Tx<'_>, user: &UserId) -> Result<Option<Cents>, sqlx::Error> {
    sqlx::query("INSERT INTO credit_balances (user_id) SELECT id FROM users WHERE id = $1 ON CONFLICT DO NOTHING")
        .bind(user)
        .execute(&mut **tx)
        .await?;
    sqlx::query_scalar("SELECT balance FROM credit_balances WHERE user_id = $1 FOR UPDATE")
        .bind(user)
        .fetch_optional(&mut **tx)
        .await
}

async fn find_recorded(tx: Tx<'_>, user: &UserId, key: &TransactionKey) -> Result<Option<RecordedRow>, sqlx::Error> {
    sqlx::query_as("SELECT kind, amount, running_balance FROM credit_transactions WHERE user_id = $1 AND key = $2")
        .bind(user)
        .bind(key)
        .fetch_optional(&mut **tx)
        .await
}

/// Balance and transaction in one statement. The balance is locked by this transaction.
async fn record(tx: Tx<'_>, user: &UserId, entry: &Entry<'_>) -> Result<Recorded, sqlx::Error> {
    sqlx::query(
        "WITH account AS (UPDATE credit_balances SET balance = $5, last_sequence = last_sequence + 1, updated_at = now() \
             WHERE user_id = $1 RETURNING last_sequence) \
         INSERT INTO credit_transactions (user_id, sequence, key, kind, amount, running_balance, metadata) \
         SELECT $1, last_sequence, $2, $3, $4, $5, $6 FROM account",
    )
    .bind(user)
    .bind(entry.key)
    .bind(entry.kind)
    .bind(entry.amount)
    .bind(entry.balance)
    .bind(Json(entry.metadata))
    .execute(&mut **tx)
    .await?;
    Ok(Recorded { amount: entry.amount, balance: entry.balance, repeated: false })
}
