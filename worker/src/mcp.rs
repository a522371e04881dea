//! A client of MCP servers that a model names: connect, list, call, leave. The protocol is the
//! official SDK's; its requests go out the same way as all that strangers name ([`crate::outbound`]).

use std::sync::Arc;

use copilot_shared::tool::JsonObject;
use copilot_shared::tool::found::McpTool;
use rmcp::model::{
    CallToolRequestParams, ClientCapabilities, ClientConfig, Implementation, PaginatedRequestParams, ProtocolVersion,
};
use rmcp::service::{RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::common::client_side_sse::NeverRetry;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{RoleClient, ServiceExt};
use serde_json::Value;
use url::Url;

use crate::outbound::{Blocked, Outbound};

mod http;
mod result;

use http::{Http, Refusals};

/// Tools of one server that are told at most.
const MAX_TOOLS: usize = 500;
/// Pages of tools that are asked for at most: a server can go on for ever.
const MAX_PAGES: usize = 50;

/// Why a server did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum McpError {
    /// Its address leads inside.
    #[error(transparent)]
    Blocked(Blocked),
    /// It wants to know who asks, or does not like the answer: 401 or 403.
    #[error("HTTP {0}: the MCP server does not accept the credentials.")]
    Unauthorized(u16),
    /// It answered with another status.
    #[error("HTTP {0}: the MCP server refused the request.")]
    Http(u16),
    /// It said no, in its own words.
    #[error("The MCP server answered with an error: {0}")]
    Server(String),
    /// It cannot be reached, or does not speak MCP.
    #[error("The MCP server could not be reached, or does not speak MCP over streamable HTTP.")]
    Transport,
}

/// What a tool of a server answered.
#[derive(Debug, Clone, PartialEq)]
pub struct McpResult {
    /// Its content, unwrapped.
    pub value: Value,
    /// The tool says that it failed.
    pub is_error: bool,
}

/// A connection to a server. Dropping it ends it.
pub struct McpConnection {
    service: RunningService<RoleClient, ClientConfig>,
    refusals: Refusals,
}

impl McpConnection {
    /// Connects and introduces itself.
    pub async fn open(outbound: &Outbound, url: &Url, token: Option<String>) -> Result<Self, McpError> {
        let refusals = Refusals::default();
        let client = Http::new(outbound.clone(), refusals.clone());
        let mut config = StreamableHttpClientTransportConfig::with_uri(url.as_str());
        config.auth_header = token;
        config.allow_stateless = true;
        // A call is made once. Whether a second one does harm, nobody knows.
        config.reinit_on_expired_session = false;
        config.retry_config = Arc::new(NeverRetry::default());
        let transport = StreamableHttpClientTransport::with_client(client, config);
        let introduction =
            ClientConfig::new(ClientCapabilities::default(), Implementation::new("copilot", env!("CARGO_PKG_VERSION")))
                .with_protocol_version(ProtocolVersion::V_2025_03_26);
        match introduction.serve(transport).await {
            Ok(service) => Ok(Self { service, refusals }),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "an MCP server could not be connected to");
                Err(refusals.take().unwrap_or(McpError::Transport))
            }
        }
    }

    /// What the server can do.
    pub async fn tools(&self) -> Result<Vec<McpTool>, McpError> {
        let mut tools = Vec::new();
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let page = PaginatedRequestParams::default().with_cursor(cursor);
            let page = self.service.list_tools(Some(page)).await.map_err(|error| self.error(error))?;
            tools.extend(page.tools.into_iter().map(|tool| McpTool {
                name: tool.name.into_owned(),
                description: tool.description.unwrap_or_default().into_owned(),
                input_schema: Arc::unwrap_or_clone(tool.input_schema),
            }));
            cursor = page.next_cursor;
            if cursor.is_none() || tools.len() >= MAX_TOOLS {
                break;
            }
        }
        tools.truncate(MAX_TOOLS);
        Ok(tools)
    }

    /// Calls a tool, once.
    pub async fn call(&self, tool: &str, arguments: Option<JsonObject>) -> Result<McpResult, McpError> {
        let mut params = CallToolRequestParams::new(tool.to_owned());
        params.arguments = arguments;
        let answer = self.service.peer().call_tool(params).await.map_err(|error| self.error(error))?;
        let value = if answer.content.is_empty() { answer.structured_content } else { None };
        let value = value.unwrap_or_else(|| result::unwrapped(&answer.content));
        Ok(McpResult { value, is_error: answer.is_error == Some(true) })
    }

    /// Leaves the server, which then may forget the session.
    pub async fn close(self) {
        if let Err(error) = self.service.cancel().await {
            tracing::debug!(%error, "an MCP connection did not end well");
        }
    }

    fn error(&self, error: ServiceError) -> McpError {
        match error {
            ServiceError::McpError(error) => McpError::Server(error.message.into_owned()),
            error => {
                tracing::debug!(error = &error as &dyn std::error::Error, "an MCP request failed");
                self.refusals.take().unwrap_or(McpError::Transport)
            }
        }
    }
}

#[cfg(test)]
mod tests;
