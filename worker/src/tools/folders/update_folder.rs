//! `update_folder`: gives a folder another name, icon or colour.

use copilot_shared::store::FolderChange;
use copilot_shared::tool::folders::FolderShown;
use copilot_shared::tool::{Concurrency, Repeat, ToolAnswer, ToolResponse};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{LOOK_CHARS, NAME_CHARS, id, said, shown, unchanged};
use crate::tools::{Access, Tool, ToolContext, ToolFailure};

const FAILED: &str = "update_folder_failed";

/// Changes a folder.
pub(in crate::tools) struct UpdateFolder;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in crate::tools) struct Arguments {
    /// The folder.
    folder_id: String,
    /// Its new name.
    #[schemars(length(max = NAME_CHARS))]
    name: Option<String>,
    /// Its new icon.
    #[schemars(length(max = LOOK_CHARS))]
    icon: Option<String>,
    /// Its new colour.
    #[schemars(length(max = LOOK_CHARS))]
    color: Option<String>,
}

impl Tool for UpdateFolder {
    type Arguments = Arguments;
    const NAME: &'static str = "update_folder";
    const DESCRIPTION: &'static str = "Gives a folder another name, icon or colour; what is left out stays.";
    const ACCESS: Access = Access::SignedIn;
    const REPEAT: Repeat = Repeat::Safe;
    const CONCURRENCY: Concurrency = Concurrency::Alone;

    async fn call(&self, context: &ToolContext, arguments: Arguments) -> Result<ToolAnswer, ToolFailure> {
        let id = id(&arguments.folder_id, FAILED)?;
        let change =
            FolderChange { name: said(arguments.name), icon: said(arguments.icon), color: said(arguments.color) };
        if change.name.is_none() && change.icon.is_none() && change.color.is_none() {
            return Ok(ToolAnswer::error(FAILED, "Say what is to be changed: name, icon or color."));
        }
        let (store, user) = (&context.resources.store, context.user()?);
        let updated = store.update_folder(context.fence(), user, id, &change).await;
        let updated = updated.map_err(|error| unchanged(error, FAILED))?;
        let response = FolderShown { folder: shown(&updated, &store.folders(user).await?) };
        Ok(ToolAnswer::new(format!("Changed the folder {:?}.", updated.name), ToolResponse::FolderUpdated(response)))
    }
}
