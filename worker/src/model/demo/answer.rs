//! What the embedded model says when nothing but words is asked of it.

use copilot_shared::tool::ToolSpec;

use super::Scene;
use super::recall::{facts, plain, quoted, recall};
use super::wish::examples;

const MAX_COUNT: u32 = 1000;
const MAX_CONTEXT_CHARS: usize = 400;

const INTRODUCTION: &str = "I am the demo model that is built into this server: I need no key and no network. I \
    remember this conversation (ask me what you said first), I can count, tell a story and think.";
const TOOLS: &str = "I call tools when you ask for it:";
const ADVICE: &str = "Set CHAT_MODEL and an API key to talk to a real model.";
const STORY: &str = "There was once a message that wanted to reach its reader. It was written down twice, so that no \
    fire could take it, and handed to a messenger. The messenger fell asleep under a tree. Another one found the \
    letter, read how far it had been told, and went on from the very next word. When the reader asked who had brought \
    it, both said: it brought itself. And so it did, for it had been written well. The end.";

/// The answer in plain words.
pub(super) fn answer(scene: &Scene<'_>) -> String {
    let question = plain(&scene.question);
    known(scene, &question)
        .or_else(|| about_the_page(scene, &question))
        .or_else(|| recall(scene))
        .or_else(|| introduced(scene))
        .unwrap_or_else(|| otherwise(scene))
}

/// A thought before the answer, where the user asks for one.
pub(super) fn thought(question: &str) -> Option<String> {
    let lower = plain(question);
    let asked = ["think", "step by step", "reason about"].iter().any(|word| lower.contains(word));
    asked.then(|| {
        format!(
            "The user asks: {} Let me look at the conversation first, then at what I can do, and then answer. ",
            quoted(question)
        )
    })
}

fn known(scene: &Scene<'_>, question: &str) -> Option<String> {
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| question.contains(phrase));
    let words: Vec<&str> = question.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    if has(&["what can you do", "who are you", "what are you"]) || words == ["help"] {
        return Some(help(scene.tools));
    }
    if let Some((_, rest)) = question.split_once("count to ") {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let end = digits.parse::<u32>().ok()?.min(MAX_COUNT);
        let numbers: Vec<String> = (1..=end).map(|n| n.to_string()).collect();
        return Some(numbers.join(", "));
    }
    if let Some(text) = repeated(&scene.question, question) {
        return Some(text);
    }
    if has(&["tell me a story", "write a story", "tell a story"]) {
        return Some(STORY.into());
    }
    match words.as_slice() {
        ["thanks" | "thank", ..] => Some("You are welcome.".into()),
        ["hello" | "hi" | "hey"] | ["hello" | "hi" | "hey", "there"] => {
            Some("Hello! I am the demo model. Ask me what I can do.".into())
        }
        _ => None,
    }
}

/// What it can do here.
fn help(tools: &[ToolSpec]) -> String {
    let examples: Vec<String> = examples(tools).map(|words| format!("- “{words}”")).collect();
    let tools = (!examples.is_empty()).then(|| format!("{TOOLS}\n{}", examples.join("\n")));
    [Some(INTRODUCTION.to_owned()), tools, Some(ADVICE.to_owned())]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("\n\n")
}

/// "Repeat after me: …", "say: …".
fn repeated(question: &str, lower: &str) -> Option<String> {
    let wanted = ["repeat after me", "repeat", "say exactly", "say"].iter().any(|verb| lower.trim().starts_with(verb));
    let (_, text) = question.split_once(':')?;
    (wanted && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

fn about_the_page(scene: &Scene<'_>, question: &str) -> Option<String> {
    let (url, content) = scene.context?;
    let asked = ["page", "looking at", "context", "this say", "about this", "site", "here"];
    if !asked.iter().any(|word| question.contains(word)) {
        return None;
    }
    let excerpt: String = content.chars().take(MAX_CONTEXT_CHARS).collect();
    Some(format!("You are looking at {url}. It says: {excerpt}"))
}

fn introduced(scene: &Scene<'_>) -> Option<String> {
    let facts = facts(&scene.question);
    let (topic, value) = facts.first()?;
    Some(if topic == "name" {
        format!("Nice to meet you, {value}.")
    } else {
        format!("I will remember that your {topic} is {value}.")
    })
}

fn otherwise(scene: &Scene<'_>) -> String {
    let said = Some(format!("You said: {}", quoted(&scene.question)));
    let before = scene.asked.last().map(|before| format!("Before that you said: {}", quoted(before)));
    let page = scene.context.map(|(url, _)| format!("You are looking at {url}."));
    let end = "I am the demo model, so this is all I can say about it. Ask me what I can do.";
    let sentences: Vec<String> = [said, before, page, Some(end.into())].into_iter().flatten().collect();
    sentences.join(" ")
}
