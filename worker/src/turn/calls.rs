//! The tool calls of a step: recorded before they start and after they end.

use std::sync::Arc;

use copilot_shared::chunk::Chunk;
use copilot_shared::id::ToolCallId;
use copilot_shared::message::{ToolOutcome, strip_controls, strip_controls_in};
use copilot_shared::store::PendingCall;
use copilot_shared::tool::{Concurrency, ToolCallStatus};
use copilot_shared::turn::Turn;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::Value;
use tracing::Instrument;

use super::step::parse_arguments;
use super::{Persistence, Stopped, TurnWriter};
use crate::running::Signals;
use crate::tools::ToolContext;
use crate::worker::Worker;

/// A call that is to be made.
#[derive(Debug, Clone)]
pub(super) struct Call {
    id: ToolCallId,
    name: String,
    input: Value,
}

impl From<PendingCall> for Call {
    fn from(call: PendingCall) -> Self {
        Self { id: call.id, name: call.name, input: call.input }
    }
}

impl Call {
    /// A call as the model asked for it.
    pub(super) fn parsed(id: ToolCallId, name: String, arguments: &str) -> Self {
        Self { id, name, input: parse_arguments(arguments) }
    }

    /// The chunk that shows its arguments.
    pub(super) fn input_chunk(&self) -> Chunk {
        Chunk::ToolInputAvailable {
            tool_call_id: self.id.clone(),
            tool_name: self.name.clone(),
            input: self.input.clone(),
            provider_executed: true,
        }
    }

    /// The chunk that shows its outcome.
    pub(super) fn outcome_chunk(id: &ToolCallId, outcome: ToolOutcome) -> Chunk {
        match outcome {
            ToolOutcome::Output(output) => {
                Chunk::ToolOutputAvailable { tool_call_id: id.clone(), output, preliminary: None }
            }
            ToolOutcome::Error(error_text) => Chunk::ToolOutputError { tool_call_id: id.clone(), error_text },
        }
    }

    fn pending(&self) -> PendingCall {
        PendingCall {
            id: self.id.clone(),
            name: self.name.clone(),
            input: self.input.clone(),
            status: ToolCallStatus::Started,
            outcome: None,
        }
    }
}

/// Runs calls: those that may, side by side, the others one by one after them. False if the user
/// stopped them; what runs then is dropped, and with it whatever it had started.
pub(super) async fn run(
    worker: &Arc<Worker>,
    turn: &Turn,
    persistence: &Persistence,
    writer: &mut TurnWriter,
    signals: &Signals,
    calls: Vec<Call>,
) -> Result<bool, Stopped> {
    let context = ToolContext { session_id: turn.session_id, user_id: turn.user_id.clone() };
    let (parallel, alone): (Vec<Call>, Vec<Call>) = calls
        .into_iter()
        .partition(|call| worker.tools.find(&call.name).is_none_or(|tool| tool.concurrency() == Concurrency::Parallel));
    let groups = std::iter::once(parallel).chain(alone.into_iter().map(|call| vec![call]));
    for group in groups.filter(|group| !group.is_empty()) {
        let ids: Vec<ToolCallId> = group.iter().map(|call| call.id.clone()).collect();
        persistence.start_calls(&ids).await?;
        if !run_group(worker, &context, persistence, writer, signals, group).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn run_group(
    worker: &Arc<Worker>,
    context: &ToolContext,
    persistence: &Persistence,
    writer: &mut TurnWriter,
    signals: &Signals,
    group: Vec<Call>,
) -> Result<bool, Stopped> {
    let mut running: FuturesUnordered<_> = group
        .into_iter()
        .map(|call| async move {
            let span = tracing::info_span!("tool_call", tool = %call.name, call.id = %call.id);
            let outcome = worker.tools.call(&call.name, context.clone(), call.input.clone()).instrument(span).await;
            (call, outcome)
        })
        .collect();
    loop {
        let (call, outcome) = tokio::select! {
            biased;
            () = signals.lost.cancelled() => return Err(Stopped::Lost),
            () = signals.cancel.cancelled() => return Ok(false),
            done = running.next() => match done {
                Some(done) => done,
                None => return Ok(true),
            },
        };
        let outcome = storable(outcome);
        // Recorded first: after a crash in between, the next attempt sends what clients lack.
        persistence.finish_call(&call.pending(), &outcome).await?;
        writer.send(Call::outcome_chunk(&call.id, outcome));
    }
}

/// PostgreSQL refuses NUL, wherever it stands.
fn storable(outcome: ToolOutcome) -> ToolOutcome {
    match outcome {
        ToolOutcome::Output(value) => ToolOutcome::Output(strip_controls_in(value)),
        ToolOutcome::Error(text) => ToolOutcome::Error(strip_controls(&text)),
    }
}
