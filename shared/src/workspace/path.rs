//! Where a file is: a path within the workspace, normal and bounded.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::SessionId;

/// The longest path, in bytes (the column's own check).
const MAX_BYTES: usize = 1024;

/// The longest segment, in bytes.
const MAX_SEGMENT: usize = 255;

/// The directory of the conversations.
const SESSIONS: &str = "/sessions/";

/// A path that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It names nothing.
    #[error("The path is empty.")]
    Empty,
    /// It leads out of its directory.
    #[error("The path must not contain `..`.")]
    Escapes,
    /// It holds a control character.
    #[error("The path must not contain control characters.")]
    Control,
    /// It is too long.
    #[error("The path is longer than 1024 bytes, or a part of it than 255.")]
    TooLong,
}

/// A path: absolute, without `.`, `..`, doubled slashes and control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct FilePath(String);

impl FilePath {
    /// Reads a path. Whether it begins with a slash makes no difference.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.chars().any(char::is_control) {
            return Err(PathError::Control);
        }
        let mut path = String::with_capacity(text.len() + 1);
        for segment in text.split('/') {
            match segment {
                "" | "." => {}
                ".." => return Err(PathError::Escapes),
                segment if segment.len() > MAX_SEGMENT => return Err(PathError::TooLong),
                segment => {
                    path.push('/');
                    path.push_str(segment);
                }
            }
        }
        match path.len() {
            0 => Err(PathError::Empty),
            length if length > MAX_BYTES => Err(PathError::TooLong),
            _ => Ok(Self(path)),
        }
    }

    /// Reads a path as a conversation means it: in its own directory, unless it names a
    /// conversation's.
    pub fn within(session: Option<SessionId>, text: &str) -> Result<Self, PathError> {
        let path = Self::parse(text)?;
        match session {
            Some(session) if !path.0.starts_with(SESSIONS) => {
                Self::parse(&format!("{}{}", Self::prefix_of(session), path.0))
            }
            Some(_) | None => Ok(path),
        }
    }

    /// What the paths of a conversation's files begin with.
    pub fn prefix_of(session: SessionId) -> String {
        // The slash at the end matters: no other id may begin with this one.
        format!("{SESSIONS}{session}/")
    }

    /// What the paths below a directory begin with, as a conversation means it. Unlike a path it
    /// may end in the middle of a name.
    pub fn prefix_within(session: Option<SessionId>, text: &str) -> Result<String, PathError> {
        if text.trim_matches('/').is_empty() {
            return Ok(session.map_or_else(|| "/".to_owned(), Self::prefix_of));
        }
        let mut prefix = Self::within(session, text)?.0;
        if text.ends_with('/') {
            prefix.push('/');
        }
        Ok(prefix)
    }

    /// The last segment.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same path with a mark before the extension, for a name that is taken.
    #[must_use]
    pub fn marked(&self, mark: &str) -> Self {
        let name = self.name();
        let directory = self.0.strip_suffix(name).unwrap_or_default();
        let (stem, extension) = match name.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => (stem, format!(".{extension}")),
            _ => (name, String::new()),
        };
        let longest = MAX_SEGMENT.min(MAX_BYTES.saturating_sub(directory.len()));
        let room = longest.saturating_sub(mark.len() + 1);
        // The stem gives way first; but what follows the last dot may be nearly the whole name.
        let extension = beginning(&extension, room);
        let stem = beginning(stem, room.saturating_sub(extension.len()));
        Self(format!("{directory}{stem}-{mark}{extension}"))
    }
}

/// What follows the last dot of a long name is an extension if it is no longer than this, in bytes.
const LONGEST_EXTENSION: usize = 16;

/// At most so many bytes of a text, in whole characters.
fn beginning(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of an uploaded file: what follows the last slash of either kind, printable and bounded.
pub fn file_name(text: &str) -> String {
    let base = text.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = base.chars().filter(|c| !c.is_control()).collect();
    match clean.trim() {
        "" | "." | ".." => "file".to_owned(),
        name if name.len() <= MAX_SEGMENT => name.to_owned(),
        name => shortened(name),
    }
}

/// A name that fits, with its extension: it tells what the file is.
fn shortened(name: &str) -> String {
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if extension.len() <= LONGEST_EXTENSION => (stem, format!(".{extension}")),
        _ => (name, String::new()),
    };
    format!("{}{extension}", beginning(stem, MAX_SEGMENT - extension.len()))
}

/// The type that a name tells.
pub fn mime_type_of(name: &str) -> String {
    mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream").to_owned()
}

/// What names of a type usually end with.
pub fn extension_of(mime_type: &str) -> &'static str {
    // The lists of the common ones begin with what is least common.
    match mime_type {
        "image/jpeg" => "jpg",
        "text/plain" => "txt",
        "text/markdown" => "md",
        "text/html" => "html",
        other => mime_guess::get_mime_extensions_str(other).and_then(<[_]>::first).copied().unwrap_or("bin"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_normal() {
        let normal = |text: &str| FilePath::parse(text).map(|path| path.0);
        assert_eq!(normal("a.txt").as_deref(), Ok("/a.txt"));
        assert_eq!(normal("//a/./b//c.txt/").as_deref(), Ok("/a/b/c.txt"));
        assert_eq!(normal("..."), Ok("/...".into()));
        assert_eq!(normal("a/../b"), Err(PathError::Escapes));
        assert_eq!(normal(".."), Err(PathError::Escapes));
        assert_eq!(normal("a\0b"), Err(PathError::Control));
        assert_eq!(normal("/"), Err(PathError::Empty));
        assert_eq!(normal(&"x".repeat(256)), Err(PathError::TooLong));
        assert_eq!(normal(&"x/".repeat(600)), Err(PathError::TooLong));
    }

    #[test]
    fn a_conversation_has_a_directory_and_may_name_anothers() {
        let session = SessionId::random();
        let within = |text: &str| FilePath::within(Some(session), text).unwrap().0;
        assert_eq!(within("a.txt"), format!("/sessions/{session}/a.txt"));
        assert_eq!(within("/a/b.txt"), format!("/sessions/{session}/a/b.txt"));
        assert_eq!(within("/sessions/other/a.txt"), "/sessions/other/a.txt");
        assert_eq!(FilePath::within(None, "a.txt").unwrap().0, "/a.txt");
    }

    #[test]
    fn a_prefix_keeps_its_slash_and_may_end_in_a_name() {
        let session = SessionId::random();
        let prefix = |text: &str| FilePath::prefix_within(Some(session), text).unwrap();
        assert_eq!(prefix(""), format!("/sessions/{session}/"));
        assert_eq!(prefix("/"), format!("/sessions/{session}/"));
        assert_eq!(prefix("docs/"), format!("/sessions/{session}/docs/"));
        assert_eq!(prefix("no"), format!("/sessions/{session}/no"));
        assert_eq!(FilePath::prefix_within(None, "").unwrap(), "/");
    }

    #[test]
    fn names_are_what_is_left_of_an_uploaders_path() {
        assert_eq!(file_name("C:\\Users\\ann\\a b.txt"), "a b.txt");
        assert_eq!(file_name("../../etc/passwd"), "passwd");
        assert_eq!(file_name("a\0\nb"), "ab");
        assert_eq!(file_name(".."), "file");
        assert_eq!(file_name("é".repeat(200).as_str()).len(), 254);
        let long = file_name(&format!("{}.pdf", "é".repeat(200)));
        assert!(long.len() <= 255 && long.ends_with("é.pdf"), "{long}");
    }

    #[test]
    fn a_taken_name_is_marked_before_its_extension() {
        let marked = |text: &str| FilePath::parse(text).unwrap().marked("1f").0;
        assert_eq!(marked("/a/b.tar.gz"), "/a/b.tar-1f.gz");
        assert_eq!(marked("/.env"), "/.env-1f");
        assert_eq!(marked(&format!("/{}.txt", "x".repeat(251))).len(), 256);
        assert_eq!(marked(&format!("/a.{}", "x".repeat(253))), format!("/-1f.{}", "x".repeat(251)));
    }

    #[test]
    fn types_are_told_by_names() {
        assert_eq!(mime_type_of("notes.txt"), "text/plain");
        assert_eq!(mime_type_of("a.PNG"), "image/png");
        assert_eq!(mime_type_of("what"), "application/octet-stream");
        assert_eq!([extension_of("image/png"), extension_of("image/jpeg"), extension_of("x/y")], ["png", "jpg", "bin"]);
    }

    proptest! {
        #[test]
        fn a_marked_path_is_another_path_of_the_same_directory(
            directory in "(/[a-c]{1,200}){0,4}",
            stem in "[a-cé.]{0,200}",
            extension in "[a-zé]{0,253}",
        ) {
            if let Ok(path) = FilePath::parse(&format!("{directory}/{stem}.{extension}")) {
                let marked = path.marked("0123abcd");
                prop_assert_eq!(FilePath::parse(marked.as_str()), Ok(marked.clone()));
                prop_assert_ne!(&marked, &path);
                prop_assert_eq!(marked.as_str().rsplit_once('/').unwrap().0, directory);
                prop_assert!(marked.name().contains("-0123abcd"));
            }
        }

        #[test]
        fn reading_a_path_again_changes_nothing(text in "[a-c./é ]{0,40}") {
            if let Ok(path) = FilePath::parse(&text) {
                prop_assert_eq!(FilePath::parse(path.as_str()), Ok(path.clone()));
                prop_assert!(path.as_str().split('/').skip(1).all(|segment| !matches!(segment, "" | "." | "..")));
            }
        }
    }
}
