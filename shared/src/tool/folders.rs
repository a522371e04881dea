//! Responses about the folders of a user's library.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FolderInfo {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The folder that it lies in.
    pub parent_id: Option<String>,
    /// Its icon.
    pub icon: Option<String>,
    /// Its colour.
    pub color: Option<String>,
    /// How many agents lie in it.
    #[serde(default)]
    pub agent_count: u64,
    /// How many folders lie in it.
    #[serde(default)]
    pub subfolder_count: u64,
    /// Its agents, if they were asked for.
    pub agents: Option<Vec<FolderAgent>>,
}

/// An agent in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FolderAgent {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it does.
    #[serde(default)]
    pub description: String,
}

/// A folder with what lies below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FolderTree {
    /// The folder.
    #[serde(flatten)]
    pub folder: FolderInfo,
    /// The folders in it.
    #[serde(default)]
    pub children: Vec<FolderTree>,
}

/// A folder as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FolderShown {
    /// The folder.
    pub folder: FolderInfo,
}

/// Folders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FolderList {
    /// The folders, side by side.
    pub folders: Vec<FolderInfo>,
    /// The folders, one in the other.
    pub tree: Option<Vec<FolderTree>>,
    /// Agents in no folder.
    pub root_agents: Option<Vec<FolderAgent>>,
    /// How many folders there are.
    #[serde(default)]
    pub count: u64,
}

/// A folder was moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FolderMoved {
    /// The folder.
    pub folder: FolderInfo,
    /// Where it lies now.
    pub target_parent_id: Option<String>,
}

/// A folder was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FolderDeleted {
    /// The folder.
    pub folder_id: String,
}

/// Agents were moved to a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentsMoved {
    /// The agents.
    pub agent_ids: Vec<String>,
    /// Their names.
    #[serde(default)]
    pub agent_names: Vec<String>,
    /// Where they lie now.
    pub folder_id: Option<String>,
    /// How many they are.
    #[serde(default)]
    pub count: u64,
}
