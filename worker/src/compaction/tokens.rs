//! How long a conversation is, in tokens.

use std::sync::OnceLock;

use copilot_shared::message::{HistoryMessage, Part, ToolOutcome, file_line};
use tiktoken_rs::CoreBPE;

/// What a message costs beside its text: its role and its frame.
const PER_MESSAGE: usize = 4;

/// No text of a language has more tokens than this for its bytes. Below it nothing needs counting,
/// and the tokenizer's tables, some 50 MB, stay unread.
const BYTES_PER_TOKEN_AT_LEAST: usize = 2;

/// Texts are counted in pieces of so many bytes. The tokenizer takes a time that grows with the square
/// of a word's length, and stack that grows with a gap's, and both may be a stranger's. A cut costs a
/// token at most.
const PIECE_BYTES: usize = 500;

/// The tokens of a text, as the o200k vocabulary counts them. Other models differ by some percent.
pub fn tokens_in(text: &str) -> usize {
    static TOKENIZER: OnceLock<Option<CoreBPE>> = OnceLock::new();
    let tokenizer = TOKENIZER.get_or_init(|| {
        tiktoken_rs::o200k_base()
            .inspect_err(|error| tracing::error!(%error, "the tokenizer cannot be read; lengths are estimates"))
            .ok()
    });
    match tokenizer {
        Some(tokenizer) => pieces(text).map(|piece| tokenizer.encode_ordinary(piece).len()).sum(),
        None => text.len().div_ceil(BYTES_PER_TOKEN_AT_LEAST),
    }
}

fn pieces(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let (piece, rest) = text.split_at_checked(text.floor_char_boundary(PIECE_BYTES))?;
        text = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// The bytes of a message.
pub fn bytes(message: &HistoryMessage) -> usize {
    message.parts.iter().map(|part| text_of(part).len()).sum()
}

/// The tokens of a message.
pub fn length(message: &HistoryMessage) -> usize {
    PER_MESSAGE + message.parts.iter().map(|part| tokens_in(&text_of(part))).sum::<usize>()
}

/// Counts a conversation that only grows at its end, each message once.
#[derive(Debug, Clone, Default)]
pub struct Gauge {
    bytes: usize,
    tokens: usize,
    counted: usize,
}

impl Gauge {
    /// Are they so short that nothing needs to be counted?
    pub fn surely_within(messages: &[HistoryMessage], overhead: usize, budget: usize) -> bool {
        Self::is_short(messages.iter().map(bytes).sum::<usize>() + overhead, budget)
    }

    fn is_short(bytes: usize, budget: usize) -> bool {
        bytes <= budget * BYTES_PER_TOKEN_AT_LEAST
    }

    /// Are these messages, and `overhead` bytes beside them, longer than so many tokens?
    pub fn exceeds(&mut self, messages: &[HistoryMessage], overhead: usize, budget: usize) -> bool {
        let bytes: usize = messages.iter().map(bytes).sum();
        if Self::is_short(bytes + overhead, budget) {
            return false;
        }
        if messages.len() < self.counted || bytes < self.bytes {
            *self = Self::default();
        }
        for message in messages.iter().skip(self.counted) {
            self.tokens += length(message);
        }
        self.counted = messages.len();
        self.bytes = bytes;
        self.tokens + overhead / BYTES_PER_TOKEN_AT_LEAST / 2 > budget
    }
}

/// What of a part reaches the model as text.
pub(super) fn text_of(part: &Part) -> std::borrow::Cow<'_, str> {
    match part {
        Part::Text { text, .. }
        | Part::Reasoning { text, .. }
        | Part::ToolResult { outcome: ToolOutcome::Error(text), .. } => text.into(),
        Part::ToolCall { input, .. } => input.to_string().into(),
        Part::ToolResult { outcome: ToolOutcome::Output(output), .. } => match output.as_str() {
            Some(text) => text.into(),
            None => output.to_string().into(),
        },
        Part::Context { content, .. } => content.into(),
        Part::File { .. } => file_line(part).unwrap_or_default().into(),
        Part::Compaction { .. } => "".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use copilot_shared::message::Role;

    fn message(text: &str) -> HistoryMessage {
        HistoryMessage { role: Role::User, parts: vec![Part::Text { id: None, text: text.into() }] }
    }

    #[test]
    fn tokens_are_those_of_the_vocabulary() {
        assert_eq!(tokens_in("The quick brown fox jumps over the lazy dog."), 10);
        assert_eq!(tokens_in(""), 0);
    }

    #[test]
    fn a_long_text_is_counted_in_pieces_that_lose_nothing() {
        let text = "héllo wörld ".repeat(1_000);
        assert_eq!(pieces(&text).collect::<String>(), text);
        assert!(pieces(&text).all(|piece| piece.len() <= PIECE_BYTES));
        let prose = "The quick brown fox jumps over the lazy dog. ".repeat(400);
        let (counted, expected) = (tokens_in(&prose), 400 * 10);
        assert!(counted.abs_diff(expected) < expected / 50, "{counted}");
    }

    /// Each of them kept a thread for minutes, or broke the tokenizer.
    #[test]
    fn a_word_without_end_and_a_gap_without_end_are_counted_in_no_time() {
        let began = std::time::Instant::now();
        assert!(tokens_in(&"a".repeat(200_000)) > 10_000);
        assert!(tokens_in(&" ".repeat(1_040_000)) > 1_000);
        assert!(began.elapsed() < std::time::Duration::from_secs(30), "{:?}", began.elapsed());
    }

    #[test]
    fn each_message_is_counted_once_and_a_shorter_conversation_anew() {
        let long = "word ".repeat(1_000);
        let mut gauge = Gauge::default();
        let mut messages = vec![message(&long); 3];
        assert!(!gauge.exceeds(&messages, 0, 4_000));
        assert_eq!(gauge.counted, 3, "the bytes alone did not say");
        messages.push(message(&long));
        assert!(gauge.exceeds(&messages, 0, 4_000));
        messages.truncate(1);
        assert!(!gauge.exceeds(&messages, 0, 1_200));
    }

    #[test]
    fn a_short_conversation_is_not_counted_at_all() {
        let mut gauge = Gauge::default();
        assert!(!gauge.exceeds(&[message("hello")], 100, 1_000));
        assert_eq!(gauge.counted, 0);
    }
}
