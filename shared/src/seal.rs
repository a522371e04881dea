//! Ending a turn where no worker does: its row, then the last chunks of its stream.
//!
//! The row ends first. Whoever dies between the two leaves an ended row with an unsealed stream,
//! which the reconciler finds; nobody ever leaves a sealed stream with a row in flight.

use crate::chunk::Chunk;
use crate::fold::Fold;
use crate::id::TurnId;
use crate::message::{HistoryMessage, Part, Role, ToolOutcome};
use crate::store::{Fenced, Store, StoreError};
use crate::stream::{Appended, StreamError, Streams};
use crate::turn::{Attempt, Turn, TurnEnd};

/// A turn could not be ended or sealed for the moment.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stream server failed.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

/// A stream that is begun anew counts on from far behind the last committed chunk: nobody knows
/// how many followed it, and a cursor of the lost stream must never fit into the new one.
const LOST_STREAM_JUMP: u64 = 1_000_000;

/// Gives an ended turn's stream its last chunk. True if it is there now.
pub async fn seal(store: &Store, streams: &Streams, turn: &Turn) -> Result<bool, SealError> {
    let Some(end) = TurnEnd::of(turn) else { return Ok(false) };
    if turn.chunk_sequence > 0 && streams.meta(turn.id).await?.is_none() {
        let fold = rebuild(store, turn).await?;
        streams.begin_anew(turn.id, turn.attempt, &fold).await?;
    }
    let sealed = match streams.seal(turn.id, turn.attempt, &end).await? {
        Appended::Stored | Appended::Closed => true,
        Appended::Fenced | Appended::Lost | Appended::Gap(_) => false,
    };
    if sealed {
        store.note_sealed(&[turn.id]).await?;
    }
    Ok(sealed)
}

/// Ends a turn in place of its worker, which is fenced off first, and keeps what it wrote.
/// `None` if the turn ended or was claimed meanwhile; else the turns that may run now.
pub async fn end_without_worker(
    store: &Store,
    streams: &Streams,
    turn: &Turn,
    end: &TurnEnd,
) -> Result<Option<Vec<TurnId>>, SealError> {
    streams.raise(turn.id, Attempt(turn.attempt.0 + 1)).await?;
    let fold = streams.read_fold(turn.id).await?.unwrap_or_default();
    let committed = usize::try_from(store.committed_steps(turn.id).await?).unwrap_or(usize::MAX);
    // A step whose call was committed is in the history already.
    let unfinished = (fold.steps_begun() > committed).then(|| fold.open_step_parts());
    match store.end_without_worker(turn, end, unfinished.as_deref()).await {
        Ok((ended, next)) => {
            seal(store, streams, &ended).await?;
            Ok(Some(next))
        }
        Err(Fenced::Fenced) => Ok(None),
        Err(Fenced::Store(error)) => Err(error.into()),
    }
}

/// The state of a turn's stream as its committed messages tell it, for a stream that was lost.
pub async fn rebuild(store: &Store, turn: &Turn) -> Result<Fold, StoreError> {
    let mut fold = fold_of_history(turn.id, &store.turn_messages(turn.id).await?);
    fold.sequence = u64::try_from(turn.chunk_sequence).unwrap_or(0) + LOST_STREAM_JUMP;
    Ok(fold)
}

/// What a turn's committed messages amount to. The last step stays open if calls of it are.
pub fn fold_of_history(turn: TurnId, messages: &[HistoryMessage]) -> Fold {
    let mut fold = Fold::default();
    fold.apply(Chunk::Start { message_id: turn });
    for message in messages {
        match message.role {
            Role::User | Role::System => {}
            Role::Assistant => {
                close_step(&mut fold);
                fold.apply(Chunk::StartStep);
                message.parts.iter().flat_map(chunks_of).for_each(|chunk| fold.apply(chunk));
            }
            Role::Tool => message.parts.iter().flat_map(chunks_of).for_each(|chunk| fold.apply(chunk)),
        }
    }
    if !fold.has_open_tools() {
        close_step(&mut fold);
    }
    fold
}

fn close_step(fold: &mut Fold) {
    if fold.in_step() {
        fold.apply(Chunk::FinishStep);
    }
}

fn chunks_of(part: &Part) -> Vec<Chunk> {
    match part.clone() {
        Part::Text { id: Some(id), text } => vec![
            Chunk::TextStart { id: id.clone() },
            Chunk::TextDelta { id: id.clone(), delta: text },
            Chunk::TextEnd { id },
        ],
        Part::Reasoning { id, text, .. } => vec![
            Chunk::ReasoningStart { id: id.clone() },
            Chunk::ReasoningDelta { id: id.clone(), delta: text },
            Chunk::ReasoningEnd { id },
        ],
        Part::ToolCall { id, name, input } => {
            vec![Chunk::ToolInputAvailable { tool_call_id: id, tool_name: name, input, provider_executed: true }]
        }
        Part::ToolResult { id, outcome: ToolOutcome::Output(output), .. } => {
            vec![Chunk::ToolOutputAvailable { tool_call_id: id, output, preliminary: None }]
        }
        Part::ToolResult { id, outcome: ToolOutcome::Error(error_text), .. } => {
            vec![Chunk::ToolOutputError { tool_call_id: id, error_text }]
        }
        Part::Text { id: None, .. } | Part::Context { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{PartId, ToolCallId};
    use serde_json::json;

    #[test]
    fn a_rebuilt_turn_shows_its_committed_steps() {
        let call = ToolCallId("call_1".into());
        let messages = [
            HistoryMessage {
                role: Role::Assistant,
                parts: vec![
                    Part::Text { id: Some(PartId::nth(1)), text: "let me see".into() },
                    Part::ToolCall { id: call.clone(), name: "t".into(), input: json!({}) },
                ],
            },
            HistoryMessage {
                role: Role::Tool,
                parts: vec![Part::ToolResult { id: call, name: "t".into(), outcome: ToolOutcome::Output(json!(4)) }],
            },
        ];
        let open = fold_of_history(TurnId::generate(), &messages[..1]);
        assert!(open.in_step() && open.has_open_tools());
        let closed = fold_of_history(TurnId::generate(), &messages);
        assert!(!closed.in_step());
        assert_eq!(closed.steps_begun(), 1);
    }
}
