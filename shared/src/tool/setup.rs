//! The response that asks the user for credentials and inputs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something must be set up first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SetupRequirements {
    /// What is missing.
    pub setup_info: SetupInfo,
    /// The graph.
    pub graph_id: Option<String>,
    /// Its version.
    pub graph_version: Option<i32>,
}

/// What must be set up, and how far the user is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SetupInfo {
    /// The agent, block, server or provider.
    pub agent_id: String,
    /// Its name.
    pub agent_name: String,
    /// What it wants.
    pub requirements: Requirements,
    /// How far the user is.
    #[serde(default)]
    pub user_readiness: UserReadiness,
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SetupNeeds")]
pub struct Requirements {
    /// Credentials.
    pub credentials: Vec<CredentialsNeed>,
    /// Inputs.
    pub inputs: Vec<InputNeed>,
    /// How it can be run.
    pub execution_modes: Vec<String>,
}

/// A credential that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CredentialsNeed {
    /// What it is called among the inputs.
    pub id: String,
    /// For people.
    pub title: String,
    /// What it is for.
    pub provider: String,
    /// That, for people; left out where an integration is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_name: Option<String>,
    /// The first of `types`; left out where an integration is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    /// How it may prove itself, sorted.
    pub types: Vec<String>,
    /// What it must allow, sorted.
    pub scopes: Vec<String>,
}

/// An input that is wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InputNeed {
    /// Its name.
    pub name: String,
    /// For people.
    pub title: String,
    /// Its type.
    pub r#type: String,
    /// What it is.
    pub description: String,
    /// Must it be given?
    pub required: bool,
    /// What it is if it is not given.
    pub default: Option<Value>,
}

/// How far the user is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct UserReadiness {
    /// Is every credential there?
    pub has_all_credentials: bool,
    /// Those that are not, by the input that takes them.
    pub missing_credentials: BTreeMap<String, CredentialsNeed>,
    /// Can it run?
    pub ready_to_run: bool,
}
