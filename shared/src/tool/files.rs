//! Responses about the files of a workspace.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::FileId;

/// Files of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileList {
    /// The files, newest first.
    pub files: Vec<FileInfo>,
    /// How many there are in all.
    pub total_count: i64,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "WorkspaceFileInfo")]
pub struct FileInfo {
    /// Its id.
    pub file_id: FileId,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub path: String,
    /// Its type.
    pub mime_type: String,
    /// Its size in bytes.
    pub size_bytes: i64,
}

/// A file with its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileContent {
    /// Its id.
    pub file_id: FileId,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub path: String,
    /// The type of what is in `content_base64`.
    pub mime_type: String,
    /// The bytes, in base64.
    pub content_base64: String,
}

/// A file without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileMetadata {
    /// Its id.
    pub file_id: FileId,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub path: String,
    /// Its type.
    pub mime_type: String,
    /// Its size in bytes.
    pub size_bytes: i64,
    /// `workspace://{file_id}`.
    pub download_url: String,
    /// How its text begins.
    pub preview: Option<String>,
}

/// A file was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileWritten {
    /// Its id.
    pub file_id: FileId,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub path: String,
    /// Its type.
    pub mime_type: String,
    /// Its size in bytes.
    pub size_bytes: i64,
    /// `workspace://{file_id}#{mime_type}`.
    pub download_url: String,
    /// `content`, `base64`, or what it was copied from.
    pub source: Option<String>,
    /// How its text begins.
    pub content_preview: Option<String>,
}

/// A file was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileDeleted {
    /// Its id.
    pub file_id: FileId,
    /// Always true.
    pub success: bool,
}
