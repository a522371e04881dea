//! Reads the Markdown below a directory. Nothing outside it: symbolic links are not followed.

use std::path::Path;

use super::DocsError;

/// More pages are a mistake in the setting.
const MAX_PAGES: usize = 5_000;
/// A longer file is not for reading.
const MAX_BYTES: u64 = 1 << 20;
const ENDINGS: [&str; 3] = ["md", "mdx", "markdown"];

/// Every page: its path from the directory on, with slashes, and its text.
pub(super) fn read(directory: &Path) -> Result<Vec<(String, String)>, DocsError> {
    let mut pages = Vec::new();
    let mut open = vec![(directory.to_owned(), String::new())];
    while let Some((place, prefix)) = open.pop() {
        let unread = |error| DocsError::Read(place.clone(), error);
        for entry in std::fs::read_dir(&place).map_err(unread)? {
            let entry = entry.map_err(unread)?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                tracing::warn!(path = %entry.path().display(), "left out of the docs: its name is no text");
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            // Of the entry itself, so that a link is neither of the two.
            let kind = entry.file_type().map_err(unread)?;
            let path = format!("{prefix}{name}");
            if kind.is_dir() {
                open.push((entry.path(), format!("{path}/")));
            } else if kind.is_file() && is_markdown(&name) {
                pages.extend(text(&entry.path())?.map(|text| (path, text)));
            }
            if pages.len() > MAX_PAGES {
                return Err(DocsError::TooMany { directory: directory.to_owned(), most: MAX_PAGES });
            }
        }
    }
    Ok(pages)
}

fn is_markdown(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, ending)| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

fn text(path: &Path) -> Result<Option<String>, DocsError> {
    let unread = |error| DocsError::Read(path.to_owned(), error);
    if std::fs::metadata(path).map_err(unread)?.len() > MAX_BYTES {
        tracing::warn!(path = %path.display(), "left out of the docs: it is too long");
        return Ok(None);
    }
    let text = String::from_utf8(std::fs::read(path).map_err(unread)?).ok();
    if text.is_none() {
        tracing::warn!(path = %path.display(), "left out of the docs: it is not UTF-8");
    }
    Ok(text)
}
