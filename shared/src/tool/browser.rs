//! Responses of the browser tools.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A page was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PageOpened {
    /// Its address.
    pub url: String,
    /// Its title.
    pub title: String,
    /// What is on it.
    pub snapshot: String,
}

/// Something was done on a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PageActed {
    /// What was done.
    pub action: String,
    /// Where the browser is now.
    #[serde(default)]
    pub current_url: String,
    /// What is on the page.
    pub snapshot: String,
}

/// A page was photographed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PageShot {
    /// The picture in the workspace.
    pub file_id: String,
    /// Its name.
    pub filename: String,
}
