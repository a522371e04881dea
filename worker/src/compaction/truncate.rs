//! The last resort: long texts lose their middle, then the oldest exchanges go.

use copilot_shared::message::{HistoryMessage, Part, Role, ToolOutcome};
use serde_json::Value;

use super::tokens::{text_of, tokens_in};

/// How long one message may be, in tokens, tried one after the other (`usage-tools.md` §8.4).
const CAPS: [usize; 7] = [8_192, 4_096, 2_048, 1_024, 512, 256, 128];

/// Characters of a token, as a rule.
const CHARS_PER_TOKEN: usize = 4;

/// The conversation cut down to a budget of tokens. A tool result is never without its call. The
/// newest message of the user is the last to be touched, and is never dropped.
pub fn truncate(messages: Vec<HistoryMessage>, budget: usize) -> Vec<HistoryMessage> {
    Cut::new(messages, tokens_in).down_to(budget)
}

/// A conversation, each message with its length, counted again only where it changed.
struct Cut<F> {
    messages: Vec<(usize, HistoryMessage)>,
    count: F,
}

impl<F: Fn(&str) -> usize> Cut<F> {
    fn new(messages: Vec<HistoryMessage>, count: F) -> Self {
        let messages = messages.into_iter().map(|message| (length(&message, &count), message)).collect();
        Self { messages, count }
    }

    fn down_to(mut self, budget: usize) -> Vec<HistoryMessage> {
        for cap in CAPS {
            if self.total() <= budget {
                break;
            }
            self.shorten_to(cap);
        }
        while self.total() > budget && self.drop_oldest() {}
        self.messages.into_iter().map(|(_, message)| message).collect()
    }

    fn total(&self) -> usize {
        self.messages.iter().map(|(length, _)| length).sum()
    }

    fn newest_of_user(&self) -> Option<usize> {
        self.messages.iter().rposition(|(_, message)| message.role == Role::User)
    }

    fn shorten_to(&mut self, cap: usize) {
        let newest = self.newest_of_user();
        for (index, (long, message)) in self.messages.iter_mut().enumerate() {
            if Some(index) != newest && *long > cap {
                message.parts.iter_mut().for_each(|part| shorten(part, cap * CHARS_PER_TOKEN));
                *long = length(message, &self.count);
            }
        }
    }

    /// Drops the oldest exchange: a message, and the tool results that belong to it. False if
    /// nothing may go.
    fn drop_oldest(&mut self) -> bool {
        let newest = self.newest_of_user();
        let may_go = |(index, (_, message)): &(usize, &(usize, HistoryMessage))| {
            Some(*index) != newest && message.role != Role::System
        };
        let Some((first, _)) = self.messages.iter().enumerate().find(may_go) else { return false };
        let behind = self.messages.iter().skip(first + 1);
        let results = behind.take_while(|(_, message)| message.role == Role::Tool).count();
        self.messages.drain(first..=first + results);
        true
    }
}

fn length(message: &HistoryMessage, count: impl Fn(&str) -> usize) -> usize {
    message.parts.iter().map(|part| count(&text_of(part))).sum()
}

fn shorten(part: &mut Part, longest: usize) {
    match part {
        Part::Text { text, .. } => *text = middle_out(text, longest),
        Part::Context { content, .. } => *content = middle_out(content, longest),
        Part::ToolResult { outcome, .. } => {
            let text = match &*outcome {
                ToolOutcome::Output(Value::String(text)) | ToolOutcome::Error(text) => middle_out(text, longest),
                ToolOutcome::Output(value) => middle_out(&value.to_string(), longest),
            };
            *outcome = match outcome {
                ToolOutcome::Output(_) => ToolOutcome::Output(Value::String(text)),
                ToolOutcome::Error(_) => ToolOutcome::Error(text),
            };
        }
        // A provider refuses a thought that is not the one it signed, and arguments that are no JSON.
        Part::Reasoning { .. } | Part::ToolCall { .. } | Part::Compaction { .. } | Part::File { .. } => {}
    }
}

/// A text without its middle, if it is longer than so many characters.
pub(super) fn middle_out(text: &str, longest: usize) -> String {
    let count = text.chars().count();
    if count <= longest {
        return text.to_owned();
    }
    let head: String = text.chars().take(longest / 2).collect();
    let tail: String = text.chars().skip(count - longest / 2).collect();
    format!("{head}\n[… {} characters left out …]\n{tail}", count - longest / 2 * 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use copilot_shared::id::ToolCallId;
    use proptest::prelude::*;
    use serde_json::json;

    fn text(role: Role, text: &str) -> HistoryMessage {
        HistoryMessage { role, parts: vec![Part::Text { id: None, text: text.into() }] }
    }

    fn call(id: &str) -> HistoryMessage {
        let part = Part::ToolCall { id: ToolCallId(id.into()), name: "t".into(), input: json!({}) };
        HistoryMessage { role: Role::Assistant, parts: vec![part] }
    }

    fn result(id: &str, output: &str) -> HistoryMessage {
        let outcome = ToolOutcome::Output(json!(output));
        HistoryMessage {
            role: Role::Tool,
            parts: vec![Part::ToolResult { id: ToolCallId(id.into()), name: "t".into(), outcome }],
        }
    }

    #[test]
    fn long_outputs_lose_their_middle_before_anything_is_dropped() {
        let messages =
            vec![text(Role::User, "q"), call("c"), result("c", &"word ".repeat(20_000)), text(Role::User, "now")];
        let cut = truncate(messages, 9_000);
        assert_eq!(cut.len(), 4);
        assert!(cut.iter().map(|message| length(message, tokens_in)).sum::<usize>() <= 9_000);
        assert!(text_of(&cut[2].parts[0]).contains("characters left out"));
    }

    #[test]
    fn what_fits_is_left_alone() {
        let messages = vec![text(Role::User, "q"), call("c"), result("c", "r")];
        assert_eq!(truncate(messages.clone(), 1_000), messages);
    }

    proptest! {
        #[test]
        fn no_result_is_without_its_call_and_the_question_stays(
            exchanges in prop::collection::vec((1..400_usize, 0..3_usize), 1..30),
            budget in 50..3_000_usize,
        ) {
            let mut messages = Vec::new();
            for (index, (size, calls)) in exchanges.iter().enumerate() {
                messages.push(text(Role::User, &"word ".repeat(*size)));
                for n in 0..*calls {
                    messages.push(call(&format!("{index}-{n}")));
                    messages.push(result(&format!("{index}-{n}"), &"out ".repeat(*size)));
                }
            }
            messages.push(text(Role::User, "the question"));
            let words = |text: &str| text.split_whitespace().count();
            let cut = Cut::new(messages, words).down_to(budget);
            prop_assert_eq!(text_of(&cut.last().unwrap().parts[0]).into_owned(), "the question");
            prop_assert!(cut.iter().map(|message| length(message, words)).sum::<usize>() <= budget);
            for (index, message) in cut.iter().enumerate() {
                if message.role == Role::Tool {
                    prop_assert!(matches!(cut[index - 1].role, Role::Assistant | Role::Tool));
                }
            }
        }
    }
}
