//! What a turn was told: by the message that made it, as it was edited, and by those that steered it.

use std::collections::{BTreeMap, BTreeSet};

use copilot_shared::id::TurnId;
use copilot_shared::message::{HistoryMessage, Role, text_of};
use copilot_shared::turn::TurnStatus;
use sqlx::PgConnection;
use uuid::Uuid;

use super::super::Chaos;
use super::super::ledger::Submission;
use super::super::script::Script;
use super::rows::{self, TurnRow};

/// The script of a whole turn: of each message the steps that came before the next one, and the
/// last one to its end. None for a turn that never began and whose message is gone.
pub fn script(
    row: &TurnRow,
    users: &[Uuid],
    history: &[HistoryMessage],
    submissions: &[Submission],
) -> Result<Option<Script>, String> {
    let mut told: Option<Script> = None;
    let mut answers = 0;
    let mut ids = users.iter();
    for message in history {
        match message.role {
            Role::Assistant => answers += 1,
            Role::User => {
                let id = ids.next().ok_or("its messages changed while they were read")?;
                let mut next = script_of(row, *id, message, submissions)?.clone();
                if let Some(before) = told {
                    let steps = before.steps.into_iter().take(answers).chain(next.steps);
                    next.steps = steps.collect();
                }
                told = Some(next);
            }
            _ => {}
        }
    }
    let never_began = !row.begun && row.status != TurnStatus::Completed;
    match told {
        None if never_began => Ok(None),
        None => Err("nobody told it anything".into()),
        told => Ok(told),
    }
}

fn script_of<'a>(
    row: &TurnRow,
    id: Uuid,
    message: &HistoryMessage,
    submissions: &'a [Submission],
) -> Result<&'a Script, String> {
    let submission =
        submissions.iter().find(|submission| submission.message_id == id).ok_or(format!("nobody sent message {id}"))?;
    if row.message_id.is_none_or(|own| own.0 != id) && submission.on_busy != "steer" {
        return Err(format!("message {id} is in it and was not to steer it"));
    }
    let said = text_of(&message.parts);
    let scripts = submission.scripts();
    scripts
        .iter()
        .find(|script| script.message == said)
        .copied()
        .ok_or_else(|| format!("its message is {said:?} and should be one of {scripts:?}"))
}

/// What a user was told to be accepted must be there; what was refused or dropped must not.
pub async fn missing(chaos: &Chaos, turns: &[TurnRow], submissions: &[Submission], connection: &mut PgConnection) {
    let ledger = &chaos.ledger;
    let by_id: BTreeMap<TurnId, &TurnRow> = turns.iter().map(|row| (row.id, row)).collect();
    let messages: BTreeSet<Uuid> = rows::messages(connection).await;
    let mut dropped_steering = 0;
    for submission in submissions {
        let Some(turn) = submission.turn else { continue };
        let here = messages.contains(&submission.message_id);
        if submission.on_busy == "steer" {
            // It may have been a turn of its own and dropped with the queue.
            dropped_steering += usize::from(!here);
        } else if !by_id.contains_key(&turn) {
            ledger.violation(format!("turn {turn} was accepted and is not there"));
        } else if !here && by_id[&turn].begun {
            ledger.violation(format!("turn {turn} began and its message is not there"));
        }
    }
    let named: BTreeSet<TurnId> = submissions.iter().filter(|s| s.on_busy != "steer").filter_map(|s| s.turn).collect();
    let unnamed = turns.iter().filter(|row| row.message_id.is_none() && !row.begun && !named.contains(&row.id)).count();
    if dropped_steering > unnamed {
        ledger
            .violation(format!("{dropped_steering} steering messages are gone, and only {unnamed} turns without one"));
    }
    for refused in ledger.refusals().intersection(&messages) {
        ledger.violation(format!("message {refused} was refused and is there"));
    }
    for dropped in ledger.drops() {
        if by_id.get(&dropped).is_none_or(|row| row.begun || row.status != TurnStatus::Cancelled) {
            ledger.violation(format!("turn {dropped} was dropped and is {:?}", by_id.get(&dropped)));
        }
    }
    let taken_up: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM messages m JOIN turns t ON t.id = m.turn_id \
         WHERE m.role = 'user' AND m.sequence IS NOT NULL AND t.message_id IS DISTINCT FROM m.id",
    )
    .fetch_one(connection)
    .await
    .expect("the query runs");
    for _ in 0..taken_up {
        ledger.count("steering messages taken up");
    }
}
