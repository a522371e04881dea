//! `create_folder`: makes a folder in the user's library.

use copilot_shared::id::FolderId;
use copilot_shared::store::NewFolder;
use copilot_shared::tool::folders::FolderShown;
use copilot_shared::tool::{Concurrency, Repeat, ToolAnswer, ToolResponse};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{LOOK_CHARS, NAME_CHARS, optional_id, said, shown, unchanged};
use crate::tools::{Access, Tool, ToolContext, ToolFailure};

const FAILED: &str = "create_folder_failed";

/// Makes a folder.
pub(in crate::tools) struct CreateFolder;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in crate::tools) struct Arguments {
    /// Its name.
    #[schemars(length(max = NAME_CHARS))]
    name: String,
    /// The folder to make it in; at the top if left out.
    parent_id: Option<String>,
    /// Its icon, for example an emoji.
    #[schemars(length(max = LOOK_CHARS))]
    icon: Option<String>,
    /// Its colour, for example #3366ff.
    #[schemars(length(max = LOOK_CHARS))]
    color: Option<String>,
}

impl Tool for CreateFolder {
    type Arguments = Arguments;
    const NAME: &'static str = "create_folder";
    const DESCRIPTION: &'static str = "Makes a folder in the user's library, at the top or in another folder.";
    const ACCESS: Access = Access::SignedIn;
    // Its id comes from the call, so that it is made once.
    const REPEAT: Repeat = Repeat::Safe;
    const CONCURRENCY: Concurrency = Concurrency::Alone;

    async fn call(&self, context: &ToolContext, arguments: Arguments) -> Result<ToolAnswer, ToolFailure> {
        let Some(name) = said(Some(arguments.name)) else {
            return Ok(ToolAnswer::error("missing_name", "Say what the folder is to be called."));
        };
        let parent_id = optional_id(arguments.parent_id.as_deref(), FAILED)?;
        let id = FolderId(context.id_of_the_made());
        let new = NewFolder { id, parent_id, name, icon: said(arguments.icon), color: said(arguments.color) };
        let made = context.resources.store.create_folder(context.fence(), context.user()?, &new).await;
        let folder = made.map_err(|error| unchanged(error, FAILED))?;
        let response = FolderShown { folder: shown(&folder, &[]) };
        Ok(ToolAnswer::new(format!("Made the folder {:?}.", folder.name), ToolResponse::FolderCreated(response)))
    }
}
