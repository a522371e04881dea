//! The beginning and the end of an output, however long it is.

use std::collections::VecDeque;

use copilot_shared::message::strip_controls;

/// What is kept of the beginning, and of the end, in bytes. Both outputs of a command, escaped as
/// JSON, must be within what a tool may answer.
const KEPT: usize = 10_000;

/// What was captured of an output.
#[derive(Debug, Default)]
pub(crate) struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
}

impl Capture {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let (head, rest) = bytes.split_at(bytes.len().min(KEPT - self.head.len()));
        self.head.extend_from_slice(head);
        let (_, last) = rest.split_at(rest.len().saturating_sub(KEPT));
        let excess = (self.tail.len() + last.len()).saturating_sub(KEPT);
        self.tail.drain(..excess);
        self.tail.extend(last);
    }

    /// All that there was, in bytes.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// What was kept as text, with a note of what is missing between.
    pub(crate) fn text(&self) -> String {
        let kept = u64::try_from(self.head.len() + self.tail.len()).unwrap_or(u64::MAX);
        let omitted = self.total - kept.min(self.total);
        let bytes = |bytes: &[u8]| strip_controls(&String::from_utf8_lossy(bytes));
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        if omitted == 0 {
            return bytes(&[self.head.as_slice(), &tail].concat());
        }
        // The cuts may have gone through characters.
        let head = bytes(&self.head);
        let tail = bytes(&tail);
        format!(
            "{}\n\n[... {omitted} bytes omitted ...]\n\n{}",
            head.trim_end_matches('\u{fffd}'),
            tail.trim_start_matches('\u{fffd}')
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_flood_is_cut_in_its_middle() {
        let mut capture = Capture::default();
        capture.push(b"begin ");
        for _ in 0..100 {
            capture.push("é".repeat(10_000).as_bytes());
        }
        capture.push(b" end");
        let text = capture.text();
        assert!(text.starts_with("begin é") && text.ends_with("é end") && text.contains("bytes omitted"));
        assert!(text.len() < 2 * KEPT + 100 && !text.contains('\u{fffd}'));
    }

    #[test]
    fn nonsense_is_replaced_and_controls_are_dropped() {
        let mut capture = Capture::default();
        capture.push(b"a\0b\x1b[31m\xff\n");
        assert_eq!(capture.text(), "ab[31m\u{fffd}\n");
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(pieces in prop::collection::vec("[a-z]{0,9000}", 0..8)) {
            let (mut whole, mut parts) = (Capture::default(), Capture::default());
            whole.push(pieces.concat().as_bytes());
            for piece in &pieces {
                parts.push(piece.as_bytes());
            }
            prop_assert_eq!(whole.text(), parts.text());
            if whole.total() <= 20_000 {
                prop_assert_eq!(whole.text(), pieces.concat());
            }
        }
    }
}
