//! What the model is told.

use std::sync::Arc;

use copilot_shared::id::{SessionId, TurnId};
use copilot_shared::message::{HistoryMessage, Part, Role};
use copilot_shared::turn::Turn;
use copilot_shared::understanding::Understanding;

use super::{Persistence, Stopped};
use crate::model::ModelRequest;
use crate::worker::Worker;

mod system;

pub(super) use system::{notes, system};

/// Messages that are read back at most.
pub(super) const HISTORY_LIMIT: i64 = 1_000;

/// What is known of the turn's user. Read once an attempt: what a tool notes meanwhile is told from
/// the next turn on.
pub(super) async fn known(persistence: &Persistence, turn: &Turn) -> Result<Understanding, Stopped> {
    match &turn.user_id {
        Some(user) => persistence.understanding(user).await,
        None => Ok(Understanding::default()),
    }
}

/// The conversation, without what an aborted page load may have left at its beginning.
pub(super) async fn history(persistence: &Persistence, session: SessionId) -> Result<Vec<HistoryMessage>, Stopped> {
    let mut history = persistence.history(session, HISTORY_LIMIT).await?;
    // A cut through the middle of a turn would leave tool results without their calls.
    let start =
        history.iter().position(|message| matches!(message.role, Role::User | Role::System)).unwrap_or(history.len());
    history.drain(..start);
    Ok(history)
}

/// Adds what a committed step said.
pub(super) fn remember_step(history: &mut Vec<HistoryMessage>, parts: &[Part]) {
    history.push(HistoryMessage { role: Role::Assistant, parts: parts.to_vec() });
}

/// Adds the results of a committed step's calls, in the model's order.
pub(super) async fn remember_results(
    history: &mut Vec<HistoryMessage>,
    persistence: &Persistence,
    turn: TurnId,
    step: i32,
) -> Result<(), Stopped> {
    for call in persistence.calls_of_step(turn, step).await? {
        if let Some(outcome) = call.outcome {
            let result = Part::ToolResult { id: call.id, name: call.name, outcome };
            history.push(HistoryMessage { role: Role::Tool, parts: vec![result] });
        }
    }
    Ok(())
}

/// Bytes of a request beside its messages.
pub(super) fn overhead(worker: &Worker, system: &str) -> usize {
    let tools = worker.tools.specs();
    system.len() + tools.iter().map(|tool| tool.description.len() + tool.parameters.to_string().len()).sum::<usize>()
}

/// The request of the next model call.
pub(super) fn request(worker: &Arc<Worker>, turn: &Turn, system: &str, history: &[HistoryMessage]) -> ModelRequest {
    ModelRequest {
        model: worker.model_name.clone(),
        system: system.to_owned(),
        messages: history.to_vec(),
        tools: worker.tools.specs(),
        max_output_tokens: None,
        user: turn.user_id.clone(),
    }
}
