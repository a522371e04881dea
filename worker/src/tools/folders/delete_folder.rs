//! `delete_folder`: deletes a folder and the folders in it.

use copilot_shared::tool::folders::FolderDeleted;
use copilot_shared::tool::{Concurrency, Repeat, ToolAnswer, ToolResponse};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{id, unchanged};
use crate::tools::{Access, Tool, ToolContext, ToolFailure};

const FAILED: &str = "delete_folder_failed";

/// Deletes a folder.
pub(in crate::tools) struct DeleteFolder;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in crate::tools) struct Arguments {
    /// The folder.
    folder_id: String,
}

impl Tool for DeleteFolder {
    type Arguments = Arguments;
    const NAME: &'static str = "delete_folder";
    const DESCRIPTION: &'static str = "Deletes a folder and the folders in it.";
    const ACCESS: Access = Access::SignedIn;
    const REPEAT: Repeat = Repeat::Safe;
    const CONCURRENCY: Concurrency = Concurrency::Alone;

    async fn call(&self, context: &ToolContext, arguments: Arguments) -> Result<ToolAnswer, ToolFailure> {
        let id = id(&arguments.folder_id, FAILED)?;
        let deleted = context.resources.store.delete_folder(context.fence(), context.user()?, id).await;
        deleted.map_err(|error| unchanged(error, FAILED))?;
        let response = FolderDeleted { folder_id: id.to_string() };
        Ok(ToolAnswer::new("Deleted the folder.", ToolResponse::FolderDeleted(response)))
    }
}
