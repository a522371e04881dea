//! `suggest_goal`: offers a goal that can be reached in place of one that cannot. The turn ends
//! with it and waits for what the user thinks of it.

use copilot_shared::tool::builder::{GoalProblem, SuggestedGoal};
use copilot_shared::tool::{Repeat, ToolAnswer, ToolResponse};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Access, Tool, ToolContext, ToolFailure};

/// Offers another goal.
pub(super) struct SuggestGoal;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Arguments {
    /// The goal that you can reach.
    #[schemars(length(min = 1, max = 2000))]
    suggested_goal: String,
    /// Why the user's own goal cannot be taken as it is.
    #[schemars(length(max = 2000))]
    #[serde(default)]
    reason: String,
    /// The user's own goal.
    #[schemars(length(max = 2000))]
    #[serde(default)]
    original_goal: String,
    /// What is wrong with it: vague says too little, unachievable cannot be reached here.
    #[serde(default)]
    goal_type: GoalProblem,
}

impl Tool for SuggestGoal {
    type Arguments = Arguments;
    const NAME: &'static str = "suggest_goal";
    const DESCRIPTION: &'static str = "Offers the user a goal that you can reach when theirs is too vague or cannot be \
        reached with your tools, and waits for what they say. Say nothing after it.";
    const ACCESS: Access = Access::Open;
    const REPEAT: Repeat = Repeat::Safe;

    async fn call(&self, _: &ToolContext, arguments: Arguments) -> Result<ToolAnswer, ToolFailure> {
        let suggested_goal = arguments.suggested_goal.trim().to_owned();
        if suggested_goal.is_empty() {
            return Ok(ToolAnswer::error("missing_goal", "Say which goal you suggest."));
        }
        let message = match arguments.goal_type {
            GoalProblem::Vague => format!("A clearer goal could be: {suggested_goal}"),
            GoalProblem::Unachievable => format!("What can be reached instead: {suggested_goal}"),
        };
        let goal = SuggestedGoal {
            suggested_goal,
            reason: arguments.reason.trim().to_owned(),
            original_goal: arguments.original_goal.trim().to_owned(),
            goal_type: arguments.goal_type,
        };
        Ok(ToolAnswer::new(message, ToolResponse::SuggestedGoal(goal)))
    }
}
