//! `delete_workspace_file`: for good.

use copilot_shared::tool::files::FileDeleted;
use copilot_shared::tool::{Repeat, ToolAnswer, ToolResponse};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{look_up, not_found};
use crate::tools::{Access, Tool, ToolContext, ToolFailure};

/// Deletes a file.
pub(in crate::tools) struct DeleteFile;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in crate::tools) struct Arguments {
    /// The file's id. Either this or path is needed.
    file_id: Option<String>,
    /// The file's path.
    path: Option<String>,
}

impl Tool for DeleteFile {
    type Arguments = Arguments;
    const NAME: &'static str = "delete_workspace_file";
    const DESCRIPTION: &'static str = "Deletes one of the user's files for good, by its id or its path.";
    const ACCESS: Access = Access::SignedIn;
    const REPEAT: Repeat = Repeat::Never;

    async fn call(&self, context: &ToolContext, arguments: Arguments) -> Result<ToolAnswer, ToolFailure> {
        let file = look_up(context, arguments.file_id.as_deref(), arguments.path.as_deref()).await?;
        let deleted = context.workspaces().delete(context.user()?, file.id).await?;
        let file = deleted.ok_or_else(|| not_found(&file.path))?;
        let message = format!("Deleted {}", file.path);
        Ok(ToolAnswer::new(message, ToolResponse::FileDeleted(FileDeleted { file_id: file.id, success: true })))
    }
}
