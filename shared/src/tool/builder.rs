//! Responses of the tools that build agents.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::JsonObject;

/// An agent that was made and not saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentPreview {
    /// The agent.
    pub agent_json: JsonObject,
    /// Its name.
    pub agent_name: String,
    /// What it does.
    pub description: String,
    /// How many nodes it has.
    pub node_count: u64,
    /// How many links it has.
    #[serde(default)]
    pub link_count: u64,
}

/// An agent that was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentSaved {
    /// Its graph.
    pub agent_id: String,
    /// Its name.
    pub agent_name: String,
    /// The library's entry.
    pub library_agent_id: String,
    /// Where it can be looked at.
    pub library_agent_link: String,
    /// Where it can be edited.
    pub agent_page_link: String,
}

/// The user must answer questions first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClarificationNeeded {
    /// The questions.
    #[serde(default)]
    pub questions: Vec<ClarifyingQuestion>,
}

/// A question to the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClarifyingQuestion {
    /// The question.
    pub question: String,
    /// What it is about, in a word.
    pub keyword: String,
    /// A possible answer.
    pub example: Option<String>,
}

/// A goal that could be reached, in place of one that could not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SuggestedGoal {
    /// The goal that could be reached.
    pub suggested_goal: String,
    /// Why the other one could not.
    #[serde(default)]
    pub reason: String,
    /// The other one.
    #[serde(default)]
    pub original_goal: String,
    /// What is wrong with it.
    #[serde(default)]
    pub goal_type: GoalProblem,
}

/// What is wrong with a goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GoalProblem {
    /// It says too little.
    #[default]
    Vague,
    /// Nothing here can reach it.
    Unachievable,
}

/// How agents are built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BuilderGuide {
    /// The guide, in Markdown.
    pub content: String,
}

/// Whether an agent is sound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ValidationResult {
    /// Is it?
    pub valid: bool,
    /// What is wrong.
    #[serde(default)]
    pub errors: Vec<String>,
    /// How much is wrong.
    #[serde(default)]
    pub error_count: u64,
}

/// An agent that was put right as far as possible.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FixResult {
    /// The agent.
    pub fixed_agent_json: JsonObject,
    /// What was put right.
    #[serde(default)]
    pub fixes_applied: Vec<String>,
    /// How much was put right.
    #[serde(default)]
    pub fix_count: u64,
    /// Is it sound now?
    #[serde(default)]
    pub valid_after_fix: bool,
    /// What is still wrong.
    #[serde(default)]
    pub remaining_errors: Vec<String>,
}
