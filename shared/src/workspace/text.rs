//! Which files are text or pictures, and parts of long texts.

use bytes::Bytes;

/// The types that models and people read as text.
pub fn is_text(mime_type: &str) -> bool {
    let essence = mime_type.split(';').next().unwrap_or_default().trim();
    essence.starts_with("text/")
        || matches!(
            essence,
            "application/json"
                | "application/xml"
                | "application/javascript"
                | "application/x-python"
                | "application/x-sh"
        )
}

/// The pictures that models can see.
pub fn is_image(mime_type: &str) -> bool {
    matches!(mime_type, "image/png" | "image/jpeg" | "image/gif" | "image/webp")
}

/// Takes a range of characters out of a text that comes in pieces, wherever those are cut.
#[derive(Debug)]
pub struct TextRange {
    skip: u64,
    want: u64,
    max_bytes: usize,
    pending: Vec<u8>,
    taken: String,
    seen: u64,
    is_cut: bool,
}

impl TextRange {
    /// `length` characters from `offset` on, but no more than `max_bytes` bytes of them.
    pub fn new(offset: u64, length: u64, max_bytes: usize) -> Self {
        Self {
            skip: offset,
            want: length,
            max_bytes,
            pending: Vec::new(),
            taken: String::new(),
            seen: 0,
            is_cut: false,
        }
    }

    /// Takes the next piece.
    pub fn feed(&mut self, piece: &Bytes) {
        self.pending.extend_from_slice(piece);
        let mut bytes = std::mem::take(&mut self.pending);
        // A character that is cut at the end waits for the rest; what is no text is replaced.
        let keep = incomplete_tail(&bytes);
        self.pending = bytes.split_off(bytes.len() - keep);
        self.take(&String::from_utf8_lossy(&bytes));
    }

    /// The characters of the range, how many the whole text has, and whether the bound on bytes
    /// left some out.
    pub fn finish(mut self) -> (String, u64, bool) {
        let rest = std::mem::take(&mut self.pending);
        self.take(&String::from_utf8_lossy(&rest));
        (self.taken, self.seen, self.is_cut)
    }

    fn take(&mut self, text: &str) {
        for character in text.chars() {
            let wanted = self.seen >= self.skip && self.seen - self.skip < self.want && !self.is_cut;
            self.seen += 1;
            if !wanted {
                continue;
            }
            if self.taken.len() + character.len_utf8() > self.max_bytes {
                self.is_cut = true;
            } else {
                self.taken.push(character);
            }
        }
    }
}

/// How many bytes at the end begin a character and do not complete it.
fn incomplete_tail(bytes: &[u8]) -> usize {
    for (back, byte) in bytes.iter().rev().take(3).enumerate() {
        let length = match byte {
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            _ => 1,
        };
        return if length > back + 1 { back + 1 } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_and_pictures_are_known() {
        assert!(is_text("text/markdown; charset=utf-8") && is_text("application/json") && !is_text("application/pdf"));
        assert!(is_image("image/webp") && !is_image("image/svg+xml"));
    }

    #[test]
    fn what_is_no_text_is_replaced_and_the_bound_holds() {
        let mut range = TextRange::new(0, 10, 100);
        range.feed(&Bytes::from_static(&[b'a', 0xff, b'b', 0xe2, 0x82]));
        assert_eq!(range.finish(), ("a\u{fffd}b\u{fffd}".into(), 4, false));
        let mut range = TextRange::new(0, 10, 3);
        range.feed(&Bytes::from_static("éé".as_bytes()));
        assert_eq!(range.finish(), ("é".into(), 2, true));
    }

    proptest! {
        #[test]
        fn it_is_the_same_however_the_text_is_cut(
            text in "[aé€😀]{0,40}", cut in 1_usize..7, offset in 0_u64..45, length in 0_u64..45,
        ) {
            let mut range = TextRange::new(offset, length, 1000);
            for piece in text.as_bytes().chunks(cut) {
                range.feed(&Bytes::copy_from_slice(piece));
            }
            let (taken, total, _) = range.finish();
            let expected: String =
                text.chars().skip(usize::try_from(offset).unwrap()).take(usize::try_from(length).unwrap()).collect();
            prop_assert_eq!(taken, expected);
            prop_assert_eq!(total, text.chars().count() as u64);
        }
    }
}
