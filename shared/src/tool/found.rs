//! Responses of the tools that look things up: documentation, pages, servers, wishes of others.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::JsonObject;

/// Pages of the documentation that fit a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DocSearchResults {
    /// The pages.
    pub results: Vec<DocSearchResult>,
    /// How many there are in `results`.
    pub count: u64,
    /// What was searched for.
    pub query: String,
}

/// A page that fits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DocSearchResult {
    /// Its title.
    pub title: String,
    /// Where it is, as `get_doc_page` takes it.
    pub path: String,
    /// The section that fits.
    pub section: String,
    /// Its beginning.
    pub snippet: String,
    /// How well it fits, to three places.
    pub score: f64,
    /// Where people read it.
    pub doc_url: Option<String>,
}

/// A page of the documentation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DocPage {
    /// Its title.
    pub title: String,
    /// Where it is.
    pub path: String,
    /// The page, in Markdown.
    pub content: String,
    /// Where people read it.
    pub doc_url: Option<String>,
}

/// The tools of an MCP server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct McpToolsDiscovered {
    /// The server.
    pub server_url: String,
    /// Its tools.
    pub tools: Vec<McpTool>,
}

/// A tool of an MCP server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "MCPToolInfo")]
pub struct McpTool {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON Schema of its arguments.
    pub input_schema: JsonObject,
}

/// What a tool of an MCP server answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct McpToolOutput {
    /// The server.
    pub server_url: String,
    /// The tool.
    pub tool_name: String,
    /// The answer.
    pub result: Value,
    /// Did it do what it should?
    pub success: bool,
}

/// How MCP servers are used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct McpGuide {
    /// The guide, in Markdown.
    pub content: String,
}

/// A page of the web.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebPage {
    /// Its address.
    pub url: String,
    /// The status of the answer.
    pub status_code: u16,
    /// Its type.
    pub content_type: String,
    /// What it says.
    pub content: String,
    /// Was it cut?
    #[serde(default)]
    pub truncated: bool,
}

/// Features that others asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FeatureRequestSearch {
    /// The requests.
    pub results: Vec<FeatureRequest>,
    /// How many there are in `results`.
    pub count: u64,
    /// What was searched for.
    pub query: String,
}

/// A feature that somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "FeatureRequestInfo")]
pub struct FeatureRequest {
    /// Its id.
    pub id: String,
    /// Its id for people.
    pub identifier: String,
    /// What is asked for.
    pub title: String,
}

/// A feature was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FeatureRequestCreated {
    /// The request.
    pub issue_id: String,
    /// Its id for people.
    pub issue_identifier: String,
    /// What is asked for.
    pub issue_title: String,
    /// Where it can be followed.
    pub issue_url: String,
    /// Nobody had asked for it before.
    pub is_new_issue: bool,
    /// On whose behalf.
    pub customer_name: String,
}
