//! Responses about agents: found, described, run, built.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{JsonObject, OutputsByName};

/// Agents that fit a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentsFound {
    /// A heading for the list.
    pub title: String,
    /// The agents.
    pub agents: Vec<AgentInfo>,
    /// How many there are in `agents`.
    pub count: u64,
    /// Always `agents_found`.
    pub name: String,
}

impl AgentsFound {
    /// The agents under a heading.
    pub fn new(title: impl Into<String>, agents: Vec<AgentInfo>) -> Self {
        let count = u64::try_from(agents.len()).unwrap_or(u64::MAX);
        Self { title: title.into(), agents, count, name: "agents_found".into() }
    }
}

/// Where an agent was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentSource {
    /// Offered to everybody.
    Marketplace,
    /// The user's own.
    Library,
}

/// How an agent of the library fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum AgentHealth {
    /// Its last run is over.
    Completed,
    /// All is well.
    Healthy,
    /// It waits for something.
    Waiting,
    /// Its last run failed.
    Error,
}

/// An agent in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentInfo {
    /// Its id: of the library, or `creator/slug` of the marketplace.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// Where it was found.
    pub source: AgentSource,
    /// Is it in the user's library?
    #[serde(default)]
    pub in_library: bool,
    /// Who made it.
    pub creator: Option<String>,
    /// Its category.
    pub category: Option<String>,
    /// Its rating.
    pub rating: Option<f64>,
    /// How often it was run.
    pub runs: Option<i64>,
    /// Is it recommended?
    pub is_featured: Option<bool>,
    /// How it fares.
    pub status: Option<AgentHealth>,
    /// May the user see what it is made of?
    pub can_access_graph: Option<bool>,
    /// Is it started from outside?
    pub has_external_trigger: Option<bool>,
    /// Has it an output that the user has not seen?
    pub new_output: Option<bool>,
    /// Its graph.
    pub graph_id: Option<String>,
    /// The version of its graph.
    pub graph_version: Option<i32>,
    /// JSON Schema of its inputs.
    pub input_schema: Option<JsonObject>,
    /// JSON Schema of its outputs.
    pub output_schema: Option<JsonObject>,
    /// Its inputs.
    pub inputs: Option<JsonObject>,
}

/// An agent cannot run yet: this is what it wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentDetailsShown {
    /// The agent.
    pub agent: AgentDetails,
    /// Is the caller signed in?
    #[serde(default)]
    pub user_authenticated: bool,
    /// Its graph.
    pub graph_id: Option<String>,
    /// The version of its graph.
    pub graph_version: Option<i32>,
}

/// What an agent wants and how it can be run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentDetails {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// Is it in the user's library?
    #[serde(default)]
    pub in_library: bool,
    /// JSON Schema of its inputs.
    #[serde(default)]
    pub inputs: JsonObject,
    /// The credentials that it uses.
    #[serde(default)]
    pub credentials: Vec<CredentialsMeta>,
    /// How it can be run.
    #[serde(default)]
    pub execution_options: ExecutionOptions,
    /// What starts it from outside.
    pub trigger_info: Option<TriggerInfo>,
}

/// How an agent can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionOptions {
    /// When somebody asks for it.
    pub manual: bool,
    /// By the clock.
    pub scheduled: bool,
    /// From outside.
    pub webhook: bool,
}

impl Default for ExecutionOptions {
    fn default() -> Self {
        Self { manual: true, scheduled: true, webhook: false }
    }
}

/// What starts an agent from outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TriggerInfo {
    /// Who calls.
    pub provider: String,
    /// JSON Schema of the trigger's settings.
    pub config_schema: JsonObject,
    /// The input that takes the credentials.
    pub credentials_input_name: Option<String>,
}

/// How a credential proves itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CredentialsKind {
    /// A key.
    #[serde(rename = "api_key")]
    ApiKey,
    /// OAuth 2.
    #[serde(rename = "oauth2")]
    OAuth2,
    /// Name and password.
    #[serde(rename = "user_password")]
    UserPassword,
    /// Headers for one host.
    #[serde(rename = "host_scoped")]
    HostScoped,
}

/// A stored credential, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CredentialsMeta {
    /// Its id.
    pub id: String,
    /// What its user calls it.
    pub title: Option<String>,
    /// What it is for.
    pub provider: String,
    /// How it proves itself.
    pub r#type: CredentialsKind,
}

/// A run has begun, or is scheduled, or is still under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionStarted {
    /// The run.
    pub execution_id: String,
    /// What runs.
    pub graph_id: String,
    /// Its name.
    pub graph_name: String,
    /// The library's entry.
    pub library_agent_id: Option<String>,
    /// Where it can be looked at.
    pub library_agent_link: Option<String>,
    /// How far it is.
    pub status: ExecutionStatus,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ExecutionStatus {
    /// Not all of it is known.
    Incomplete,
    /// It waits.
    Queued,
    /// It runs.
    Running,
    /// It is over.
    Completed,
    /// It was stopped.
    Terminated,
    /// It broke.
    Failed,
    /// A person must look at it.
    Review,
}

/// Inputs that do not fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InputValidationError {
    /// Inputs that there are not.
    pub unrecognized_fields: Vec<String>,
    /// JSON Schema of the inputs that there are.
    pub inputs: JsonObject,
    /// The graph.
    pub graph_id: Option<String>,
    /// Its version.
    pub graph_version: Option<i32>,
}

/// What an agent put out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentOutput {
    /// Its name.
    pub agent_name: String,
    /// Its graph.
    pub agent_id: String,
    /// The library's entry.
    pub library_agent_id: Option<String>,
    /// Where it can be looked at.
    pub library_agent_link: Option<String>,
    /// The run in full.
    pub execution: Option<ExecutionOutput>,
    /// The newest runs, at most five.
    pub available_executions: Option<Vec<ExecutionSummary>>,
    /// How many runs there are.
    #[serde(default)]
    pub total_executions: u64,
}

/// A run in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionSummary {
    /// The run.
    pub id: String,
    /// How far it is.
    pub status: ExecutionStatus,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
}

/// A run in full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ExecutionOutputInfo")]
pub struct ExecutionOutput {
    /// The run.
    pub execution_id: String,
    /// How far it is.
    pub status: ExecutionStatus,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// What each output has put out.
    pub outputs: OutputsByName,
    /// What it was given.
    pub inputs_summary: Option<JsonObject>,
    /// What each node did.
    pub node_executions: Option<Vec<NodeExecution>>,
}

/// What one node of a run did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeExecution {
    /// The node.
    pub node_id: String,
    /// Its block.
    pub block_id: String,
    /// How far it is.
    pub status: ExecutionStatus,
    /// What it was given.
    pub input_data: Value,
    /// What it put out.
    pub output_data: Value,
    /// When it began.
    pub start_time: Option<DateTime<Utc>>,
    /// When it ended.
    pub end_time: Option<DateTime<Utc>>,
}
