//! `read_workspace_file`: whole if it is small, a range of characters, or where it can be had.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use copilot_shared::blobs::BlobReader;
use copilot_shared::tool::files::{FileContent, FileMetadata};
use copilot_shared::tool::{Repeat, ToolAnswer, ToolResponse};
use copilot_shared::workspace::{File, TextRange, is_image, is_text};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{look_up, not_found, preview, session};
use crate::tools::{Access, Tool, ToolContext, ToolFailure};

/// Larger files are not given whole.
const INLINE_BYTES: i64 = 32 * 1024;

/// Bytes of the preview of a file that is not given whole.
const PREVIEW_BYTES: usize = 500;

/// A range holds no more bytes than this, so that in base64 it is no longer than an output may be.
const RANGE_BYTES: usize = 48 * 1024;

/// Reads a file.
pub(in crate::tools) struct ReadFile;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in crate::tools) struct Arguments {
    /// The file's id. Either this or path is needed.
    file_id: Option<String>,
    /// The file's path.
    path: Option<String>,
    /// Also copy the file to this path in the session's working directory.
    save_to_path: Option<String>,
    /// Only say where the file can be downloaded, however small it is; false if absent.
    force_download_url: Option<bool>,
    /// Read a part of a text: its first character, counted from 0.
    #[schemars(range(min = 0))]
    offset: Option<u64>,
    /// Read a part of a text: how many characters.
    #[schemars(range(min = 1))]
    length: Option<u64>,
}

impl Tool for ReadFile {
    type Arguments = Arguments;
    const NAME: &'static str = "read_workspace_file";
    const DESCRIPTION: &'static str = "Reads one of the user's files by its id or its path. Small texts and pictures come \
        whole; of others you get type, size and beginning, and can read parts with offset and length. Can copy the file \
        into the session's working directory for other tools.";
    const ACCESS: Access = Access::SignedIn;
    const REPEAT: Repeat = Repeat::Safe;
    const TIME_LIMIT: std::time::Duration = std::time::Duration::from_mins(2);

    async fn call(&self, context: &ToolContext, arguments: Arguments) -> Result<ToolAnswer, ToolFailure> {
        let file = look_up(context, arguments.file_id.as_deref(), arguments.path.as_deref()).await?;
        let mut answer = match part(&arguments) {
            Some((offset, length)) => range(context, &file, offset, length).await?,
            None if !arguments.force_download_url.unwrap_or(false) && is_inline(&file) => whole(context, &file).await?,
            None => metadata(context, &file).await?,
        };
        if let Some(path) = &arguments.save_to_path {
            save(context, &file, path).await?;
            answer.message = format!("{} Saved to {path}.", answer.message);
        }
        Ok(answer)
    }
}

fn part(arguments: &Arguments) -> Option<(u64, u64)> {
    match (arguments.offset, arguments.length) {
        (None, None) => None,
        (offset, length) => Some((offset.unwrap_or(0), length.unwrap_or(u64::MAX))),
    }
}

fn is_inline(file: &File) -> bool {
    file.size_bytes <= INLINE_BYTES && (is_text(&file.mime_type) || is_image(&file.mime_type))
}

async fn whole(context: &ToolContext, file: &File) -> Result<ToolAnswer, ToolFailure> {
    let limit = usize::try_from(INLINE_BYTES).unwrap_or(0);
    let whole = context.resources.workspaces.read_whole(file, limit).await?;
    let bytes = whole.ok_or_else(|| not_found(&file.path))?;
    let mut message = format!("{} ({}, {} bytes)", file.path, file.mime_type, file.size_bytes);
    if is_text(&file.mime_type) {
        // Models read text better than base64.
        message = format!("{message}:\n{}", String::from_utf8_lossy(&bytes));
    }
    Ok(content_answer(file, message, file.mime_type.clone(), &bytes))
}

fn content_answer(file: &File, message: String, mime_type: String, content: &[u8]) -> ToolAnswer {
    let content = FileContent {
        file_id: file.id,
        name: file.name.clone(),
        path: file.path.as_str().to_owned(),
        mime_type,
        content_base64: STANDARD.encode(content),
    };
    ToolAnswer::new(message, ToolResponse::FileContent(content))
}

async fn range(context: &ToolContext, file: &File, offset: u64, length: u64) -> Result<ToolAnswer, ToolFailure> {
    let mut reader = open(context, file, None).await?;
    let mut range = TextRange::new(offset, length, RANGE_BYTES);
    while let Some(piece) = reader.next().await {
        range.feed(&piece?);
    }
    let (text, total, is_cut) = range.finish();
    let count = text.chars().count();
    let end = offset.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    let more = if is_cut { " This is as much as one call gives; go on from there." } else { "" };
    let message = format!("Characters {offset} to {end} of {total} of {}.{more}", file.path);
    Ok(content_answer(file, message, "text/plain".into(), text.as_bytes()))
}

async fn metadata(context: &ToolContext, file: &File) -> Result<ToolAnswer, ToolFailure> {
    let size = u64::try_from(file.size_bytes).unwrap_or(0);
    let start = 0..size.min(u64::try_from(PREVIEW_BYTES).unwrap_or(0));
    let start = open(context, file, Some(start)).await?.collect(PREVIEW_BYTES).await?;
    let preview = preview(&file.mime_type, &start, PREVIEW_BYTES);
    let message = format!(
        "{} ({}, {} bytes) can be downloaded by the user as workspace://{}.",
        file.path, file.mime_type, file.size_bytes, file.id
    );
    let metadata = FileMetadata {
        file_id: file.id,
        name: file.name.clone(),
        path: file.path.as_str().to_owned(),
        mime_type: file.mime_type.clone(),
        size_bytes: file.size_bytes,
        download_url: format!("workspace://{}", file.id),
        preview,
    };
    Ok(ToolAnswer::new(message, ToolResponse::FileMetadata(metadata)))
}

/// Copies the file into the session's directory.
async fn save(context: &ToolContext, file: &File, path: &str) -> Result<(), ToolFailure> {
    let size = u64::try_from(file.size_bytes).unwrap_or(0);
    session::save(context, path, size, open(context, file, None).await?).await
}

async fn open(context: &ToolContext, file: &File, part: Option<Range<u64>>) -> Result<BlobReader, ToolFailure> {
    let reader = context.resources.workspaces.read(file, part).await?;
    reader.ok_or_else(|| not_found(&file.path))
}
