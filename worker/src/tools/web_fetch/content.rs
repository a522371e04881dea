//! What a page says it is, and its text by that.

use std::fmt;

use encoding_rs::{Encoding, UTF_8};

/// A `Content-Type`, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContentType {
    /// Lower case, without parameters; empty if nothing was said.
    essence: String,
    charset: Option<&'static Encoding>,
}

/// Types that are text although their name does not say so.
const TEXTS: [&str; 14] = [
    "json",
    "xml",
    "javascript",
    "x-javascript",
    "ecmascript",
    "yaml",
    "x-yaml",
    "toml",
    "graphql",
    "sql",
    "x-ndjson",
    "jsonl",
    "x-sh",
    "x-python",
];

/// A text of which no more than `limit` characters are left once it is written as JSON, and whether
/// it was cut: an answer that is too long as a whole is cut in its middle, and no JSON any more.
pub(super) fn fitting(mut text: String, limit: usize) -> (String, bool) {
    let mut left = limit;
    let end = text.char_indices().find_map(|(position, c)| {
        let cost = match c {
            '"' | '\\' | '\n' | '\r' | '\t' => 2,
            c if c.is_ascii_control() => 6,
            _ => 1,
        };
        match left.checked_sub(cost) {
            Some(rest) => {
                left = rest;
                None
            }
            None => Some(position),
        }
    });
    if let Some(end) = end {
        text.truncate(end);
    }
    (text, end.is_some())
}

impl ContentType {
    pub(super) fn parse(header: &str) -> Self {
        let mut pieces = header.split(';').map(str::trim);
        let essence = pieces.next().unwrap_or_default().to_ascii_lowercase();
        let charset = pieces.find_map(|piece| {
            let (name, value) = piece.split_once('=')?;
            name.trim().eq_ignore_ascii_case("charset").then_some(value)
        });
        let charset = charset.and_then(|label| Encoding::for_label(label.trim().trim_matches('"').as_bytes()));
        Self { essence, charset }
    }

    /// Nothing said counts as perhaps.
    pub(super) fn may_be_text(&self) -> bool {
        if self.essence.is_empty() {
            return true;
        }
        match self.essence.split_once('/') {
            Some(("text", _)) => true,
            Some(("application", kind)) => {
                TEXTS.contains(&kind) || ["+json", "+xml", "+yaml"].iter().any(|suffix| kind.ends_with(suffix))
            }
            _ => self.essence == "image/svg+xml",
        }
    }

    pub(super) fn is_html(&self) -> bool {
        matches!(self.essence.as_str(), "text/html" | "application/xhtml+xml")
    }

    /// The text, by a byte order mark, else by the header, else UTF-8. `None` if nothing was said
    /// and it is no text.
    pub(super) fn decode(&self, bytes: &[u8], is_cut: bool) -> Option<String> {
        if self.essence.is_empty() && bytes.contains(&0) {
            return None;
        }
        let (text, _, _) = self.charset.unwrap_or(UTF_8).decode(bytes);
        let mut text = text.into_owned();
        // The cut may have gone through a character.
        if is_cut && text.ends_with('\u{fffd}') {
            text.pop();
        }
        Some(text)
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.essence.is_empty() { "text/plain" } else { &self.essence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_known_by_its_type() {
        for text in
            ["text/html; charset=utf-8", "TEXT/CSV", "application/json", "application/ld+json", "image/svg+xml", ""]
        {
            assert!(ContentType::parse(text).may_be_text(), "{text}");
        }
        for other in
            ["image/png", "application/pdf", "application/octet-stream", "video/mp4", "application/zip", "nonsense"]
        {
            assert!(!ContentType::parse(other).may_be_text(), "{other}");
        }
        assert!(ContentType::parse("Text/HTML").is_html() && !ContentType::parse("text/plain").is_html());
    }

    #[test]
    fn a_text_is_cut_where_its_json_would_be_too_long() {
        assert_eq!(fitting("aé\n".into(), 4), ("aé\n".into(), false));
        assert_eq!(fitting("aé\nb".into(), 4), ("aé\n".into(), true));
        assert_eq!(fitting("\"\"\"".into(), 5), ("\"\"".into(), true));
    }

    #[test]
    fn the_header_says_how_the_bytes_are_read() {
        let decode = |header: &str, bytes: &[u8]| ContentType::parse(header).decode(bytes, false);
        assert_eq!(decode("text/plain; charset=ISO-8859-1", b"caf\xe9").unwrap(), "café");
        assert_eq!(decode("text/plain; a=b; Charset=\"shift_jis\"", b"\x83\x65").unwrap(), "テ");
        assert_eq!(decode("text/plain; charset=latin1", b"\xef\xbb\xbfcaf\xc3\xa9").unwrap(), "café");
        assert_eq!(decode("text/plain; charset=nonsense", "café".as_bytes()).unwrap(), "café");
        assert_eq!(decode("", b"a\0b"), None);
        assert_eq!(ContentType::parse("text/plain").decode(b"caf\xc3", true).unwrap(), "caf");
    }
}
