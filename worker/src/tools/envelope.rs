//! Bounds on what a tool answers (`usage-tools.md` §6.4): longer outputs are shortened in the
//! middle, on character boundaries. Sizes are characters.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use super::{ToolContext, files};

/// Longer outputs are kept elsewhere and shown in part.
pub(super) const SPILL_CHARS: usize = 80_000;

/// How much of a spilled output is shown.
pub(super) const PREVIEW_CHARS: usize = 95_000;

/// No output is longer.
pub(super) const MAX_CHARS: usize = 100_000;

/// How long it may take to keep an output.
const KEEP_WITHIN: Duration = Duration::from_secs(20);

/// Base64 that is longer is replaced by a note.
const MAX_BASE64_CHARS: usize = 1_000;

/// Is an output too long to be shown as it is?
pub(super) fn is_long(text: &str) -> bool {
    // Bytes first: nearly every output is short, and then nothing is counted.
    text.len() > SPILL_CHARS && text.chars().count() > SPILL_CHARS
}

/// An output within bounds: a long one is kept in the workspace and shown in part, or if that is
/// not possible, shortened.
pub(super) async fn seal(context: &ToolContext, text: String) -> String {
    if !is_long(&text) || context.user_id.is_none() {
        return capped(text);
    }
    let path = format!("/tool-outputs/{}.json", context.call_id);
    match tokio::time::timeout(KEEP_WITHIN, files::keep(context, &path, &text)).await {
        Ok(Ok(path)) => return capped(wrapper(&text, path.as_str())),
        Ok(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "a long output could not be kept"),
        Err(_elapsed) => tracing::warn!("a long output could not be kept in time"),
    }
    capped(text)
}

/// The output within the hard limit.
pub(super) fn capped(text: String) -> String {
    middle_out(&text, MAX_CHARS).unwrap_or(text)
}

/// A text shortened to `limit` characters: head and tail, and how much is missing between them.
/// `None` if it fits.
pub(super) fn middle_out(text: &str, limit: usize) -> Option<String> {
    let total = text.chars().count();
    if total <= limit {
        return None;
    }
    // The note is ASCII, and no longer with the real number than with this one.
    let room = limit.saturating_sub(note(total).len());
    let head = room.div_ceil(2);
    let tail = room - head;
    let omitted = total - head - tail;
    let start = byte_at(text, head);
    let end = byte_at(text, total - tail);
    let mut short = String::with_capacity(start + text.len() - end + 64);
    short.push_str(text.get(..start).unwrap_or_default());
    short.push_str(&note(omitted));
    short.push_str(text.get(end..).unwrap_or_default());
    Some(short)
}

fn note(omitted: usize) -> String {
    format!("\n\n[… {omitted} characters omitted …]\n\n").replace('…', "...")
}

fn byte_at(text: &str, char: usize) -> usize {
    text.char_indices().nth(char).map_or(text.len(), |(position, _)| position)
}

/// Replaces base64 that nobody can read by a note of its size.
pub(super) fn without_base64(text: &str) -> Option<String> {
    let mut value: Value = serde_json::from_str(text).ok()?;
    let field = value.get_mut("content_base64")?;
    let length = field.as_str()?.len();
    if length <= MAX_BASE64_CHARS {
        return None;
    }
    *field = Value::String(format!("[{length} characters of base64, about {} bytes, left out]", length / 4 * 3));
    Some(value.to_string())
}

/// What is shown of an output that lies at `path` in full.
pub(super) fn wrapper(text: &str, path: &str) -> String {
    let total = text.chars().count();
    let shown = without_base64(text);
    let shown = shown.as_deref().unwrap_or(text);
    let preview = middle_out(shown, PREVIEW_CHARS);
    let preview = preview.as_deref().unwrap_or(shown);
    let mut wrapper =
        format!("<tool-output-truncated total_chars={total} path=\"{path}\">\n{preview}\n</tool-output-truncated>\n");
    let written = write!(
        wrapper,
        "The whole output is the file {path} of the workspace. Read parts of it with \
         read_workspace_file(path=\"{path}\", offset=<first character>, length=<characters>)."
    );
    debug_assert!(written.is_ok(), "writing into a String cannot fail");
    wrapper
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_outputs_stay_as_they_are() {
        assert_eq!(middle_out("abc", 3), None);
        assert_eq!(capped("é".repeat(MAX_CHARS)).chars().count(), MAX_CHARS);
        assert!(!is_long(&"é".repeat(SPILL_CHARS)));
        assert!(is_long(&"é".repeat(SPILL_CHARS + 1)));
    }

    #[test]
    fn base64_gives_way_to_a_note() {
        let long = format!("{{\"content_base64\":\"{}\",\"type\":\"x\"}}", "A".repeat(2000));
        let short = without_base64(&long).unwrap();
        assert!(short.contains("2000 characters of base64") && !short.contains("AAAA"));
        assert_eq!(without_base64("{\"content_base64\":\"AAAA\"}"), None);
        assert_eq!(without_base64("no json"), None);
    }

    #[test]
    fn a_wrapped_output_says_where_the_whole_is_and_is_within_the_limit() {
        let wrapped = wrapper(&"x".repeat(200_000), "/sessions/s/tool-outputs/c.json");
        assert!(
            wrapped.starts_with("<tool-output-truncated total_chars=200000 path=\"/sessions/s/tool-outputs/c.json\">")
        );
        assert!(wrapped.contains("read_workspace_file"));
        assert!(wrapped.chars().count() <= MAX_CHARS);
    }

    proptest! {
        #[test]
        fn head_and_tail_are_kept_and_the_limit_holds(text in "[aé😀\n]{0,400}", limit in 60_usize..300) {
            match middle_out(&text, limit) {
                None => prop_assert!(text.chars().count() <= limit),
                Some(short) => {
                    prop_assert!(short.chars().count() <= limit);
                    let (head, rest) = short.split_once("\n\n[... ").unwrap();
                    let (omitted, tail) = rest.split_once(" characters omitted ...]\n\n").unwrap();
                    prop_assert!(text.starts_with(head) && text.ends_with(tail));
                    let shown = head.chars().count() + tail.chars().count();
                    prop_assert_eq!(omitted.parse::<usize>().unwrap() + shown, text.chars().count());
                }
            }
        }
    }
}
