//! Reads the files of the conversation for a model call: pictures for models that can see, short
//! texts for all. They are read anew for each call, so that a long turn does not keep them.
//!
//! What cannot be read is left out: the message says of each file where it can be had, and the turn
//! goes on.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use copilot_shared::id::{FileId, UserId};
use copilot_shared::message::{HistoryMessage, LARGEST_SHOWN_PICTURE, LONGEST_SHOWN_TEXT, Part, Role, shown_bytes};
use copilot_shared::workspace::{File, Workspaces, is_image, is_text};

use crate::model::files::{AttachedFile, AttachedFiles, Image};

/// Bytes of all texts of a call; the newest come first.
const MAX_TEXTS: usize = 128 << 10;
/// How long all of it may take.
const READ_WITHIN: Duration = Duration::from_secs(20);

/// Can the model see?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// It takes pictures of up to so many bytes each, and so many in a call; the newest come first.
    Seeing {
        /// Bytes of one.
        largest: usize,
        /// Bytes of all.
        together: usize,
    },
    /// It takes text alone.
    Blind,
}

impl Sight {
    /// What OpenAI takes, and most others.
    pub const GOOD: Self = Self::Seeing { largest: LARGEST_SHOWN_PICTURE, together: 24 << 20 };
    /// What Anthropic takes: 5 MiB each and 32 MB in all, both in base64.
    pub const FAIR: Self = Self::Seeing { largest: (5 << 20) / 4 * 3, together: 20 << 20 };

    fn pictures(self) -> (usize, usize) {
        match self {
            Self::Seeing { largest, together } => (largest, together),
            Self::Blind => (0, 0),
        }
    }
}

/// The files of the conversation that the model is shown.
pub(super) async fn read(
    workspaces: &Workspaces,
    user: Option<&UserId>,
    history: &[HistoryMessage],
    sight: Sight,
) -> AttachedFiles {
    let ids = newest_first(history);
    let Some(user) = user.filter(|_| !ids.is_empty()) else { return AttachedFiles::default() };
    let mut shown = Vec::new();
    let reading = async {
        let files = match workspaces.find_all(user, &ids).await {
            Ok(files) => files,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "attached files could not be looked up");
                return;
            }
        };
        for (file, kind) in select(files, sight) {
            shown.extend(read_one(workspaces, &file, kind).await.map(|read| (file.id, read)));
        }
    };
    if tokio::time::timeout(READ_WITHIN, reading).await.is_err() {
        tracing::warn!("attached files could not be read in time");
    }
    shown.into_iter().collect()
}

fn newest_first(history: &[HistoryMessage]) -> Vec<FileId> {
    let said = history.iter().rev().filter(|message| message.role == Role::User);
    let ids = said.flat_map(|message| &message.parts).filter_map(|part| match part {
        Part::File { id, .. } => Some(*id),
        _ => None,
    });
    ids.collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Image,
    Text,
}

/// What may still be shown.
struct Left {
    largest_image: usize,
    images: usize,
    texts: usize,
}

impl Left {
    fn of(sight: Sight) -> Self {
        let (largest_image, images) = sight.pictures();
        Self { largest_image, images, texts: MAX_TEXTS }
    }

    /// How a file is shown, if it is: what is too much is left out.
    fn take(&mut self, mime_type: &str, size_bytes: i64) -> Option<Kind> {
        let size = usize::try_from(size_bytes).unwrap_or(usize::MAX);
        let (kind, longest, left) = if self.images > 0 && is_image(mime_type) {
            (Kind::Image, self.largest_image, &mut self.images)
        } else if is_text(mime_type) {
            (Kind::Text, LONGEST_SHOWN_TEXT, &mut self.texts)
        } else {
            return None;
        };
        if size > longest || size > *left {
            return None;
        }
        *left -= size;
        Some(kind)
    }
}

/// Those of the files that are shown, within the bounds.
fn select(files: Vec<File>, sight: Sight) -> Vec<(File, Kind)> {
    let mut left = Left::of(sight);
    let kind = |file: File| left.take(&file.mime_type, file.size_bytes).map(|kind| (file, kind));
    files.into_iter().filter_map(kind).collect()
}

/// What the files of a conversation take of the model's window, as bytes of text.
pub(super) fn weight(history: &[HistoryMessage], sight: Sight) -> usize {
    let mut left = Left::of(sight);
    let said = history.iter().rev().filter(|message| message.role == Role::User);
    let weigh = |part: &Part| match part {
        Part::File { mime_type, size_bytes, .. } if left.take(mime_type, *size_bytes).is_some() => shown_bytes(part),
        _ => 0,
    };
    said.flat_map(|message| &message.parts).map(weigh).sum()
}

/// Is the model shown any?
pub(super) fn has_pictures(history: &[HistoryMessage], sight: Sight) -> bool {
    let mut left = Left::of(sight);
    let mut parts = history.iter().filter(|message| message.role == Role::User).flat_map(|message| &message.parts);
    parts.any(|part| match part {
        Part::File { mime_type, size_bytes, .. } => left.take(mime_type, *size_bytes) == Some(Kind::Image),
        _ => false,
    })
}

async fn read_one(workspaces: &Workspaces, file: &File, kind: Kind) -> Option<AttachedFile> {
    let read = workspaces.read_whole(file, LARGEST_SHOWN_PICTURE).await;
    let bytes = match read {
        Ok(bytes) => bytes?,
        Err(error) => {
            tracing::warn!(file.id = %file.id, error = &error as &dyn std::error::Error, "an attached file could not be read");
            return None;
        }
    };
    Some(match kind {
        Kind::Image => {
            let mime_type = picture_type(&bytes)?.to_owned();
            AttachedFile::Image(Image { mime_type, base64: STANDARD.encode(&bytes) })
        }
        Kind::Text => AttachedFile::Text(String::from_utf8_lossy(&bytes).into_owned()),
    })
}

/// What a picture is by its first bytes, if it is one that models take. Its name may say something else,
/// and a provider refuses the whole conversation for it, now and ever after.
fn picture_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use copilot_shared::blobs::BlobKey;
    use copilot_shared::id::WorkspaceId;
    use copilot_shared::workspace::{FilePath, mime_type_of};

    fn file(name: &str, size: usize) -> File {
        File {
            id: FileId::generate(),
            name: name.into(),
            path: FilePath::parse(name).unwrap(),
            mime_type: mime_type_of(name),
            size_bytes: i64::try_from(size).unwrap(),
            checksum: [0; 32],
            created_at: chrono::Utc::now(),
            blob: BlobKey::new(WorkspaceId::generate(), uuid::Uuid::nil()),
        }
    }

    fn names(files: Vec<File>, sight: Sight) -> Vec<String> {
        select(files, sight).into_iter().map(|(file, _)| file.name).collect()
    }

    #[test]
    fn pictures_are_for_those_who_see_and_short_texts_for_all() {
        let files =
            || vec![file("a.png", 10), file("b.txt", 10), file("c.pdf", 10), file("d.svg", 10), file("e.json", 10)];
        assert_eq!(names(files(), Sight::GOOD), ["a.png", "b.txt", "e.json"]);
        assert_eq!(names(files(), Sight::Blind), ["b.txt", "e.json"]);
    }

    #[test]
    fn a_picture_is_what_its_first_bytes_say() {
        assert_eq!(picture_type(b"\x89PNG\r\n\x1a\n...."), Some("image/png"));
        assert_eq!(picture_type(b"\xff\xd8\xff\xe0...."), Some("image/jpeg"));
        assert_eq!(picture_type(b"GIF89a...."), Some("image/gif"));
        assert_eq!(picture_type(b"RIFF\0\0\0\0WEBPVP8 "), Some("image/webp"));
        for none in [b"".as_slice(), b"<svg/>", b"RIFF\0\0\0\0WAVE", b"\x89PN"] {
            assert_eq!(picture_type(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_provider_that_takes_smaller_pictures_is_shown_smaller_ones() {
        let files = || vec![file("small.png", 3 << 20), file("large.png", 4 << 20)];
        assert_eq!(names(files(), Sight::FAIR), ["small.png"]);
        assert_eq!(names(files(), Sight::GOOD), ["small.png", "large.png"]);
    }

    #[test]
    fn what_is_shown_has_a_weight_and_no_more() {
        let said = |name: &str, size: usize| {
            let File { id, name, mime_type, size_bytes, .. } = file(name, size);
            HistoryMessage { role: Role::User, parts: vec![Part::File { id, name, mime_type, size_bytes }] }
        };
        let picture = weight(&[said("a.png", 1 << 20)], Sight::GOOD);
        assert!((1_000..20_000).contains(&picture), "as a model counts it, not its bytes: {picture}");
        assert_eq!(weight(&[said("a.png", 1 << 20)], Sight::Blind), 0);
        let texts = vec![said("a.txt", 30_000); 10];
        assert_eq!(weight(&texts[..2], Sight::Blind), 60_000);
        assert_eq!(weight(&texts, Sight::Blind), 120_000, "no more are shown");
        assert_eq!(weight(&[said("a.pdf", 30_000)], Sight::GOOD), 0);
    }

    #[test]
    fn what_is_too_much_is_left_out_and_the_newest_comes_first() {
        let files =
            vec![file("new.png", 15 << 20), file("big.png", 21 << 20), file("old.png", 15 << 20), file("small.png", 1)];
        assert_eq!(names(files, Sight::GOOD), ["new.png", "small.png"]);
        assert!(names(vec![file("long.txt", LONGEST_SHOWN_TEXT + 1)], Sight::GOOD).is_empty());
    }
}
