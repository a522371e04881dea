//! Ending a turn where no worker does: its row, then its settlement, then the last chunks of its stream.
//!
//! The row ends first. Whoever dies in between leaves an ended row with an unsealed stream, which
//! the reconciler finds; nobody ever leaves a sealed stream with a row in flight, or with a
//! reservation.

use chrono::Utc;

use crate::chunk::{Chunk, Frame};
use crate::compaction;
use crate::fold::Fold;
use crate::id::TurnId;
use crate::message::{HistoryMessage, Part, Role, ToolOutcome};
use crate::settlement::{SettlementError, settle_ended};
use crate::store::{Fenced, Seized, Store, StoreError};
use crate::stream::{Append, Appended, StreamError, Streams};
use crate::turn::{Turn, TurnEnd};
use crate::windows::Windows;

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

impl From<SettlementError> for SealError {
    fn from(error: SettlementError) -> Self {
        match error {
            SettlementError::Store(error) => Self::Store(error),
            SettlementError::Windows(error) => Self::Stream(error.into()),
        }
    }
}

/// A stream that is begun anew counts on from far behind the last committed chunk: nobody knows
/// how many followed it, and a cursor of the lost stream must never fit into the new one.
const LOST_STREAM_JUMP: u64 = 1_000_000;

/// Settles an ended turn and gives its stream its last chunk. True if that is there now. Whoever
/// finds it missing may call this: the row has ended, so nobody else writes.
pub async fn seal(store: &Store, streams: &Streams, turn: &Turn) -> Result<bool, SealError> {
    let Some(end) = TurnEnd::of(turn) else { return Ok(false) };
    match settle_ended(store, &Windows::over(streams), turn, Utc::now()).await {
        Err(error) if error.is_passing() => return Err(error.into()),
        // A stream need not stay open until somebody has put a user's counters right.
        Err(error) => {
            tracing::error!(turn.id = %turn.id, error = &error as &dyn std::error::Error, "an ended turn is not settled");
        }
        Ok(()) => {}
    }
    let mut turn = turn.clone();
    let sealed = loop {
        let fold = match take_stream(store, streams, &turn).await? {
            Taken::Taken(fold) => fold,
            // Somebody raised it to end the turn without its worker, and the worker was quicker.
            Taken::Refused(Appended::Fenced) => {
                turn.attempt = streams.meta(turn.id).await?.map_or(turn.attempt, |meta| meta.attempt);
                continue;
            }
            Taken::Refused(refused) => break refused == Appended::Closed,
        };
        let last = last_batch(store, &turn, &end, *fold).await?;
        match streams.append(&last).await? {
            Appended::Stored | Appended::Closed => break true,
            // Another sealer was quicker, or the stream was lost in between; look again.
            Appended::Gap(_) | Appended::Lost | Appended::Fenced => {}
        }
    };
    if sealed {
        store.note_sealed(&[turn.id]).await?;
    }
    Ok(sealed)
}

/// What a stream lacks behind `fold`: outcomes that were recorded and never sent, then its end.
async fn last_batch(store: &Store, turn: &Turn, end: &TurnEnd, mut fold: Fold) -> Result<Append, StoreError> {
    let last = fold.sequence;
    let mut chunks = Vec::new();
    if fold.has_open_tools() {
        let messages = store.turn_messages(turn.id).await?;
        let results = messages.iter().filter(|message| message.role == Role::Tool).flat_map(|message| &message.parts);
        for part in results {
            if let Part::ToolResult { id, .. } = part
                && fold.lacks_output(id)
            {
                chunks.extend(chunks_of(part));
            }
        }
        for chunk in &chunks {
            fold.apply(chunk.clone());
        }
    }
    chunks.extend(fold.ending(turn.id, end));
    let mut frames: Vec<Frame> = chunks.into_iter().map(|chunk| Frame::Chunk(None, chunk)).collect();
    if !turn.usage.is_zero() {
        frames.insert(frames.len().saturating_sub(1), Frame::Usage(turn.usage));
    }
    Ok(Append::of(turn.id, turn.attempt, last, &frames))
}

/// What became of taking over a stream.
#[derive(Debug)]
pub enum Taken {
    /// Only `turn`'s attempt can write to it now, and this is what clients have seen.
    Taken(Box<Fold>),
    /// It is another's, or has ended.
    Refused(Appended),
}

/// Fences older attempts off a turn's stream and reads what clients have seen. One that does not
/// reach as far as the row knows was lost: it is begun anew, as the history tells it. To be called
/// by the holder of the turn's newest attempt, or after its end.
pub async fn take_stream(store: &Store, streams: &Streams, turn: &Turn) -> Result<Taken, SealError> {
    let reaches = u64::try_from(turn.chunk_sequence).unwrap_or(0);
    loop {
        match streams.raise(turn.id, turn.attempt, reaches).await? {
            Appended::Stored => {
                let fold = streams.read_fold(turn.id).await?.unwrap_or_default();
                // Else it was lost between the two calls.
                if fold.sequence >= reaches {
                    return Ok(Taken::Taken(Box::new(fold)));
                }
            }
            Appended::Lost => {
                tracing::warn!(turn.id = %turn.id, "the stream was lost; beginning it anew from the history");
                let fold = rebuild(store, turn).await?;
                return Ok(match streams.begin_anew(turn.id, turn.attempt, &fold).await? {
                    Appended::Stored => Taken::Taken(Box::new(fold)),
                    refused => Taken::Refused(refused),
                });
            }
            refused => return Ok(Taken::Refused(refused)),
        }
    }
}

/// Ends a turn in place of its worker, and keeps what it wrote. The row is taken first, as by a
/// claim, so that the worker can commit nothing that is read here as unfinished.
/// `None` if the turn ended or was claimed meanwhile; else the turns that may run now.
pub async fn end_without_worker(
    store: &Store,
    streams: &Streams,
    turn: &Turn,
    end: &TurnEnd,
) -> Result<Option<Vec<TurnId>>, SealError> {
    let Some(Seized { mut turn, steps }) = unless_fenced(store.seize(turn).await)? else { return Ok(None) };
    let Taken::Taken(fold) = take_stream(store, streams, &turn).await? else { return Ok(None) };
    turn.chunk_sequence = i64::try_from(fold.sequence).unwrap_or(i64::MAX);
    // A step whose call was committed is in the history already.
    let committed = usize::try_from(steps).unwrap_or(usize::MAX);
    let unfinished = if fold.steps_begun() > committed { fold.open_step_parts() } else { Vec::new() };
    let Some((ended, next)) = unless_fenced(store.end_without_worker(&turn, end, &unfinished).await)? else {
        return Ok(None);
    };
    seal(store, streams, &ended).await?;
    Ok(Some(next))
}

fn unless_fenced<T>(result: Result<T, Fenced>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(Fenced::Fenced) => Ok(None),
        Err(Fenced::Store(error)) => Err(error),
    }
}

/// The state of a turn's stream as its committed messages tell it, for a stream that was lost.
async fn rebuild(store: &Store, turn: &Turn) -> Result<Fold, StoreError> {
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
        Part::Compaction { id } => vec![compaction::begun(&id), compaction::done(&id)],
        Part::Text { id: None, .. } | Part::Context { .. } | Part::File { .. } => Vec::new(),
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
