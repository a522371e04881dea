//! A conversation turn by turn, as a client that followed it knows it.

use std::num::TryFromIntError;

use sqlx::FromRow;
use sqlx::types::Json;

use super::rows::StoredParts;
use super::{Store, StoreError};
use crate::id::{MessageId, SessionId, TurnId, UiMessageId};
use crate::message::{Part, Role};
use crate::turn::TurnStatus;

/// A turn of a conversation: what was asked, and what was answered.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnTranscript {
    /// The turn.
    pub turn_id: TurnId,
    /// How it stands.
    pub status: TurnStatus,
    /// What it answers; more than one message if it was steered.
    pub asked: Vec<Asked>,
    /// Its model calls in order, each with what the model said and what the tools answered. One that
    /// said nothing is empty.
    pub steps: Vec<Vec<Part>>,
}

/// A message that is to be answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// Its id.
    pub id: MessageId,
    /// What the client's user interface calls it, if it said so.
    pub ui_id: Option<UiMessageId>,
    /// The user, or the system on the user's behalf.
    pub role: Role,
    /// What is said.
    pub parts: Vec<Part>,
}

/// A page of whole turns, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct TranscriptPage {
    /// The turns.
    pub turns: Vec<TurnTranscript>,
    /// The place of its first message: what comes before it is on the next page.
    pub oldest_sequence: Option<i64>,
    /// Are there older ones?
    pub has_more: bool,
}

#[derive(FromRow)]
struct TranscriptRow {
    id: MessageId,
    ui_id: Option<UiMessageId>,
    turn_id: TurnId,
    sequence: i64,
    role: Role,
    step: Option<i32>,
    parts: Json<StoredParts>,
    status: TurnStatus,
    /// Model calls that its turn committed.
    steps: i32,
    /// Some of what its turn said is superseded, so its calls cannot be counted.
    is_cut: bool,
}

impl Store {
    /// The newest turns before a sequence number: `limit` messages, and the rest of the oldest turn.
    pub async fn transcript(
        &self,
        session: SessionId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<TranscriptPage, StoreError> {
        let rows: Vec<TranscriptRow> = sqlx::query_as(
            "WITH page AS (SELECT sequence, turn_id FROM messages WHERE session_id = $1 AND superseded_at IS NULL \
                 AND sequence IS NOT NULL AND ($2::bigint IS NULL OR sequence < $2) ORDER BY sequence DESC LIMIT $3), \
             edge AS (SELECT turn_id FROM page ORDER BY sequence LIMIT 1), \
             begins AS (SELECT min(m.sequence) AS sequence FROM messages m JOIN edge ON edge.turn_id = m.turn_id \
                 WHERE m.superseded_at IS NULL AND m.sequence IS NOT NULL) \
             SELECT m.id, m.ui_id, m.turn_id, m.sequence, m.role, m.step, m.parts, t.status, t.steps, \
                 EXISTS (SELECT 1 FROM messages c WHERE c.turn_id = m.turn_id AND c.superseded_at IS NOT NULL) AS is_cut \
             FROM messages m JOIN turns t ON t.id = m.turn_id JOIN begins ON m.sequence >= begins.sequence \
             WHERE m.session_id = $1 AND m.superseded_at IS NULL AND ($2::bigint IS NULL OR m.sequence < $2) \
             ORDER BY m.sequence",
        )
        .bind(session)
        .bind(before)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        let oldest_sequence = rows.first().map(|row| row.sequence);
        let has_more = match oldest_sequence {
            Some(oldest) => self.has_messages_before(session, oldest).await?,
            None => false,
        };
        Ok(TranscriptPage { turns: by_turn(rows), oldest_sequence, has_more })
    }

    async fn has_messages_before(&self, session: SessionId, sequence: i64) -> Result<bool, StoreError> {
        let has = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM messages WHERE session_id = $1 AND superseded_at IS NULL AND sequence < $2)",
        )
        .bind(session)
        .bind(sequence)
        .fetch_one(&self.pool)
        .await?;
        Ok(has)
    }
}

/// A turn's rows stand together: what waits has no place, and what was taken back is not there.
fn by_turn(rows: Vec<TranscriptRow>) -> Vec<TurnTranscript> {
    let mut turns: Vec<TurnTranscript> = Vec::new();
    for row in rows {
        match turns.last_mut() {
            Some(turn) if turn.turn_id == row.turn_id => turn.take(row),
            _ => {
                let mut turn = TurnTranscript::begun_by(&row);
                turn.take(row);
                turns.push(turn);
            }
        }
    }
    turns
}

impl TurnTranscript {
    fn begun_by(row: &TranscriptRow) -> Self {
        let counted = if row.is_cut { 0 } else { usize::try_from(row.steps).unwrap_or(0) };
        Self { turn_id: row.turn_id, status: row.status, asked: Vec::new(), steps: vec![Vec::new(); counted] }
    }

    fn take(&mut self, row: TranscriptRow) {
        let Json(StoredParts(parts)) = row.parts;
        match row.step.map(index_of) {
            None => self.asked.push(Asked { id: row.id, ui_id: row.ui_id, role: row.role, parts }),
            Some(Ok(index)) => {
                if self.steps.len() <= index {
                    self.steps.resize(index + 1, Vec::new());
                }
                if let Some(step) = self.steps.get_mut(index) {
                    step.extend(parts);
                }
            }
            Some(Err(error)) => tracing::warn!(turn.id = %self.turn_id, %error, "a message of a step that cannot be"),
        }
    }
}

/// Steps are numbered from 1.
fn index_of(step: i32) -> Result<usize, TryFromIntError> {
    usize::try_from(step - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(turn_id: TurnId, sequence: i64, role: Role, step: Option<i32>, text: &str) -> TranscriptRow {
        TranscriptRow {
            id: MessageId::generate(),
            ui_id: None,
            turn_id,
            sequence,
            role,
            step,
            parts: Json(StoredParts(vec![Part::Text { id: None, text: text.into() }])),
            status: TurnStatus::Completed,
            steps: 3,
            is_cut: false,
        }
    }

    fn texts(step: &[Part]) -> String {
        crate::message::text_of(step)
    }

    #[test]
    fn rows_become_turns_with_all_their_steps() {
        let (one, two) = (TurnId::generate(), TurnId::generate());
        let turns = by_turn(vec![
            row(one, 1, Role::User, None, "a"),
            row(one, 2, Role::Assistant, Some(1), "b"),
            row(one, 3, Role::Tool, Some(1), "c"),
            row(one, 4, Role::User, None, "d"),
            row(one, 5, Role::Assistant, Some(3), "e"),
            row(two, 6, Role::User, None, "f"),
        ]);
        assert_eq!(turns.iter().map(|turn| turn.turn_id).collect::<Vec<_>>(), [one, two]);
        assert_eq!(turns[0].asked.iter().map(|asked| texts(&asked.parts)).collect::<Vec<_>>(), ["a", "d"]);
        assert_eq!(turns[0].steps.iter().map(|step| texts(step)).collect::<Vec<_>>(), ["bc", "", "e"]);
        assert_eq!(turns[1].steps.len(), 3, "calls that said nothing");
    }

    #[test]
    fn the_calls_of_a_cut_turn_are_those_that_are_left() {
        let turn = TurnId::generate();
        let cut = |row: TranscriptRow| TranscriptRow { is_cut: true, ..row };
        let turns =
            by_turn(vec![cut(row(turn, 1, Role::User, None, "a")), cut(row(turn, 2, Role::Assistant, Some(1), "b"))]);
        assert_eq!(turns[0].steps.len(), 1);
    }
}
