//! What the model is told.

use std::sync::Arc;

use copilot_shared::id::{SessionId, TurnId};
use copilot_shared::message::{HistoryMessage, Part, Role};
use copilot_shared::turn::Turn;

use super::{Persistence, Stopped};
use crate::model::ModelRequest;
use crate::worker::Worker;

/// Messages that are read back at most.
const HISTORY_LIMIT: i64 = 1_000;

/// Kept word for word stable, so that providers' caches hit.
const SYSTEM: &str = "You are Copilot, a helpful assistant. Answer in the language of the user, in Markdown, briefly \
    unless asked for detail. Use the tools that you are given when they get you a better answer than memory would, \
    and say plainly when something failed or when you do not know.";

/// The conversation, without what an aborted page load may have left at its beginning.
pub(super) async fn history(persistence: &Persistence, session: SessionId) -> Result<Vec<HistoryMessage>, Stopped> {
    let mut history = persistence.history(session, HISTORY_LIMIT).await?;
    // A cut through the middle of a turn would leave tool results without their calls.
    let asks = |message: &HistoryMessage| matches!(message.role, Role::User | Role::System);
    let start = history.iter().position(asks).unwrap_or(history.len());
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

/// The request of the next model call.
pub(super) fn request(worker: &Arc<Worker>, turn: &Turn, history: &[HistoryMessage]) -> ModelRequest {
    ModelRequest {
        model: worker.model_name.clone(),
        system: SYSTEM.to_owned(),
        messages: history.to_vec(),
        tools: worker.tools.specs(),
        max_output_tokens: None,
        user: turn.user_id.clone(),
    }
}
