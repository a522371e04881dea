//! What the model is told.

use std::sync::Arc;

use copilot_shared::id::TurnId;
use copilot_shared::message::{HistoryMessage, Part, Role, ToolOutcome};
use copilot_shared::tool::waits_for_user;
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

    /// Did the last step's tools ask the user something? Then the model has no more to say for now.
    pub(super) fn waits_for_user(&self) -> bool {
        let results = self.history.iter().rev().take_while(|message| message.role == Role::Tool);
        results.flat_map(|message| &message.parts).any(
            |part| matches!(part, Part::ToolResult { outcome: ToolOutcome::Output(output), .. } if waits_for_user(output)),
        )
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

#[cfg(test)]
mod tests {
    use super::*;
    use copilot_shared::id::ToolCallId;

    fn prompt(messages: &[(Role, &str)]) -> Prompt {
        let part = |role, text: &str| match role {
            Role::Tool => Part::ToolResult {
                id: ToolCallId::generate(),
                name: "t".into(),
                outcome: ToolOutcome::Output(format!("{{\"type\":\"{text}\"}}").into()),
            },
            _ => Part::Text { id: None, text: text.into() },
        };
        let history =
            messages.iter().map(|(role, text)| HistoryMessage { role: *role, parts: vec![part(*role, text)] });
        Prompt { system: "".into(), wants_suggestions: false, history: history.collect() }
    }

    #[test]
    fn a_question_to_the_user_waits_until_they_say_something() {
        const ASKED: (Role, &str) = (Role::Tool, "agent_builder_clarification_needed");
        let (user, called, other) = ((Role::User, "hello"), (Role::Assistant, ""), (Role::Tool, "web_fetch"));
        for waits in [vec![user, called, ASKED], vec![user, called, ASKED, other], vec![user, called, other, ASKED]] {
            assert!(prompt(&waits).waits_for_user(), "{waits:?}");
        }
        for goes_on in [vec![user], vec![user, called, other], vec![user, called, ASKED, user], vec![]] {
            assert!(!prompt(&goes_on).waits_for_user(), "{goes_on:?}");
        }
    }
}
