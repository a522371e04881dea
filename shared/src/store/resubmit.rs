//! Asking again: a message written anew, or its answer made anew. Either takes the conversation back
//! to that message before it adds to it, in one transaction.
//!
//! What is taken back is superseded: it leaves the conversation and stays for the record. A turn that
//! is in flight then answers something that is no more, so it is stopped, and whatever it still writes
//! is superseded as well.

use sqlx::FromRow;
use sqlx::types::Json;

use super::cancels::drop_turns;
use super::rows::{StoredParts, TurnRow, turn_columns};
use super::submit::{find_repeated, insert_key, lock_owned_session, measure_traffic, turn_to_follow};
use super::{DISPATCH_GRACE, Idempotency, NewTurn, OnBusy, Store, StoreError, SubmitError, Submitted, Tx, interval};
use crate::id::{MessageId, SessionId, TurnId, UiMessageId};
use crate::message::{Part, text_of};
use crate::session::Caller;
use crate::turn::Turn;

/// A question that is to be answered once more, without a new message.
#[derive(Debug, Clone)]
pub struct Again {
    /// The id of the turn that answers.
    pub id: TurnId,
    /// The answer that is to be made anew (the id of its turn), or the message that is to be
    /// answered. The last message of the conversation if it is absent.
    pub of: Option<UiMessageId>,
    /// The message that the client sees as the last one.
    pub seen: Option<Seen>,
    /// What to do if the session is busy: whatever is not [`OnBusy::Reject`] interrupts.
    pub on_busy: OnBusy,
    /// What makes it the same as an earlier one.
    pub idempotency: Option<Idempotency>,
}

/// A message as a client sees it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What the client calls it.
    pub id: Option<UiMessageId>,
    /// What it says.
    pub text: String,
}

/// What became of it.
#[derive(Debug)]
pub struct Resubmitted {
    /// The turn that answers.
    pub submitted: Submitted,
    /// The turn that is to be stopped. It carries the intent already.
    pub stopped: Option<TurnId>,
    /// Turns that waited and are no more, to be sealed.
    pub dropped: Vec<Turn>,
}

impl From<Submitted> for Resubmitted {
    fn from(submitted: Submitted) -> Self {
        Self { submitted, stopped: None, dropped: Vec::new() }
    }
}

/// A user's message that is not superseded.
#[derive(FromRow)]
struct Question {
    id: MessageId,
    turn_id: TurnId,
    /// Its place; absent while it waits.
    sequence: Option<i64>,
    parts: Json<StoredParts>,
}

/// How its turn stands.
#[derive(FromRow)]
struct Standing {
    is_queued: bool,
    is_to_stop: bool,
}

/// A transaction that holds, in this order, the user's lock, the turn that runs or is about to, and
/// the session.
struct Held {
    tx: sqlx::Transaction<'static, sqlx::Postgres>,
    current: Option<TurnId>,
}

impl Store {
    /// Puts a message in place of an earlier one and what follows it, waiting turns included.
    pub async fn rewrite(
        &self,
        session: SessionId,
        caller: &Caller,
        new: &NewTurn,
        instead_of: &UiMessageId,
    ) -> Result<Resubmitted, SubmitError> {
        let user = caller.user_id();
        let Held { mut tx, current } = self.hold(session, caller).await?;
        if let Some(idempotency) = &new.idempotency
            && let Some(turn) = find_repeated(&mut tx, session, user, idempotency).await?
        {
            return Ok(Submitted::Repeated(turn).into());
        }
        let old = find_question(&mut tx, session, instead_of).await?;
        let old = old.ok_or_else(|| SubmitError::NoMessage(instead_of.clone()))?;
        // A message that waits is no answer's question yet: what runs now has nothing to do with it.
        let (current, on_busy) = match old.sequence {
            Some(_) => (current, interrupting(new.on_busy)),
            None => (None, new.on_busy),
        };
        let waiting = waiting_behind(&mut tx, session, &old).await?;
        let dropped = drop_turns(&mut tx, &waiting, caller.actor()).await?;
        if let Some(sequence) = old.sequence {
            supersede_from(&mut tx, session, sequence, new.id).await?;
        }
        stop_current(&mut tx, current, new.id, caller).await?;
        let submitted = self.accept(tx, session, user, &NewTurn { on_busy, ..new.clone() }).await?;
        Ok(Resubmitted { submitted, stopped: current, dropped })
    }

    /// Answers a message once more. One that has not begun to be answered keeps the turn that it has.
    pub async fn ask_again(
        &self,
        session: SessionId,
        caller: &Caller,
        again: &Again,
    ) -> Result<Resubmitted, SubmitError> {
        let user = caller.user_id();
        let Held { mut tx, current } = self.hold(session, caller).await?;
        if let Some(idempotency) = &again.idempotency
            && let Some(turn) = find_repeated(&mut tx, session, user, idempotency).await?
        {
            return Ok(Submitted::Repeated(turn).into());
        }
        let (question, whole_turn) = find_asked(&mut tx, session, again).await?;
        let standing = standing_of(&mut tx, question.turn_id).await?;
        let Some(sequence) = question.sequence.filter(|_| !standing.is_queued || standing.is_to_stop) else {
            let turn = turn_to_follow(&mut tx, question.turn_id).await?;
            if let Some(idempotency) = &again.idempotency {
                insert_key(&mut tx, session, user, idempotency, turn.id).await?;
            }
            tx.commit().await?;
            return Ok(Submitted::Repeated(turn).into());
        };
        let on_busy = interrupting(again.on_busy);
        supersede_from(&mut tx, session, sequence + 1, again.id).await?;
        if whole_turn {
            supersede_answer(&mut tx, session, question.turn_id, again.id).await?;
        }
        stop_current(&mut tx, current, again.id, caller).await?;
        let traffic = measure_traffic(&mut tx, session, user).await?;
        let ready = self.admit(&traffic, user, on_busy)?;
        let turn = insert_again(&mut tx, session, caller, again, &question, ready).await?;
        take_over_question(&mut tx, &question, whole_turn, again.id).await?;
        if let Some(idempotency) = &again.idempotency {
            insert_key(&mut tx, session, user, idempotency, turn.id).await?;
        }
        tx.commit().await?;
        let submitted = if ready { Submitted::Ready(turn) } else { self.waiting(turn).await? };
        Ok(Resubmitted { submitted, stopped: current, dropped: Vec::new() })
    }

    /// What [`Self::ask_again`] would have answered once more, for those who must know before: it may
    /// have changed by then.
    pub async fn asked_again(&self, session: SessionId, again: &Again) -> Result<Vec<Part>, SubmitError> {
        let mut tx = self.pool.begin().await.map_err(StoreError::from)?;
        let (question, _) = find_asked(&mut tx, session, again).await?;
        Ok(question.parts.0.0)
    }

    /// Takes the locks. The turn comes before its session, so it is locked before anybody can say that
    /// it will still be the current one: if another began meanwhile, all is given back and taken again.
    async fn hold(&self, session: SessionId, caller: &Caller) -> Result<Held, SubmitError> {
        loop {
            let mut tx = self.begin_for(caller.user_id()).await?;
            let current: Option<TurnId> = sqlx::query_scalar(
                "SELECT t.id FROM turns t JOIN sessions s ON s.id = t.session_id \
                 WHERE t.session_id = $1 AND t.ready_at IS NOT NULL AND t.status IN ('queued', 'running') \
                   AND (s.user_id = $2 OR s.claim_token_hash = $3) FOR UPDATE OF t",
            )
            .bind(session)
            .bind(caller.user_id())
            .bind(caller.claim_hash())
            .fetch_optional(&mut *tx)
            .await?;
            lock_owned_session(&mut tx, session, caller).await?;
            let still: Option<TurnId> = sqlx::query_scalar(
                "SELECT id FROM turns WHERE session_id = $1 AND ready_at IS NOT NULL AND status IN ('queued', 'running')",
            )
            .bind(session)
            .fetch_optional(&mut *tx)
            .await?;
            if current == still {
                return Ok(Held { tx, current });
            }
        }
    }
}

/// What runs now is part of what is taken back, so there is nothing to wait for and nothing to steer.
fn interrupting(wish: OnBusy) -> OnBusy {
    match wish {
        OnBusy::Reject => OnBusy::Reject,
        OnBusy::Enqueue | OnBusy::Interrupt | OnBusy::Steer => OnBusy::Interrupt,
    }
}

/// The user's message that a client calls so. Ids of a client's own making can repeat: the newest counts.
async fn find_question(tx: Tx<'_>, session: SessionId, name: &UiMessageId) -> Result<Option<Question>, SubmitError> {
    let question = sqlx::query_as(
        "SELECT id, turn_id, sequence, parts FROM messages \
         WHERE session_id = $1 AND superseded_at IS NULL AND role IN ('user', 'system') AND (ui_id = $2 OR id = $3) \
         ORDER BY sequence DESC NULLS FIRST, created_at DESC LIMIT 1",
    )
    .bind(session)
    .bind(name)
    .bind(name.as_uuid())
    .fetch_optional(&mut **tx)
    .await?;
    Ok(question)
}

/// The question of an answer that is not superseded.
async fn find_answered(tx: Tx<'_>, session: SessionId, turn: TurnId) -> Result<Option<Question>, SubmitError> {
    let question = sqlx::query_as(
        "SELECT id, turn_id, sequence, parts FROM messages \
         WHERE turn_id = $2 AND session_id = $1 AND superseded_at IS NULL AND role IN ('user', 'system') \
         ORDER BY sequence DESC NULLS FIRST LIMIT 1",
    )
    .bind(session)
    .bind(turn)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(question)
}

async fn find_last(tx: Tx<'_>, session: SessionId) -> Result<Option<Question>, SubmitError> {
    let question = sqlx::query_as(
        "SELECT id, turn_id, sequence, parts FROM messages \
         WHERE session_id = $1 AND superseded_at IS NULL AND sequence IS NOT NULL AND role IN ('user', 'system') \
         ORDER BY sequence DESC LIMIT 1",
    )
    .bind(session)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(question)
}

/// What is to be answered, and whether all that its turn said is to be made anew.
async fn find_asked(tx: Tx<'_>, session: SessionId, again: &Again) -> Result<(Question, bool), SubmitError> {
    if let Some(name) = &again.of {
        if let Some(turn) = name.as_uuid()
            && let Some(question) = find_answered(tx, session, TurnId(turn)).await?
        {
            return Ok((question, true));
        }
        let question = find_question(tx, session, name).await?;
        return question.map(|question| (question, false)).ok_or_else(|| SubmitError::NoMessage(name.clone()));
    }
    let named = again.seen.as_ref().and_then(|seen| seen.id.as_ref());
    if let Some(name) = named
        && let Some(question) = find_question(tx, session, name).await?
    {
        return Ok((question, false));
    }
    let question = find_last(tx, session).await?.ok_or(SubmitError::NothingToAnswer)?;
    match (&again.seen, named) {
        // The client asks for an answer to something that never came here: an answer to something
        // else would stand below it.
        (Some(seen), Some(name)) if seen.text.trim() != text_of(&question.parts.0.0).trim() => {
            Err(SubmitError::NoMessage(name.clone()))
        }
        _ => Ok((question, false)),
    }
}

async fn standing_of(tx: Tx<'_>, turn: TurnId) -> Result<Standing, SubmitError> {
    let standing = sqlx::query_as(
        "SELECT status = 'queued' AS is_queued, cancel_requested_at IS NOT NULL AS is_to_stop FROM turns WHERE id = $1",
    )
    .bind(turn)
    .fetch_one(&mut **tx)
    .await?;
    Ok(standing)
}

/// The turns that wait behind a message: all of them if it has its place, else its own and those
/// behind that one.
async fn waiting_behind(tx: Tx<'_>, session: SessionId, old: &Question) -> Result<Vec<TurnId>, SubmitError> {
    let waiting = sqlx::query_scalar(
        "SELECT t.id FROM turns t LEFT JOIN turns w ON w.id = $2 AND w.ready_at IS NULL AND w.status = 'queued' \
         WHERE t.session_id = $1 AND t.status = 'queued' AND t.ready_at IS NULL \
           AND (w.id IS NULL OR (t.priority, -t.number) <= (w.priority, -w.number))",
    )
    .bind(session)
    .bind(old.sequence.is_none().then_some(old.turn_id))
    .fetch_all(&mut **tx)
    .await?;
    Ok(waiting)
}

/// A summary that tells of what is superseded goes as well: the model would read it there.
async fn supersede_from(tx: Tx<'_>, session: SessionId, sequence: i64, by: TurnId) -> Result<(), SubmitError> {
    sqlx::query(
        "WITH gone AS (UPDATE messages SET superseded_by = $3, superseded_at = now() \
             WHERE session_id = $1 AND superseded_at IS NULL AND sequence >= $2 RETURNING sequence) \
         DELETE FROM context_summaries WHERE session_id = $1 AND up_to >= (SELECT min(sequence) FROM gone)",
    )
    .bind(session)
    .bind(sequence)
    .bind(by)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// With a message that steered it, a turn has said something before its last question, too.
async fn supersede_answer(tx: Tx<'_>, session: SessionId, turn: TurnId, by: TurnId) -> Result<(), SubmitError> {
    sqlx::query(
        "WITH gone AS (UPDATE messages SET superseded_by = $3, superseded_at = now() \
             WHERE turn_id = $2 AND superseded_at IS NULL AND role IN ('assistant', 'tool') RETURNING sequence) \
         DELETE FROM context_summaries WHERE session_id = $1 AND up_to >= (SELECT min(sequence) FROM gone)",
    )
    .bind(session)
    .bind(turn)
    .bind(by)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Writes the intent to stop what runs or is about to. What was to steer it waits for itself from now on.
async fn stop_current(
    tx: Tx<'_>,
    current: Option<TurnId>,
    superseded_by: TurnId,
    caller: &Caller,
) -> Result<(), SubmitError> {
    sqlx::query(
        "UPDATE turns SET superseded_by = $2, cancel_requested_at = coalesce(cancel_requested_at, now()), \
             cancelled_by = coalesce(cancelled_by, $3) WHERE id = $1",
    )
    .bind(current)
    .bind(superseded_by)
    .bind(caller.actor())
    .execute(&mut **tx)
    .await?;
    sqlx::query("UPDATE turns SET steers = NULL WHERE steers = $1").bind(current).execute(&mut **tx).await?;
    Ok(())
}

async fn insert_again(
    tx: Tx<'_>,
    session: SessionId,
    caller: &Caller,
    again: &Again,
    question: &Question,
    ready: bool,
) -> Result<Turn, SubmitError> {
    let row: TurnRow = sqlx::query_as(concat!(
        "WITH place AS (UPDATE sessions SET updated_at = now() WHERE id = $1), \
         t AS (INSERT INTO turns (id, session_id, user_id, message_id, priority, ready_at, regenerates) \
             VALUES ($2, $1, $4, $3, 1, CASE WHEN $5 THEN now() END, $6) RETURNING *), \
         box AS (INSERT INTO outbox (turn_id, due_at) SELECT id, now() + $7 FROM t WHERE ready_at IS NOT NULL) \
         SELECT ",
        turn_columns!(),
        " FROM t"
    ))
    .bind(session)
    .bind(again.id)
    .bind(question.id)
    .bind(caller.user_id())
    .bind(ready)
    .bind(question.turn_id)
    .bind(interval(DISPATCH_GRACE))
    .fetch_one(&mut **tx)
    .await?;
    Ok(row.into())
}

/// Makes the question the new turn's own: a message belongs to the turn that answers it.
async fn take_over_question(
    tx: Tx<'_>,
    question: &Question,
    whole_turn: bool,
    turn: TurnId,
) -> Result<(), SubmitError> {
    sqlx::query(
        "UPDATE messages SET turn_id = $3 WHERE superseded_at IS NULL AND role IN ('user', 'system') \
           AND (id = $1 OR ($4 AND turn_id = $2 AND sequence IS NOT NULL))",
    )
    .bind(question.id)
    .bind(question.turn_id)
    .bind(turn)
    .bind(whole_turn)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_takes_the_conversation_back_interrupts_or_is_refused() {
        for wish in [OnBusy::Enqueue, OnBusy::Interrupt, OnBusy::Steer] {
            assert_eq!(interrupting(wish), OnBusy::Interrupt);
        }
        assert_eq!(interrupting(OnBusy::Reject), OnBusy::Reject);
    }
}
