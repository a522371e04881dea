//! The tool calls of a step: recorded before they start and after they end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use copilot_shared::analytics::Event;
use copilot_shared::chunk::Chunk;
use copilot_shared::id::ToolCallId;
use copilot_shared::message::{ToolOutcome, strip_controls, strip_controls_in};
use copilot_shared::store::PendingCall;
use copilot_shared::tool::{Concurrency, ToolCallStatus};
use copilot_shared::turn::Turn;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::step::parse_arguments;
use super::{Persistence, Stopped, TurnWriter};
use crate::running::Signals;
use crate::tools::{Breaker, CallEnd, Outlet, Preliminary, ToolContext, Toolbox};
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

    /// Does it lack every argument that its tool needs?
    pub(super) fn lacks_arguments(&self, tools: &Toolbox) -> bool {
        tools.lacks_arguments(&self.name, &self.input)
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

/// Calls that run side by side at most; a model that asks for more has them made in turns.
const MAX_PARALLEL: usize = 16;

/// Shown answers of one call are at least this far apart, and further after a long one: each stays in
/// the stream, whole.
const SHOW_EVERY: Duration = Duration::from_millis(200);
const SHOWN_BYTES_A_SECOND: u32 = 8_192;

/// What runs the calls of a step.
pub(super) struct Runner<'a> {
    pub(super) worker: &'a Arc<Worker>,
    pub(super) turn: &'a Turn,
    pub(super) persistence: &'a Persistence,
    pub(super) writer: &'a mut TurnWriter,
    pub(super) signals: &'a Signals,
    pub(super) breaker: &'a mut Breaker,
}

impl Runner<'_> {
    /// Runs calls in the model's order: neighbours that may, side by side. False if the user stopped
    /// them; what runs then is dropped, and with it whatever it had started.
    pub(super) async fn run(mut self, calls: Vec<Call>) -> Result<bool, Stopped> {
        let tools = &self.worker.tools;
        for group in groups(calls, |call| tools.concurrency(&call.name)) {
            let ids: Vec<ToolCallId> = group.iter().map(|call| call.id.clone()).collect();
            self.persistence.start_calls(&ids).await?;
            if !self.run_group(group).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn run_group(&mut self, group: Vec<Call>) -> Result<bool, Stopped> {
        let (outlet, mut shown) = Outlet::channel();
        let mut open: HashMap<ToolCallId, Option<Instant>> = group.iter().map(|call| (call.id.clone(), None)).collect();
        // Tasks, which go on while an outcome is recorded: a call that stands still in the middle
        // of a transaction would keep the connection that the record waits for.
        let mut running = JoinSet::new();
        for call in group {
            let refusal = self.breaker.refusal(&call.name, &call.input).map(CallEnd::Failed);
            let context = self.context(&call, outlet.clone());
            if refusal.is_none() {
                tell_of_call(self.worker, &context, &call);
            }
            let span = tracing::info_span!("tool_call", tool = %call.name, call.id = %call.id);
            running.spawn(make(Arc::clone(self.worker), call, context, refusal).instrument(span));
        }
        loop {
            let done = tokio::select! {
                biased;
                () = self.signals.lost.cancelled() => {
                    running.shutdown().await;
                    return Err(Stopped::Lost);
                }
                () = self.signals.cancel.cancelled() => {
                    // The turn has ended only when its tools have.
                    running.shutdown().await;
                    return Ok(false);
                }
                Some(preliminary) = shown.recv() => {
                    self.show(preliminary, &mut open);
                    self.writer.room().await?;
                    continue;
                }
                done = running.join_next() => done,
            };
            let Some(done) = done else { return Ok(true) };
            let Made { call, failed, outcome } = done.map_err(|error| Stopped::Broken(Box::new(error)))?;
            open.remove(&call.id);
            if failed {
                self.breaker.failed(&call.name, &call.input);
            } else {
                self.breaker.succeeded(&call.name);
            }
            let outcome = storable(outcome);
            // Recorded first: after a crash in between, the next attempt sends what clients lack.
            self.persistence.finish_call(&call.pending(), &outcome).await?;
            self.writer.send(Call::outcome_chunk(&call.id, outcome));
        }
    }

    fn context(&self, call: &Call, outlet: Outlet) -> ToolContext {
        ToolContext {
            turn_id: self.turn.id,
            attempt: self.turn.attempt,
            session_id: self.turn.session_id,
            user_id: self.turn.user_id.clone(),
            call_id: call.id.clone(),
            stop: CancellationToken::new(),
            resources: self.worker.resources.clone(),
            outlet,
        }
    }

    /// Shows what a call has so far, unless its outcome has been sent.
    fn show(&self, preliminary: Preliminary, open: &mut HashMap<ToolCallId, Option<Instant>>) {
        let Some(next) = open.get_mut(&preliminary.call) else { return };
        if next.is_some_and(|next| Instant::now() < next) {
            return;
        }
        let text = preliminary.text();
        *next = Some(Instant::now() + pause_after(text.len()));
        let output = strip_controls_in(Value::String(text));
        self.writer.send(Chunk::ToolOutputAvailable {
            tool_call_id: preliminary.call,
            output,
            preliminary: Some(true),
        });
    }
}

fn pause_after(bytes: usize) -> Duration {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    SHOW_EVERY.max(Duration::from_secs(1) * bytes / SHOWN_BYTES_A_SECOND)
}

/// Calls that run together. One that runs alone may build on those before it, such as a file that
/// they put there, and those after it on what it did.
fn groups<T>(calls: Vec<T>, concurrency: impl Fn(&T) -> Concurrency) -> Vec<Vec<T>> {
    let mut groups: Vec<(Concurrency, Vec<T>)> = Vec::new();
    for call in calls {
        let kind = concurrency(&call);
        match groups.last_mut() {
            Some((Concurrency::Parallel, group)) if kind == Concurrency::Parallel && group.len() < MAX_PARALLEL => {
                group.push(call);
            }
            _ => groups.push((kind, vec![call])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// What a call came to.
struct Made {
    call: Call,
    failed: bool,
    outcome: ToolOutcome,
}

async fn make(worker: Arc<Worker>, call: Call, context: ToolContext, refusal: Option<CallEnd>) -> Made {
    let end = match refusal {
        Some(refusal) => refusal,
        None => worker.tools.call(&call.name, context.clone(), call.input.clone()).await,
    };
    let failed = end.has_failed();
    let outcome = end.outcome(&context).await;
    Made { call, failed, outcome }
}

/// A name that no tool has is a text of the model's, and told to nobody.
fn tell_of_call(worker: &Worker, context: &ToolContext, call: &Call) {
    if worker.tools.has(&call.name) {
        let event = Event::ToolCalled { tool_name: call.name.clone(), tool_call_id: call.id.clone() };
        worker.analytics.capture(context.session_id, context.user_id.as_ref(), event);
    }
}

/// PostgreSQL refuses NUL, wherever it stands.
fn storable(outcome: ToolOutcome) -> ToolOutcome {
    match outcome {
        ToolOutcome::Output(value) => ToolOutcome::Output(strip_controls_in(value)),
        ToolOutcome::Error(text) => ToolOutcome::Error(strip_controls(&text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grouped(calls: &[Concurrency]) -> Vec<Vec<usize>> {
        groups((0..calls.len()).collect(), |call| calls[*call])
    }

    #[test]
    fn what_a_command_shows_is_bounded_over_time() {
        assert_eq!(pause_after(0), SHOW_EVERY);
        assert_eq!(pause_after(1_000), SHOW_EVERY);
        assert_eq!(pause_after(40_960), Duration::from_secs(5));
    }

    #[test]
    fn one_that_runs_alone_waits_for_those_before_it_and_is_waited_for() {
        use Concurrency::{Alone, Parallel};
        assert_eq!(grouped(&[Parallel, Parallel, Alone, Parallel]), [vec![0, 1], vec![2], vec![3]]);
        assert_eq!(grouped(&[Alone, Alone]), [[0], [1]]);
        assert_eq!(grouped(&[Parallel; MAX_PARALLEL + 1]).iter().map(Vec::len).collect::<Vec<_>>(), [MAX_PARALLEL, 1]);
        assert!(grouped(&[]).is_empty());
    }
}
