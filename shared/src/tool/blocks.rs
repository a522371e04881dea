//! Responses about blocks, the pieces that agents are made of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::agents::CredentialsMeta;
use super::{JsonObject, OutputsByName};

/// Blocks that fit a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BlockList {
    /// The blocks.
    pub blocks: Vec<BlockSummary>,
    /// How many there are in `blocks`.
    pub count: u64,
    /// What was searched for.
    pub query: String,
    /// How to go on.
    pub usage_hint: String,
}

/// A block in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "BlockInfoSummary")]
pub struct BlockSummary {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// What it belongs to.
    pub categories: Vec<String>,
    /// JSON Schema of its inputs.
    #[serde(default)]
    pub input_schema: JsonObject,
    /// JSON Schema of its outputs.
    #[serde(default)]
    pub output_schema: JsonObject,
    /// Does its output stay as it is?
    #[serde(default)]
    pub static_output: bool,
    /// The inputs that it needs.
    #[serde(default)]
    pub required_inputs: Vec<BlockInput>,
}

/// An input of a block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BlockInput {
    /// Its name.
    pub name: String,
    /// Its type.
    pub r#type: String,
    /// What it is.
    #[serde(default)]
    pub description: String,
    /// Must it be given?
    #[serde(default)]
    pub required: bool,
    /// What it is if it is not given.
    pub default: Option<Value>,
}

/// A block cannot run yet: this is what it wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BlockDetailsShown {
    /// The block.
    pub block: BlockDetails,
    /// Is the caller signed in?
    #[serde(default)]
    pub user_authenticated: bool,
}

/// What a block wants and gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BlockDetails {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON Schema of its inputs.
    #[serde(default)]
    pub inputs: JsonObject,
    /// JSON Schema of its outputs.
    #[serde(default)]
    pub outputs: JsonObject,
    /// The stored credentials that fit.
    #[serde(default)]
    pub credentials: Vec<CredentialsMeta>,
}

/// What a block put out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BlockOutput {
    /// The block.
    pub block_id: String,
    /// Its name.
    pub block_name: String,
    /// What each output has put out.
    pub outputs: OutputsByName,
    /// Did it do what it should?
    pub success: bool,
    /// Was it only played?
    #[serde(default)]
    pub is_dry_run: bool,
}

/// A person must approve before a block runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReviewRequired {
    /// The block.
    pub block_id: String,
    /// Its name.
    pub block_name: String,
    /// What is to be approved.
    pub review_id: String,
    /// The run that it belongs to.
    pub graph_exec_id: String,
    /// What the block would be given.
    pub input_data: JsonObject,
}
