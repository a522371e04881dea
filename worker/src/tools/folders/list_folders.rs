//! `list_folders`: the folders of the user's library.

use copilot_shared::store::Folder;
use copilot_shared::tool::folders::FolderList;
use copilot_shared::tool::{Repeat, ToolAnswer, ToolResponse};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{optional_id, shown, tree};
use crate::tools::{Access, Tool, ToolContext, ToolFailure};

const FAILED: &str = "list_folders_failed";

/// Lists folders.
pub(in crate::tools) struct ListFolders;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in crate::tools) struct Arguments {
    /// Only the folders in this one; all of them as a tree if left out.
    parent_id: Option<String>,
}

impl Tool for ListFolders {
    type Arguments = Arguments;
    const NAME: &'static str = "list_folders";
    const DESCRIPTION: &'static str = "Lists the folders of the user's library with their ids.";
    const ACCESS: Access = Access::SignedIn;
    const REPEAT: Repeat = Repeat::Safe;

    async fn call(&self, context: &ToolContext, arguments: Arguments) -> Result<ToolAnswer, ToolFailure> {
        let parent = optional_id(arguments.parent_id.as_deref(), FAILED)?;
        let all = context.resources.store.folders(context.user()?).await?;
        if let Some(parent) = parent
            && !all.iter().any(|folder| folder.id == parent)
        {
            return Ok(ToolAnswer::error(FAILED, format!("There is no folder {parent}.")));
        }
        let here = |folder: &&Folder| parent.is_none() || folder.parent_id == parent;
        let folders: Vec<_> = all.iter().filter(here).map(|folder| shown(folder, &all)).collect();
        let count = u64::try_from(folders.len()).unwrap_or(u64::MAX);
        let message = format!("Found {count} folder(s).");
        let tree = parent.is_none().then(|| tree(None, &all));
        let list = FolderList { folders, tree, root_agents: None, count };
        Ok(ToolAnswer::new(message, ToolResponse::FolderList(list)))
    }
}
