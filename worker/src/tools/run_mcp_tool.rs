//! `run_mcp_tool`: what MCP servers can do, and doing it (`usage-tools.md` §7.5).

use std::collections::BTreeMap;
use std::time::Duration;

use copilot_shared::store::McpServer;
use copilot_shared::tool::found::{McpToolOutput, McpToolsDiscovered};
use copilot_shared::tool::setup::{CredentialsNeed, Requirements, SetupInfo, SetupRequirements, UserReadiness};
use copilot_shared::tool::{JsonObject, Repeat, ToolAnswer, ToolResponse};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{Access, Resources, Tool, ToolContext, ToolFailure};
use crate::mcp::{McpConnection, McpError, McpResult};

/// Lists or calls tools of an MCP server.
pub(super) struct RunMcpTool;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct McpCall {
    /// The address of the MCP server, without query, for example https://mcp.example.com/mcp.
    #[schemars(length(max = 2000))]
    server_url: String,
    /// The tool to call. Left out: the tools that there are.
    tool_name: Option<String>,
    /// What to call it with, by the schema that was told with the tool.
    tool_arguments: Option<JsonObject>,
}

impl Tool for RunMcpTool {
    type Arguments = McpCall;
    const NAME: &'static str = "run_mcp_tool";
    const DESCRIPTION: &'static str = "Connects to an MCP server (streamable HTTP). Without tool_name it lists the \
        server's tools with the schemas of their arguments; with tool_name it calls one. List first, then call. \
        get_mcp_guide tells of known servers.";
    const ACCESS: Access = Access::SignedIn;
    const REPEAT: Repeat = Repeat::Never;
    const TIME_LIMIT: Duration = Duration::from_mins(1);

    async fn call(&self, context: &ToolContext, arguments: McpCall) -> Result<ToolAnswer, ToolFailure> {
        let server_url = arguments.server_url.trim().trim_end_matches('/').to_owned();
        if server_url.is_empty() {
            return Ok(ToolAnswer::error("missing_url", "Say which MCP server to connect to."));
        }
        let url = match context.resources.outbound.address(&arguments.server_url) {
            Ok(url) if url.query().is_some() || url.fragment().is_some() => {
                let message = "The address of an MCP server must have no query and no fragment.";
                return Ok(ToolAnswer::error("invalid_url", message));
            }
            Ok(url) => url,
            Err(blocked) => return Ok(ToolAnswer::error("url_blocked", blocked.to_string())),
        };
        let token = token(context, &McpServer::of(&server_url)).await?;
        let tool_name = arguments.tool_name.filter(|name| !name.trim().is_empty());
        let had_token = token.is_some();
        let connected = McpConnection::open(&context.resources.outbound, &url, token).await;
        let answer = match connected {
            Ok(server) => ask(server, &server_url, tool_name, arguments.tool_arguments).await,
            Err(error) => Err(error),
        };
        Ok(answer.unwrap_or_else(|error| match error {
            McpError::Unauthorized(_) if !had_token => setup(&url, &server_url),
            error => refused(&error),
        }))
    }
}

/// What the user proves himself with to the server, if he can.
async fn token(context: &ToolContext, server: &McpServer) -> Result<Option<String>, ToolFailure> {
    let Resources { store, secrets_key: Some(key), .. } = &context.resources else { return Ok(None) };
    let user = context.user()?;
    let Some(sealed) = store.mcp_token(user, server).await? else { return Ok(None) };
    match key.open(&sealed, &server.place(user)) {
        Ok(token) => Ok(Some(token)),
        // As good as none: the user can connect the server again.
        Err(error) => {
            tracing::warn!(%error, server = server.as_str(), "a token for an MCP server cannot be opened");
            Ok(None)
        }
    }
}

async fn ask(
    server: McpConnection,
    server_url: &str,
    tool_name: Option<String>,
    arguments: Option<JsonObject>,
) -> Result<ToolAnswer, McpError> {
    let server_url = server_url.to_owned();
    let answer = match tool_name {
        None => server.tools().await.map(|tools| {
            let message = format!("{server_url} has {} tools.", tools.len());
            ToolAnswer::new(message, ToolResponse::McpToolsDiscovered(McpToolsDiscovered { server_url, tools }))
        }),
        Some(tool_name) => server.call(&tool_name, arguments).await.map(|result| output(server_url, tool_name, result)),
    };
    server.close().await;
    answer
}

fn output(server_url: String, tool_name: String, result: McpResult) -> ToolAnswer {
    if result.is_error {
        let words = match result.value {
            Value::String(words) => words,
            value => value.to_string(),
        };
        return ToolAnswer::error("mcp_tool_error", format!("{tool_name} failed: {words}"));
    }
    let message = format!("{tool_name} of {server_url} has answered.");
    let output = McpToolOutput { server_url, tool_name, result: result.value, success: true };
    ToolAnswer::new(message, ToolResponse::McpToolOutput(output))
}

fn refused(error: &McpError) -> ToolAnswer {
    let code = match error {
        McpError::Blocked(_) => "url_blocked",
        McpError::Http(_) | McpError::Unauthorized(_) => "mcp_http_error",
        McpError::Server(_) => "mcp_error",
        McpError::Transport => "mcp_unreachable",
    };
    ToolAnswer::error(code, error.to_string())
}

/// The user must connect the server first.
fn setup(url: &Url, server_url: &str) -> ToolAnswer {
    let host = url.host_str().unwrap_or_default();
    let name = host.strip_prefix("mcp.").unwrap_or(host).to_owned();
    let need = CredentialsNeed {
        id: "mcp_credentials".into(),
        title: format!("Credentials for {name}"),
        provider: "mcp".into(),
        provider_name: Some(name.clone()),
        r#type: Some("oauth2".into()),
        types: vec!["oauth2".into()],
        scopes: Vec::new(),
    };
    let message = format!("{name} wants to know who asks. Connect it first, then try again.");
    let readiness = UserReadiness {
        missing_credentials: BTreeMap::from([(need.id.clone(), need.clone())]),
        ..UserReadiness::default()
    };
    let info = SetupInfo {
        agent_id: server_url.to_owned(),
        agent_name: name,
        requirements: Requirements {
            credentials: vec![need],
            inputs: Vec::new(),
            execution_modes: vec!["immediate".into()],
        },
        user_readiness: readiness,
    };
    let response = SetupRequirements { setup_info: info, graph_id: None, graph_version: None };
    ToolAnswer::new(message, ToolResponse::SetupRequirements(response))
}

#[cfg(test)]
mod tests;
