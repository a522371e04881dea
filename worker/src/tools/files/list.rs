//! `list_workspace_files`: what there is.

use copilot_shared::tool::files::FileList;
use copilot_shared::tool::{Repeat, ToolAnswer, ToolResponse};
use copilot_shared::workspace::FilePath;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{info, invalid_path};
use crate::tools::{Access, Tool, ToolContext, ToolFailure};

/// Lists files.
pub(in crate::tools) struct ListFiles;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in crate::tools) struct Arguments {
    /// Only files whose path begins so, for example "/documents/".
    path_prefix: Option<String>,
    /// How many files at most, the newest first; 50 if absent.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<i64>,
    /// Also the files of the user's other conversations; false if absent.
    include_all_sessions: Option<bool>,
}

impl Tool for ListFiles {
    type Arguments = Arguments;
    const NAME: &'static str = "list_workspace_files";
    const DESCRIPTION: &'static str = "Lists the user's files, newest first: those of this conversation, or of all of them. \
        Gives each file's id, name, path, type and size.";
    const ACCESS: Access = Access::SignedIn;
    const REPEAT: Repeat = Repeat::Safe;

    async fn call(&self, context: &ToolContext, arguments: Arguments) -> Result<ToolAnswer, ToolFailure> {
        let everywhere = arguments.include_all_sessions.unwrap_or(false);
        let session = (!everywhere).then_some(context.session_id);
        let prefix = arguments.path_prefix.as_deref().unwrap_or_default();
        let prefix = FilePath::prefix_within(session, prefix).map_err(invalid_path)?;
        let limit = arguments.limit.unwrap_or(50);
        let (files, total_count) = context.resources.workspaces.list(context.user()?, &prefix, limit, 0).await?;
        let place = if everywhere { "in all conversations" } else { "in this conversation" };
        let message = match total_count {
            0 => format!("There are no files {place}."),
            1 => format!("There is 1 file {place}."),
            total => format!("There are {total} files {place}."),
        };
        let files = files.into_iter().map(info).collect();
        Ok(ToolAnswer::new(message, ToolResponse::FileList(FileList { files, total_count })))
    }
}
