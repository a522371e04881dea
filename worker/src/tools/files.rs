//! The tools for files of the workspace (`usage-tools.md` §7.6), and what they have in common.

use copilot_shared::id::FileId;
use copilot_shared::tool::files::FileInfo;
use copilot_shared::workspace::{File, FilePath, PathError, StorageUsage, WorkspaceError, is_text};

use super::{ToolContext, ToolFailure};

mod delete;
mod list;
mod read;
mod session;
mod write;

pub(super) use delete::DeleteFile;
pub(super) use list::ListFiles;
pub(super) use read::ReadFile;
pub(super) use write::WriteFile;

/// What a list says of a file.
fn info(file: File) -> FileInfo {
    FileInfo {
        file_id: file.id,
        name: file.name,
        path: file.path.as_str().to_owned(),
        mime_type: file.mime_type,
        size_bytes: file.size_bytes,
    }
}

/// The file that a call means by its id or by its path.
async fn look_up(context: &ToolContext, id: Option<&str>, path: Option<&str>) -> Result<File, ToolFailure> {
    let filled = |text: &&str| !text.trim().is_empty();
    let (id, path) = (id.filter(filled), path.filter(filled));
    let found = match (id, path) {
        (Some(id), _) => by_id(context, id).await?,
        (None, Some(path)) => {
            let path = FilePath::within(Some(context.session_id), path).map_err(invalid_path)?;
            context.resources.workspaces.find_at(context.user()?, &path).await?
        }
        (None, None) => return Err(ToolFailure::refused("missing_parameter", "Please give file_id or path.")),
    };
    found.ok_or_else(|| not_found(id.or(path).unwrap_or_default()))
}

fn not_found(what: impl std::fmt::Display) -> ToolFailure {
    ToolFailure::refused("not_found", format!("File not found: {what}"))
}

async fn by_id(context: &ToolContext, text: &str) -> Result<Option<File>, ToolFailure> {
    // Answers call a file `workspace://{id}#{type}`, and models call it so, too.
    let id = text.trim().trim_start_matches("workspace://").split('#').next().unwrap_or_default();
    match id.parse::<FileId>() {
        Ok(id) => Ok(context.resources.workspaces.find(context.user()?, id).await?),
        Err(_) => Ok(None),
    }
}

fn invalid_path(error: PathError) -> ToolFailure {
    ToolFailure::refused("invalid_path", error.to_string())
}

/// What the model is told of a file that was not written.
fn unwritten(error: WorkspaceError) -> ToolFailure {
    let message = error.to_string();
    match error {
        WorkspaceError::TooLarge(_) => ToolFailure::refused("file_too_large", message),
        WorkspaceError::QuotaExceeded(StorageUsage { used_bytes, limit_bytes, .. }, _) => {
            let message =
                format!("{message}: {used_bytes} of {limit_bytes} bytes are used. Delete files that are not needed.");
            ToolFailure::refused("storage_limit_exceeded", message)
        }
        WorkspaceError::Exists(_) => {
            ToolFailure::refused("file_exists", format!("{message}. Set overwrite to true to replace it."))
        }
        WorkspaceError::Abandoned | WorkspaceError::Fenced | WorkspaceError::Blob(_) | WorkspaceError::Store(_) => {
            error.into()
        }
    }
}

/// The beginning of a text of at most so many bytes; `None` for what is no text.
fn preview(mime_type: &str, content: &[u8], limit: usize) -> Option<String> {
    if !is_text(mime_type) {
        return None;
    }
    let text = String::from_utf8_lossy(content);
    let end = text.floor_char_boundary(limit);
    text.get(..end).map(str::to_owned)
}

/// Writes a text under a path of the conversation, in place of what is there.
pub(super) async fn keep(context: &ToolContext, path: &str, text: &str) -> Result<FilePath, KeepError> {
    let user = context.user_id.as_ref().ok_or(KeepError::Nobody)?;
    let path = FilePath::within(Some(context.session_id), path)?;
    let target = copilot_shared::workspace::Target::at(path.clone()).replacing();
    context.workspaces().write(user, target, text.to_owned().into()).await?;
    Ok(path)
}

/// Why a text was not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    /// There is nobody whose it would be.
    #[error("nobody is signed in")]
    Nobody,
    /// The path is none.
    #[error(transparent)]
    Path(#[from] PathError),
    /// It could not be written.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
}
