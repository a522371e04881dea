//! `get_mcp_guide`: how MCP servers are used, and which are known.

use copilot_shared::tool::found::McpGuide;
use copilot_shared::tool::{Repeat, ToolAnswer, ToolResponse};

use super::{Access, NoArguments, Tool, ToolContext, ToolFailure};

/// Tells how MCP servers are used.
pub(super) struct GetMcpGuide;

impl Tool for GetMcpGuide {
    type Arguments = NoArguments;
    const NAME: &'static str = "get_mcp_guide";
    const DESCRIPTION: &'static str = "Tells how to use MCP servers with run_mcp_tool, and the addresses of well-known \
        ones (Notion, Linear, Stripe, Intercom, Cloudflare, Atlassian). Read it before the first run_mcp_tool.";
    const ACCESS: Access = Access::Open;
    const REPEAT: Repeat = Repeat::Safe;

    async fn call(&self, _: &ToolContext, _: NoArguments) -> Result<ToolAnswer, ToolFailure> {
        let guide = McpGuide { content: include_str!("mcp_guide/guide.md").into() };
        Ok(ToolAnswer::new("This is how MCP servers are used.", ToolResponse::McpGuide(guide)))
    }
}
