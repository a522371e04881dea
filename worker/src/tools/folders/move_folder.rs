//! `move_folder`: puts a folder into another, or to the top.

use copilot_shared::tool::folders::FolderMoved;
use copilot_shared::tool::{Concurrency, Repeat, ToolAnswer, ToolResponse};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{id, optional_id, shown, unchanged};
use crate::tools::{Access, Tool, ToolContext, ToolFailure};

const FAILED: &str = "move_folder_failed";

/// Moves a folder.
pub(in crate::tools) struct MoveFolder;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in crate::tools) struct Arguments {
    /// The folder.
    folder_id: String,
    /// The folder to put it into; to the top if left out.
    target_parent_id: Option<String>,
}

impl Tool for MoveFolder {
    type Arguments = Arguments;
    const NAME: &'static str = "move_folder";
    const DESCRIPTION: &'static str = "Puts a folder, with all that lies in it, into another folder or to the top.";
    const ACCESS: Access = Access::SignedIn;
    const REPEAT: Repeat = Repeat::Safe;
    const CONCURRENCY: Concurrency = Concurrency::Alone;

    async fn call(&self, context: &ToolContext, arguments: Arguments) -> Result<ToolAnswer, ToolFailure> {
        let id = id(&arguments.folder_id, FAILED)?;
        let target = optional_id(arguments.target_parent_id.as_deref(), FAILED)?;
        let (store, user) = (&context.resources.store, context.user()?);
        let moved = store.move_folder(context.fence(), user, id, target).await;
        let moved = moved.map_err(|error| unchanged(error, FAILED))?;
        let folder = shown(&moved, &store.folders(user).await?);
        let message = format!("Moved the folder {:?}.", folder.name);
        let target_parent_id = folder.parent_id.clone();
        Ok(ToolAnswer::new(message, ToolResponse::FolderMoved(FolderMoved { folder, target_parent_id })))
    }
}
