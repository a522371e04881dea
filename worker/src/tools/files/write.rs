//! `write_workspace_file`: from text, from base64, or from a file of the session's directory.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use copilot_shared::tool::files::FileWritten;
use copilot_shared::tool::{Repeat, ToolAnswer, ToolResponse};
use copilot_shared::workspace::{File, FilePath, Target, file_name};
use schemars::JsonSchema;
use serde::Deserialize;

use super::session::SessionFile;
use super::{invalid_path, preview, unwritten};
use crate::sandbox::SessionFileError;
use crate::tools::{Access, Tool, ToolContext, ToolFailure};

/// Bytes of the preview.
const PREVIEW_BYTES: usize = 200;

/// Writes a file.
pub(in crate::tools) struct WriteFile;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in crate::tools) struct Arguments {
    /// The file's name, for example "report.md".
    #[schemars(length(min = 1, max = 255))]
    filename: String,
    /// What to write, as text. Exactly one of content, content_base64 and source_path is needed.
    content: Option<String>,
    /// What to write, in base64, for what is no text.
    content_base64: Option<String>,
    /// A file in the session's working directory that is to be copied.
    source_path: Option<String>,
    /// Where to write; "/" and the file's name if absent.
    path: Option<String>,
    /// The file's type; guessed from its name if absent.
    #[schemars(regex(pattern = r"^[A-Za-z0-9!#$&^_.+-]{1,100}/[A-Za-z0-9!#$&^_.+-]{1,100}$"))]
    mime_type: Option<String>,
    /// Whether to replace a file that has the path; false if absent.
    overwrite: Option<bool>,
}

/// Where the content comes from.
enum Source {
    Text(String),
    Base64(String),
    Copy(String),
}

impl Tool for WriteFile {
    type Arguments = Arguments;
    const NAME: &'static str = "write_workspace_file";
    const DESCRIPTION: &'static str = "Writes a file into the user's workspace, where it stays after the conversation. \
        Takes text, base64, or a file of the session's working directory. Show it to the user as workspace://{file_id}.";
    const ACCESS: Access = Access::SignedIn;
    const REPEAT: Repeat = Repeat::Never;
    const TIME_LIMIT: std::time::Duration = std::time::Duration::from_mins(2);

    async fn call(&self, context: &ToolContext, arguments: Arguments) -> Result<ToolAnswer, ToolFailure> {
        let target = target(context, &arguments)?;
        let (bytes, source) = match source(arguments)? {
            Source::Text(text) => (Bytes::from(text), "content"),
            Source::Base64(text) => (decoded(&text)?, "base64"),
            Source::Copy(path) => return copy(context, target, path).await,
        };
        let start = preview(&target.mime_type, &bytes, PREVIEW_BYTES);
        let written = context.workspaces().write(context.user()?, target, bytes).await;
        Ok(answer(written.map_err(unwritten)?, source.to_owned(), start))
    }
}

fn decoded(text: &str) -> Result<Bytes, ToolFailure> {
    let decoded = STANDARD.decode(text.trim());
    decoded
        .map(Bytes::from)
        .map_err(|error| ToolFailure::refused("invalid_base64", format!("content_base64 is no base64: {error}.")))
}

fn target(context: &ToolContext, arguments: &Arguments) -> Result<Target, ToolFailure> {
    let name = file_name(&arguments.filename);
    let path = match arguments.path.as_deref().map(str::trim) {
        None | Some("") => name.clone(),
        Some(directory) if directory.ends_with('/') => format!("{directory}{name}"),
        Some(path) => path.to_owned(),
    };
    let path = FilePath::within(Some(context.session_id), &path).map_err(invalid_path)?;
    let mut target = Target { name, ..Target::at(path) };
    target.mime_type =
        arguments.mime_type.clone().unwrap_or_else(|| copilot_shared::workspace::mime_type_of(&target.name));
    Ok(if arguments.overwrite.unwrap_or(false) { target.replacing() } else { target })
}

fn source(arguments: Arguments) -> Result<Source, ToolFailure> {
    match (arguments.content, arguments.content_base64, arguments.source_path) {
        (Some(text), None, None) => Ok(Source::Text(text)),
        (None, Some(text), None) => Ok(Source::Base64(text)),
        (None, None, Some(path)) => Ok(Source::Copy(path)),
        _ => {
            let message = "Please give exactly one of content, content_base64 and source_path.";
            Err(ToolFailure::refused("missing_content", message))
        }
    }
}

/// Copies a file of the session's directory, piece by piece.
async fn copy(context: &ToolContext, target: Target, path: String) -> Result<ToolAnswer, ToolFailure> {
    let refused = |error: SessionFileError| ToolFailure::refused("source_unreadable", error.to_string());
    let mut pieces = SessionFile::open(context, &path).await.map_err(refused)?;
    let mime_type = target.mime_type.clone();
    let begun = context.workspaces().begin(context.user()?, target, pieces.size()).await;
    let mut upload = begun.map_err(unwritten)?;
    let mut start = None;
    while let Some(piece) = pieces.next().await? {
        start.get_or_insert_with(|| piece.clone());
        upload.write(piece).await.map_err(unwritten)?;
    }
    let file = upload.finish().await.map_err(unwritten)?;
    let start = preview(&mime_type, &start.unwrap_or_default(), PREVIEW_BYTES);
    Ok(answer(file, format!("copied from {path}"), start))
}

fn answer(file: File, source: String, content_preview: Option<String>) -> ToolAnswer {
    let message = format!("Wrote {} ({} bytes)", file.path, file.size_bytes);
    let response = FileWritten {
        file_id: file.id,
        path: file.path.as_str().to_owned(),
        download_url: format!("workspace://{}#{}", file.id, file.mime_type),
        name: file.name,
        mime_type: file.mime_type,
        size_bytes: file.size_bytes,
        source: Some(source),
        content_preview,
    };
    ToolAnswer::new(message, ToolResponse::FileWritten(response))
}
