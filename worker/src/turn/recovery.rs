//! Where an attempt begins: at the start, or where an earlier one was lost.
//!
//! PostgreSQL says which model calls are committed and how far their tool calls got; the stream
//! says what clients have seen. What clients have seen beyond the commits is taken back; what is
//! committed and was not seen is sent.

use std::sync::Arc;

use copilot_shared::chunk::Chunk;
use copilot_shared::fold::Fold;
use copilot_shared::message::ToolOutcome;
use copilot_shared::seal::{self, Taken};
use copilot_shared::store::{Claimed, PendingCall};
use copilot_shared::tool::{Repeat, ToolCallStatus};
use copilot_shared::turn::Turn;

use super::calls::Call;
use super::{Persistence, Stopped, TurnWriter};
use crate::running::Signals;
use crate::worker::Worker;

/// What an attempt goes on with.
pub(super) struct Recovered {
    /// Behind everything that clients have seen.
    pub(super) writer: TurnWriter,
    /// Calls of the last committed step that have no outcome yet.
    pub(super) open_calls: Vec<Call>,
}

pub(super) async fn recover(
    worker: &Arc<Worker>,
    claimed: &Claimed,
    signals: &Signals,
    persistence: &Persistence,
) -> Result<Recovered, Stopped> {
    let turn = &claimed.turn;
    let fold = if turn.attempt.0 == 1 { Fold::default() } else { seen(worker, turn, signals).await? };
    let steps = usize::try_from(claimed.steps).unwrap_or(0);
    let writer = TurnWriter::new(&worker.streams, &worker.store, turn, fold, signals);
    if !writer.state(Fold::has_started) {
        writer.send(Chunk::Start { message_id: turn.id });
    }
    if writer.state(Fold::steps_begun) > steps {
        writer.send_from_state(|fold| fold.retrying(turn.attempt));
        return Ok(Recovered { writer, open_calls: Vec::new() });
    }
    let mut open_calls = Vec::new();
    if steps > 0 && writer.in_step() {
        for call in persistence.calls_of_step(turn.id, claimed.steps).await? {
            if let Some(open) = reopen(worker, call, persistence, &writer).await? {
                open_calls.push(open);
            }
        }
    }
    Ok(Recovered { writer, open_calls })
}

/// What clients have seen, once the older attempts can write no more.
async fn seen(worker: &Worker, turn: &Turn, signals: &Signals) -> Result<Fold, Stopped> {
    let mut pause = std::time::Duration::from_millis(20);
    loop {
        match seal::take_stream(&worker.store, &worker.streams, turn).await {
            Ok(Taken::Taken(fold)) => return Ok(*fold),
            Ok(Taken::Refused(_)) => return Err(Stopped::Lost),
            Err(error) => {
                tracing::warn!(turn.id = %turn.id, error = &error as &dyn std::error::Error, "the stream could not be read; trying again");
            }
        }
        tokio::select! {
            () = signals.lost.cancelled() => return Err(Stopped::Lost),
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(std::time::Duration::from_secs(1)),
        }
    }
}

/// Sends an outcome that clients lack, or decides what becomes of a call without one.
async fn reopen(
    worker: &Worker,
    call: PendingCall,
    persistence: &Persistence,
    writer: &TurnWriter,
) -> Result<Option<Call>, Stopped> {
    if let Some(outcome) = &call.outcome {
        if !writer.state(|fold| fold.has_tool_output(&call.id)) {
            writer.send(Call::outcome_chunk(&call.id, outcome.clone()));
        }
        return Ok(None);
    }
    if may_be_made(call.status, worker.tools.repeat(&call.name)) {
        return Ok(Some(Call::from(call)));
    }
    let sentence =
        "The outcome is unknown: the process that made the call was lost. It may or may not have had its effect.";
    let outcome = ToolOutcome::Error(sentence.to_owned());
    persistence.finish_call(&call, &outcome).await?;
    writer.send(Call::outcome_chunk(&call.id, outcome));
    Ok(None)
}

/// May a call without an outcome be made, after its worker was lost? One that was only asked for
/// has had no effect; one that was started may have had it.
fn may_be_made(status: ToolCallStatus, repeat: Repeat) -> bool {
    match status {
        ToolCallStatus::Requested => true,
        ToolCallStatus::Started => repeat == Repeat::Safe,
        ToolCallStatus::Finished => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_had_started_is_made_again_only_if_its_tool_says_that_it_may() {
        for repeat in [Repeat::Safe, Repeat::Never] {
            assert!(may_be_made(ToolCallStatus::Requested, repeat), "it never began");
            assert!(!may_be_made(ToolCallStatus::Finished, repeat));
        }
        assert!(may_be_made(ToolCallStatus::Started, Repeat::Safe));
        assert!(!may_be_made(ToolCallStatus::Started, Repeat::Never));
    }
}
