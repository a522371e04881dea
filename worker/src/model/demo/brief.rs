//! The small tasks that the system itself gives: a title, a summary, suggestions. They are recognised by how
//! their system prompt begins, and never play a script that the conversation holds.

use copilot_shared::message::{HistoryMessage, Role, text_of};

use super::recall::quoted;
use super::script::Script;

const TITLE: &str = "write a title";
const SUMMARY: &str = "write a summary";
const SUGGESTIONS: &str = "write suggestions";
const MAX_TITLE_WORDS: usize = 6;
const MIN_TITLE_WORDS: usize = 3;

/// The answer to a task of the system; `None` for a conversation.
pub(super) fn answer(system: &str, messages: &[HistoryMessage]) -> Option<String> {
    let begins = |task: &str| system.get(..task.len()).is_some_and(|head| head.eq_ignore_ascii_case(task));
    if begins(TITLE) {
        let first = messages.iter().find(|message| message.role == Role::User);
        return Some(title(&first.map(|message| text_of(&message.parts)).unwrap_or_default()));
    }
    if begins(SUGGESTIONS) {
        return Some(suggestions(messages));
    }
    begins(SUMMARY).then(|| summary(messages))
}

/// A suggestion of each kind, around the first thing that the notes tell.
fn suggestions(messages: &[HistoryMessage]) -> String {
    let notes = messages.first().map(|message| text_of(&message.parts)).unwrap_or_default();
    let fact = notes.lines().find_map(|line| line.trim_start().strip_prefix("- ")).unwrap_or("my work");
    serde_json::json!({
        "Learn": [format!("What should I know about this: {fact}?")],
        "Create": [format!("Write a page about this: {fact}.")],
        "Automate": ["List what could be done for me every day."],
        "Organize": ["List my files by what they are for."],
    })
    .to_string()
}

fn title(message: &str) -> String {
    let text = Script::parse(message).rest;
    let words: Vec<&str> = text
        .split_whitespace()
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()))
        .filter(|word| !word.is_empty())
        .take(MAX_TITLE_WORDS)
        .collect();
    match words.len() {
        0 => "Trying the demo model".into(),
        n if n < MIN_TITLE_WORDS => format!("A chat about {}", words.join(" ")),
        _ => words.join(" "),
    }
}

fn summary(messages: &[HistoryMessage]) -> String {
    let lines = messages.iter().filter_map(|message| {
        let speaker = match message.role {
            Role::User => "The user said",
            Role::Assistant => "The assistant said",
            Role::Tool | Role::System => return None,
        };
        let text = text_of(&message.parts);
        (!text.trim().is_empty()).then(|| format!("- {speaker}: {}", quoted(&text)))
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_made_of_the_first_words() {
        assert_eq!(title("How do I *bake* bread with rye and spelt?"), "How do I bake bread with");
        assert_eq!(title("Hello!"), "A chat about Hello");
        assert_eq!(title("demo:error=fatal demo:hang"), "Trying the demo model");
        assert_eq!(title("demo:tool=t,args={\"a\":1} please be quick"), "please be quick");
    }
}
