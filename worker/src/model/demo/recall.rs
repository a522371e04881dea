//! What the embedded model knows from the conversation: who said what, and what the user told it
//! about themselves.

use super::Scene;

const MAX_QUOTE: usize = 300;
const MAX_LISTED: usize = 10;
const MAX_TOPIC_WORDS: usize = 4;
/// Words of this length carry a meaning, mostly.
const MIN_TELLING: usize = 4;
const NOT_TELLING: [&str; 26] = [
    "what", "which", "when", "where", "whom", "whose", "does", "have", "that", "this", "tell", "told", "know",
    "remember", "with", "from", "about", "your", "again", "please", "could", "would", "said", "call", "called", "were",
];

const ABOUT_THE_USER: [&str; 8] =
    ["did i say", "did i ask", "did i write", "have i said", "my first", "my last", "my previous", "i said first"];
const ABOUT_THE_MODEL: [&str; 6] =
    ["did you say", "did you answer", "did you tell", "your first", "your last", "your previous"];

/// The answer to a question about the conversation; `None` if it is none, or nothing is known.
pub(super) fn recall(scene: &Scene<'_>) -> Option<String> {
    let question = plain(&scene.question);
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| question.contains(phrase));
    if has(&["how many messages", "how many questions"]) {
        return Some(format!("You have sent {} messages, this one included.", scene.asked.len() + 1));
    }
    let topic = topic_of(&question).filter(|_| is_question(&question));
    topic
        .as_deref()
        .and_then(|topic| fact(topic, &scene.asked))
        .or_else(|| has(&ABOUT_THE_USER).then(|| by_position(&question, &scene.asked, "You said")).flatten())
        .or_else(|| has(&ABOUT_THE_MODEL).then(|| by_position(&question, &scene.said, "I said")).flatten())
        .or_else(|| is_question(&question).then(|| by_words(&question, &scene.asked)).flatten())
        .or_else(|| everything(&question, &scene.asked))
        .or_else(|| topic.map(|topic| format!("You have not told me your {topic} yet.")))
}

/// What the user tells about themselves, as topic and value.
pub(super) fn facts(text: &str) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    for sentence in text.split(['.', '!', '?', '\n', ';', ',']) {
        for clause in sentence.split(" and ") {
            let words: Vec<&str> = clause.split_whitespace().collect();
            facts.extend(fact_in(&words));
        }
    }
    facts
}

fn fact_in(words: &[&str]) -> Option<(String, String)> {
    let lower: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    let at = |word: &str| lower.iter().position(|other| other == word);
    let is = at("is").or_else(|| at("are"));
    if let (Some(my), Some(is)) = (at("my"), is) {
        let topic = lower.get(my + 1..is)?;
        let value = words.get(is + 1..)?.join(" ");
        let fits = (1..=MAX_TOPIC_WORDS).contains(&topic.len()) && !value.is_empty();
        return fits.then(|| (topic.join(" "), value));
    }
    let called = lower.windows(2).position(|pair| matches!(pair, [a, b] if a == "call" && b == "me"))?;
    let name = words.get(called + 2..)?.join(" ");
    (!name.is_empty()).then(|| ("name".into(), name))
}

/// A text in quotation marks, on one line and not too long.
pub(super) fn quoted(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_QUOTE) {
        Some((end, _)) => format!("“{}…”", line.get(..end).unwrap_or_default()),
        None => format!("“{line}”"),
    }
}

/// Small letters, straight apostrophes.
pub(super) fn plain(text: &str) -> String {
    text.to_lowercase().replace('’', "'")
}

fn is_question(text: &str) -> bool {
    let text = text.trim();
    let begins = ["what", "who", "which", "where", "when", "how", "do you", "tell me", "can you", "did i"];
    text.ends_with('?') || begins.iter().any(|word| text.starts_with(word))
}

fn by_position(question: &str, texts: &[String], who: &str) -> Option<String> {
    let has = |words: &[&str]| words.iter().any(|word| question.contains(word));
    if has(&["first"]) {
        return Some(texts.first().map_or_else(nothing, |text| format!("{who} first: {}.", quoted(text))));
    }
    if has(&["last", "previous", "before", "just"]) {
        return Some(texts.last().map_or_else(nothing, |text| format!("{who} last: {}.", quoted(text))));
    }
    None
}

fn nothing() -> String {
    "Nothing was said before this message.".into()
}

/// "What is my favourite colour?" → "favourite colour".
fn topic_of(question: &str) -> Option<String> {
    let (_, topic) = question.split_once("my ")?;
    let topic = topic.split(['?', '.', '!', ',']).next()?;
    let words: Vec<&str> = topic.split_whitespace().take(MAX_TOPIC_WORDS).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

fn fact(topic: &str, asked: &[String]) -> Option<String> {
    let (known, value) = asked.iter().rev().find_map(|text| {
        let same = |known: &str| topic == known || topic.strip_prefix(known).is_some_and(|rest| rest.starts_with(' '));
        facts(text).into_iter().rev().find(|(known, _)| same(known))
    })?;
    Some(format!("Your {known} is {value}."))
}

/// The statement that shares the most telling words with the question, the newest one winning.
fn by_words(question: &str, asked: &[String]) -> Option<String> {
    let wanted = telling(question);
    let score = |text: &str| {
        let words = telling(text);
        wanted.iter().filter(|word| words.contains(word)).count()
    };
    let statements = asked.iter().filter(|text| !is_question(&plain(text)));
    let best = statements.max_by_key(|text| score(&plain(text)))?;
    (score(&plain(best)) > 0).then(|| format!("You told me: {}.", quoted(best)))
}

fn telling(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.len() >= MIN_TELLING && !NOT_TELLING.contains(word))
        .collect()
}

fn everything(question: &str, asked: &[String]) -> Option<String> {
    let wanted = ["did i say", "did i ask", "did i tell", "did i write", "have i said", "talked about", "talk about"];
    if asked.is_empty() || !wanted.iter().any(|phrase| question.contains(phrase)) {
        return None;
    }
    let listed: Vec<String> = asked.iter().take(MAX_LISTED).map(|text| quoted(text)).collect();
    Some(format!("You said: {}.", listed.join(", then ")))
}
