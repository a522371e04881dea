//! The built playground: its files, read once when the process starts.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use bytes::Bytes;

/// Where Vite puts what has a hash of its content in its name.
const ASSETS: &str = "assets";

/// The files cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be read", .path.display())]
pub struct WebError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// A file that never changes under its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// What it is.
    pub content_type: &'static str,
    /// What it says.
    pub body: Bytes,
}

/// The playground's page and what it loads. They are kept in memory, so that a page and its assets
/// are of one build, also when the next one is made in the same directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Web {
    /// `index.html`.
    pub page: String,
    /// By their name below `/assets/`.
    pub assets: BTreeMap<String, Asset>,
}

impl Web {
    /// What a build has left in `directory`; none if there was none.
    pub fn load(directory: &Path) -> Result<Option<Self>, WebError> {
        let index = directory.join("index.html");
        let page = match std::fs::read_to_string(&index) {
            Ok(page) => page,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(WebError { path: index, source }),
        };
        Ok(Some(Self { page, assets: assets(&directory.join(ASSETS))? }))
    }
}

fn assets(directory: &Path) -> Result<BTreeMap<String, Asset>, WebError> {
    let broken = |path: &Path| {
        let path = path.to_owned();
        move |source| WebError { path, source }
    };
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).map_err(broken(directory))? {
        let path = entry.map_err(broken(directory))?.path();
        let Some(name) = path.file_name().and_then(OsStr::to_str) else { continue };
        let body = std::fs::read(&path).map_err(broken(&path))?;
        found.insert(name.to_owned(), Asset { content_type: content_type(&path), body: body.into() });
    }
    Ok(found)
}

fn content_type(path: &Path) -> &'static str {
    match path.extension().and_then(OsStr::to_str) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_a_page_is_no_playground_and_a_page_without_assets_a_broken_one() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Web::load(&directory.path().join("nowhere")).unwrap(), None);
        assert_eq!(Web::load(directory.path()).unwrap(), None);
        std::fs::write(directory.path().join("index.html"), "<p>").unwrap();
        let error = Web::load(directory.path()).unwrap_err().to_string();
        assert!(error.contains("assets"), "{error}");
    }

    #[test]
    fn each_asset_says_what_it_is() {
        for (name, expected) in [
            ("a-1.js", "text/javascript; charset=utf-8"),
            ("a.css", "text/css; charset=utf-8"),
            ("b", "application/octet-stream"),
        ] {
            assert_eq!(content_type(Path::new(name)), expected);
        }
    }
}
