//! What a message tells of its files (`usage-tools.md` §5.4), and how much of them a model is shown.

use super::{Part, text_of};
use crate::workspace::{is_image, is_text};

/// Longer texts are not shown with the message, but left to `read_workspace_file`; in bytes.
pub const LONGEST_SHOWN_TEXT: usize = 32 << 10;

/// Larger pictures are not shown; in bytes.
pub const LARGEST_SHOWN_PICTURE: usize = 20 << 20;

/// What a picture costs a model, as bytes of text: providers scale large ones down.
const PICTURE_AS_TEXT: usize = 6_000;

/// The text of a message with the list of its files: what the model reads, and clients that know
/// of no parts.
pub fn told_text(parts: &[Part]) -> String {
    let lines: Vec<String> = parts.iter().filter_map(file_line).collect();
    let text = text_of(parts);
    if lines.is_empty() {
        return text;
    }
    let list = lines.join("\n");
    let told = format!(
        "{text}\n\n[Attached files]\n{list}\nUse read_workspace_file with the file_id to access file contents."
    );
    if text.is_empty() { told.trim_start().to_owned() } else { told }
}

/// What is told of a file; nothing of other parts.
pub fn file_line(part: &Part) -> Option<String> {
    let Part::File { id, name, mime_type, size_bytes } = part else { return None };
    Some(format!("- {name} ({mime_type}, {} KB), file_id={id}", kilobytes(*size_bytes)))
}

/// How much of a file a model is shown beside its line, as bytes of text.
pub fn shown_bytes(part: &Part) -> usize {
    let Part::File { mime_type, size_bytes, .. } = part else { return 0 };
    match usize::try_from(*size_bytes) {
        Ok(size) if is_image(mime_type) && size <= LARGEST_SHOWN_PICTURE => PICTURE_AS_TEXT,
        Ok(size) if is_text(mime_type) && size <= LONGEST_SHOWN_TEXT => size,
        _ => 0,
    }
}

/// To one place, half to even.
fn kilobytes(bytes: i64) -> String {
    // Exact below 2^53 bytes.
    #[expect(clippy::cast_precision_loss, reason = "no file is that large")]
    let kilobytes = bytes as f64 / 1024.0;
    format!("{kilobytes:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::FileId;
    use uuid::Uuid;

    fn text(text: &str) -> Part {
        Part::Text { id: None, text: text.into() }
    }

    fn file(name: &str, mime_type: &str, size_bytes: i64) -> Part {
        Part::File { id: FileId(Uuid::nil()), name: name.into(), mime_type: mime_type.into(), size_bytes }
    }

    /// `usage-tools.md`, appendix A4, and exact ties.
    #[test]
    fn kilobytes_have_one_place_half_to_even() {
        let known = [
            (0, "0.0"),
            (51, "0.0"),
            (52, "0.1"),
            (1024, "1.0"),
            (1075, "1.0"),
            (1076, "1.1"),
            (1536, "1.5"),
            (12_288, "12.0"),
            (1_048_576, "1024.0"),
            (256, "0.2"),
            (768, "0.8"),
            (1280, "1.2"),
        ];
        for (bytes, text) in known {
            assert_eq!(kilobytes(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn a_message_tells_of_its_files() {
        assert_eq!(told_text(&[text("Hi")]), "Hi");
        let id = Uuid::nil();
        let list = format!(
            "[Attached files]\n- a.txt (text/plain, 1.5 KB), file_id={id}\n- b.png (image/png, 12.0 KB), file_id={id}\n\
             Use read_workspace_file with the file_id to access file contents."
        );
        let files = [file("a.txt", "text/plain", 1536), file("b.png", "image/png", 12_288)];
        let with = |said: &str| told_text(&[&[text(said)], files.as_slice()].concat());
        assert_eq!(with(" Hi "), format!(" Hi \n\n{list}"), "what the user wrote stays as it is");
        assert_eq!(with(""), list);
        assert_eq!(told_text(&files), list);
    }

    #[test]
    fn a_model_is_shown_pictures_and_short_texts() {
        assert_eq!(shown_bytes(&file("a", "text/plain", 700)), 700);
        assert_eq!(shown_bytes(&file("a", "text/plain", 1 << 20)), 0);
        assert_eq!(shown_bytes(&file("a", "image/png", 1 << 20)), PICTURE_AS_TEXT);
        assert_eq!(shown_bytes(&file("a", "image/png", 21 << 20)), 0);
        assert_eq!(shown_bytes(&file("a", "application/pdf", 700)), 0);
        assert_eq!(shown_bytes(&text("long")), 0);
    }
}
