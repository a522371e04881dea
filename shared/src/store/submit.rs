//! Accepting a turn: its message, its row and its outbox entry in one transaction.

use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, Postgres, Transaction};

use super::rows::{TurnRow, turn_columns};
use super::{DISPATCH_GRACE, Store, StoreError, Tx, interval};
use crate::id::{MessageId, SessionId, TurnId, UiMessageId, UserId};
use crate::message::{Part, Role, Speaker};
use crate::session::Caller;
use crate::turn::Turn;

/// What a submit does while a turn of its session is in flight (`spec/turns.md`, Submit).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBusy {
    /// Wait behind it.
    Enqueue,
    /// Refuse.
    Reject,
    /// Stop it and run next, before those that wait.
    Interrupt,
    /// Hand the message to it at its next step boundary; if no step follows, run next.
    Steer,
}

/// A message to be answered.
#[derive(Debug, Clone)]
pub struct NewTurn {
    /// The turn's id.
    pub id: TurnId,
    /// The message's id, perhaps the client's own.
    pub message_id: MessageId,
    /// What the client's user interface calls the message, if it says so.
    pub ui_id: Option<UiMessageId>,
    /// Who says it.
    pub speaker: Speaker,
    /// What is said.
    pub parts: Vec<Part>,
    /// What to do if the session is busy.
    pub on_busy: OnBusy,
    /// What makes the submit the same as an earlier one.
    pub idempotency: Option<Idempotency>,
}

/// What makes two submits the same: the key, and the body that it stands for.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// The client's key, 1 to 255 bytes.
    pub key: String,
    /// SHA-256 of session and body.
    pub body_hash: [u8; 32],
}

/// What became of a submit.
#[derive(Debug)]
pub enum Submitted {
    /// Accepted: it will be published.
    Ready(Turn),
    /// Accepted: it waits at this position, the first one being 1.
    Waiting(Turn, i64),
    /// Accepted: this turn will take the message up, unless it ends before.
    Steering(Turn),
    /// It was accepted before, under the same key.
    Repeated(Turn),
}

/// Why a submit was refused. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The session is not the caller's.
    #[error("no such session")]
    NotFound,
    /// The user has too many turns in flight.
    #[error("too many turns in flight")]
    TooManyTurns(i64),
    /// A turn of the session is in flight, and the caller does not want to wait.
    #[error("a turn is in progress")]
    Busy(TurnId),
    /// The key stands for another body.
    #[error("the idempotency key was used for another request")]
    KeyConflict,
    /// The message id is another message's.
    #[error("the message id is taken")]
    MessageIdTaken,
    /// The session has no such message, or it is superseded.
    #[error("no such message")]
    NoMessage(UiMessageId),
    /// Nothing was said yet that could be answered.
    #[error("there is no message to answer")]
    NothingToAnswer,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for SubmitError {
    fn from(error: sqlx::Error) -> Self {
        match error.as_database_error().and_then(|e| e.constraint()) {
            Some("messages_pkey") => Self::MessageIdTaken,
            Some("idempotency_keys_pkey") => Self::KeyConflict,
            _ => Self::Store(error.into()),
        }
    }
}

#[derive(FromRow)]
pub(super) struct Traffic {
    user_in_flight: i64,
    user_ready: i64,
    session_in_flight: i64,
    current: Option<TurnId>,
}

impl Store {
    /// The turn that a submit with this key was accepted as before, if it was.
    pub async fn find_submitted(
        &self,
        session: SessionId,
        caller: &Caller,
        idempotency: &Idempotency,
    ) -> Result<Option<Turn>, SubmitError> {
        let mut connection = self.pool.acquire().await?;
        find_repeated(&mut connection, session, caller.user_id(), idempotency).await
    }

    /// Accepts a turn, or says why not.
    pub async fn submit(&self, session: SessionId, caller: &Caller, new: &NewTurn) -> Result<Submitted, SubmitError> {
        let user = caller.user_id();
        let mut tx = self.begin_for(user).await?;
        lock_owned_session(&mut tx, session, caller).await?;
        if let Some(idempotency) = &new.idempotency
            && let Some(turn) = find_repeated(&mut tx, session, user, idempotency).await?
        {
            return Ok(Submitted::Repeated(turn));
        }
        self.accept(tx, session, user, new).await
    }

    /// Writes a message and its turn behind what is there, if caps and traffic allow. The caller holds
    /// the locks, and nothing of the transaction remains if they do not.
    pub(super) async fn accept(
        &self,
        mut tx: Transaction<'static, Postgres>,
        session: SessionId,
        user: Option<&UserId>,
        new: &NewTurn,
    ) -> Result<Submitted, SubmitError> {
        let traffic = measure_traffic(&mut tx, session, user).await?;
        let ready = self.admit(&traffic, user, new.on_busy)?;
        let steered = traffic.current.filter(|_| new.on_busy == OnBusy::Steer);
        let turn = insert_turn(&mut tx, session, user, new, Start { ready, steered }).await?;
        let steered = match steered {
            Some(steered) => Some(turn_to_follow(&mut tx, steered).await?),
            None => None,
        };
        if let Some(idempotency) = &new.idempotency {
            insert_key(&mut tx, session, user, idempotency, turn.id).await?;
        }
        tx.commit().await?;
        match steered {
            Some(steered) => Ok(Submitted::Steering(steered)),
            None if ready => Ok(Submitted::Ready(turn)),
            None => self.waiting(turn).await,
        }
    }

    /// May a turn be accepted, and if so, may it run at once?
    pub(super) fn admit(&self, traffic: &Traffic, user: Option<&UserId>, on_busy: OnBusy) -> Result<bool, SubmitError> {
        let cap = self.settings.max_in_flight;
        // Of those without a name each session is somebody.
        let in_flight = if user.is_some() { traffic.user_in_flight } else { traffic.session_in_flight };
        if cap > 0 && in_flight >= cap {
            return Err(SubmitError::TooManyTurns(cap));
        }
        if on_busy == OnBusy::Reject
            && let Some(current) = traffic.current
        {
            return Err(SubmitError::Busy(current));
        }
        let capped = user.is_some() && self.settings.max_running > 0 && traffic.user_ready >= self.settings.max_running;
        Ok(traffic.session_in_flight == 0 && !capped)
    }

    pub(super) async fn waiting(&self, turn: Turn) -> Result<Submitted, SubmitError> {
        let position = self.position(turn.id).await?;
        Ok(Submitted::Waiting(turn, position))
    }
}

pub(super) async fn lock_owned_session(tx: Tx<'_>, session: SessionId, caller: &Caller) -> Result<(), SubmitError> {
    sqlx::query("SELECT 1 FROM sessions WHERE id = $1 AND (user_id = $2 OR claim_token_hash = $3) FOR UPDATE")
        .bind(session)
        .bind(caller.user_id())
        .bind(caller.claim_hash())
        .fetch_optional(&mut **tx)
        .await?
        .map(|_| ())
        .ok_or(SubmitError::NotFound)
}

/// Keys belong to the user; an anonymous session's keys belong to the session.
pub(super) fn key_owner(session: SessionId, user: Option<&UserId>) -> String {
    user.map_or_else(|| format!("session:{session}"), |user| format!("user:{user}"))
}

pub(super) async fn find_repeated(
    connection: &mut PgConnection,
    session: SessionId,
    user: Option<&UserId>,
    idempotency: &Idempotency,
) -> Result<Option<Turn>, SubmitError> {
    let owner = key_owner(session, user);
    let found: Option<(Vec<u8>, TurnId, bool)> = sqlx::query_as(
        "SELECT body_hash, turn_id, created_at < now() - interval '24 hours' FROM idempotency_keys \
         WHERE owner = $1 AND key = $2",
    )
    .bind(&owner)
    .bind(&idempotency.key)
    .fetch_optional(&mut *connection)
    .await?;
    match found {
        None => Ok(None),
        Some((_, _, true)) => {
            sqlx::query("DELETE FROM idempotency_keys WHERE owner = $1 AND key = $2")
                .bind(&owner)
                .bind(&idempotency.key)
                .execute(&mut *connection)
                .await?;
            Ok(None)
        }
        Some((hash, turn, false)) if hash == idempotency.body_hash => Ok(Some(turn_to_follow(connection, turn).await?)),
        Some(_) => Err(SubmitError::KeyConflict),
    }
}

/// The turn whose chunks answer a submit: its own, or the one that its message is to steer.
pub(super) async fn turn_to_follow(connection: &mut PgConnection, turn: TurnId) -> Result<Turn, SubmitError> {
    let row: TurnRow = sqlx::query_as(concat!(
        "SELECT ",
        turn_columns!(),
        " FROM turns t WHERE t.id = coalesce((SELECT r.id FROM turns s JOIN turns r ON r.id = s.steers \
             WHERE s.id = $1 AND s.status = 'queued' AND s.ready_at IS NULL AND r.status IN ('queued', 'running')), $1)"
    ))
    .bind(turn)
    .fetch_one(&mut *connection)
    .await?;
    Ok(row.into())
}

pub(super) async fn insert_key(
    tx: Tx<'_>,
    session: SessionId,
    user: Option<&UserId>,
    idempotency: &Idempotency,
    turn: TurnId,
) -> Result<(), SubmitError> {
    sqlx::query("INSERT INTO idempotency_keys (owner, key, body_hash, turn_id) VALUES ($1, $2, $3, $4)")
        .bind(key_owner(session, user))
        .bind(&idempotency.key)
        .bind(idempotency.body_hash.as_slice())
        .bind(turn)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn measure_traffic(
    tx: Tx<'_>,
    session: SessionId,
    user: Option<&UserId>,
) -> Result<Traffic, SubmitError> {
    let traffic = sqlx::query_as(
        "SELECT (SELECT count(*) FROM turns WHERE user_id = $2 AND status IN ('queued', 'running')) AS user_in_flight, \
                (SELECT count(*) FROM turns WHERE user_id = $2 AND status IN ('queued', 'running') \
                    AND ready_at IS NOT NULL) AS user_ready, \
                (SELECT count(*) FROM turns WHERE session_id = $1 AND status IN ('queued', 'running')) AS session_in_flight, \
                (SELECT id FROM turns WHERE session_id = $1 AND status IN ('queued', 'running') \
                    ORDER BY ready_at NULLS LAST, number LIMIT 1) AS current",
    )
    .bind(session)
    .bind(user)
    .fetch_one(&mut **tx)
    .await?;
    Ok(traffic)
}

/// How an accepted turn begins.
struct Start {
    /// Nothing is in its way.
    ready: bool,
    /// The turn that its message is for.
    steered: Option<TurnId>,
}

async fn insert_turn(
    tx: Tx<'_>,
    session: SessionId,
    user: Option<&UserId>,
    new: &NewTurn,
    start: Start,
) -> Result<Turn, SubmitError> {
    let priority = match new.on_busy {
        OnBusy::Enqueue | OnBusy::Reject => 0_i16,
        OnBusy::Interrupt | OnBusy::Steer => 1,
    };
    let row: TurnRow = sqlx::query_as(concat!(
        "WITH place AS (UPDATE sessions SET updated_at = now(), next_sequence = next_sequence + $6::boolean::integer \
             WHERE id = $1 RETURNING next_sequence - 1 AS sequence), \
         message AS (INSERT INTO messages (id, session_id, turn_id, sequence, role, parts, ui_id) \
             SELECT $3, $1, $2, CASE WHEN $6 THEN sequence END, $11, $5, $10 FROM place), \
         t AS (INSERT INTO turns (id, session_id, user_id, message_id, priority, ready_at, steers) \
             VALUES ($2, $1, $4, $3, $7, CASE WHEN $6 THEN now() END, $9) RETURNING *), \
         box AS (INSERT INTO outbox (turn_id, due_at) SELECT id, now() + $8 FROM t WHERE ready_at IS NOT NULL) \
         SELECT ",
        turn_columns!(),
        " FROM t"
    ))
    .bind(session)
    .bind(new.id)
    .bind(new.message_id)
    .bind(user)
    .bind(Json(&new.parts))
    .bind(start.ready)
    .bind(priority)
    .bind(interval(DISPATCH_GRACE))
    .bind(start.steered)
    .bind(&new.ui_id)
    .bind(Role::from(new.speaker))
    .fetch_one(&mut **tx)
    .await?;
    Ok(row.into())
}
