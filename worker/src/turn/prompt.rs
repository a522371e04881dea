//! What the model is told.

use std::sync::Arc;

use copilot_shared::id::TurnId;
use copilot_shared::message::{HistoryMessage, Part, Role};
use copilot_shared::turn::Turn;
use copilot_shared::understanding::Understanding;

use super::{Persistence, Stopped};
use crate::model::ModelRequest;
use crate::model::files::AttachedFiles;
use crate::worker::Worker;

mod system;

pub(super) use system::notes;

/// Messages that are read back at most.
pub(super) const HISTORY_LIMIT: i64 = 1_000;

/// What the model is told in an attempt; it grows with each step.
pub(super) struct Prompt {
    /// What stands before the conversation, for the whole attempt: what is known of the user is
    /// read once, and what a tool notes meanwhile is told from the next turn on.
    system: Arc<str>,
    /// Prompts could be suggested to the user.
    pub(super) wants_suggestions: bool,
    /// The conversation.
    pub(super) history: Vec<HistoryMessage>,
}

impl Prompt {
    pub(super) async fn read(persistence: &Persistence, turn: &Turn) -> Result<Self, Stopped> {
        let known = match &turn.user_id {
            Some(user) => persistence.understanding(user).await?,
            None => Understanding::default(),
        };
        let wants_suggestions = known.wants_suggestions();
        let mut prompt = Self { system: system::system(&known).into(), wants_suggestions, history: Vec::new() };
        prompt.read_history_again(persistence, turn).await?;
        Ok(prompt)
    }

    /// Reads the conversation, without what an aborted page load may have left at its beginning.
    pub(super) async fn read_history_again(&mut self, persistence: &Persistence, turn: &Turn) -> Result<(), Stopped> {
        let mut history = persistence.history(turn.session_id, HISTORY_LIMIT).await?;
        // A cut through the middle of a turn would leave tool results without their calls.
        let begins = |message: &HistoryMessage| matches!(message.role, Role::User | Role::System);
        let start = history.iter().position(begins).unwrap_or(history.len());
        history.drain(..start);
        self.history = history;
        Ok(())
    }

    /// Adds what a committed step said.
    pub(super) fn remember_step(&mut self, parts: &[Part]) {
        self.history.push(HistoryMessage { role: Role::Assistant, parts: parts.to_vec() });
    }

    /// Adds the results of a committed step's calls, in the model's order.
    pub(super) async fn remember_results(
        &mut self,
        persistence: &Persistence,
        turn: TurnId,
        step: i32,
    ) -> Result<(), Stopped> {
        for call in persistence.calls_of_step(turn, step).await? {
            if let Some(outcome) = call.outcome {
                let result = Part::ToolResult { id: call.id, name: call.name, outcome };
                self.history.push(HistoryMessage { role: Role::Tool, parts: vec![result] });
            }
        }
        Ok(())
    }

    /// Bytes of a request beside its messages.
    pub(super) fn overhead(&self, worker: &Worker) -> usize {
        let tools = worker.tools.specs();
        let told = tools.iter().map(|tool| tool.description.len() + tool.parameters.to_string().len());
        self.system.len() + told.sum::<usize>()
    }

    /// The request of the next model call.
    pub(super) fn request(&self, worker: &Worker, turn: &Turn, files: AttachedFiles) -> ModelRequest {
        ModelRequest {
            model: worker.model_name.clone(),
            system: self.system.as_ref().to_owned(),
            messages: self.history.clone(),
            files: Arc::new(files),
            tools: worker.tools.specs(),
            max_output_tokens: None,
            user: turn.user_id.clone(),
        }
    }
}
