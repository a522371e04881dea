//! A conversation as a text to be summed up.

use copilot_shared::message::{HistoryMessage, Part, Role};

use super::tokens::text_of;

/// What a summary is made from at most, in characters (`usage-tools.md` §8.4). The newest is kept.
const LONGEST: usize = 100_000;

/// What one message contributes at most.
const LONGEST_MESSAGE: usize = 8_000;

/// Who said what, oldest first.
pub fn transcript(messages: &[HistoryMessage]) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut room = LONGEST;
    for message in messages.iter().rev() {
        let line = line(message);
        if line.is_empty() {
            continue;
        }
        let Some(left) = room.checked_sub(line.len()) else { break };
        room = left;
        lines.push(line);
    }
    lines.reverse();
    lines.concat()
}

fn line(message: &HistoryMessage) -> String {
    let speaker = match message.role {
        Role::User => "USER",
        Role::Assistant => "ASSISTANT",
        Role::Tool => "TOOL RESULT",
        Role::System => "EARLIER SUMMARY",
    };
    let said: Vec<String> = message.parts.iter().filter_map(said).collect();
    if said.is_empty() { String::new() } else { format!("{speaker}: {}\n\n", said.join("\n")) }
}

fn said(part: &Part) -> Option<String> {
    let text = match part {
        // Thoughts are long, and what came of them was said.
        Part::Reasoning { .. } | Part::Compaction { .. } => return None,
        Part::ToolCall { name, input, .. } => format!("[calls {name} with {input}]"),
        Part::Context { url, content } => format!("[looks at {url}: {content}]"),
        other @ (Part::Text { .. } | Part::ToolResult { .. } | Part::File { .. }) => text_of(other).into_owned(),
    };
    let text = super::truncate::middle_out(&text, LONGEST_MESSAGE);
    (!text.trim().is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use copilot_shared::id::ToolCallId;
    use serde_json::json;

    fn message(role: Role, text: &str) -> HistoryMessage {
        HistoryMessage { role, parts: vec![Part::Text { id: None, text: text.into() }] }
    }

    #[test]
    fn everybody_is_named_and_calls_are_shown_with_their_arguments() {
        let call = Part::ToolCall { id: ToolCallId("c".into()), name: "read".into(), input: json!({"path": "/a"}) };
        let messages = [
            message(Role::System, "before"),
            message(Role::User, "read it"),
            HistoryMessage { role: Role::Assistant, parts: vec![call] },
        ];
        let text = transcript(&messages);
        assert_eq!(
            text,
            "EARLIER SUMMARY: before\n\nUSER: read it\n\nASSISTANT: [calls read with {\"path\":\"/a\"}]\n\n"
        );
    }

    #[test]
    fn a_long_conversation_keeps_its_newest_part() {
        let mut messages = vec![message(Role::User, &"old ".repeat(2_000)); 30];
        messages.push(message(Role::User, "the newest"));
        let text = transcript(&messages);
        assert!(text.len() <= LONGEST && text.ends_with("USER: the newest\n\n"), "{}", text.len());
    }
}
