//! What the tools answered, in words.

use copilot_shared::message::{Part, ToolOutcome};
use serde_json::{Map, Value};

const MAX_LISTED: usize = 10;
const MAX_CHARS: usize = 600;
/// The fields that name a thing, in the typed tool responses.
const NAMES: [&str; 5] = ["title", "name", "path", "filename", "url"];
/// The fields that hold an answer.
const ANSWERS: [&str; 6] = ["result", "answer", "time", "content", "text", "value"];

/// The answers of the tools, one paragraph each.
pub(super) fn results(parts: &[&Part]) -> String {
    let paragraphs: Vec<String> = parts
        .iter()
        .filter_map(|part| match part {
            Part::ToolResult { name, outcome: ToolOutcome::Output(value), .. } => Some(output(name, value)),
            Part::ToolResult { name, outcome: ToolOutcome::Error(error), .. } => Some(failure(name, error)),
            _ => None,
        })
        .collect();
    if paragraphs.is_empty() { "That is all.".into() } else { paragraphs.join("\n\n") }
}

fn output(name: &str, value: &Value) -> String {
    let lead = format!("The tool `{name}` answered");
    let parsed = value.as_str().and_then(|text| serde_json::from_str(text).ok());
    let Value::Object(fields) = parsed.as_ref().unwrap_or(value) else { return format!("{lead}: {}", scalar(value)) };
    let message = fields.get("message").and_then(Value::as_str);
    let mut lines = vec![message.map_or_else(|| format!("{lead}:"), |message| format!("{lead}: {}", short(message)))];
    lines.extend(terminal(fields));
    lines.extend(list(fields));
    let answer = ANSWERS.iter().find_map(|key| fields.get(*key)).map(scalar);
    // The sentence of a calculation tells its result already.
    lines.extend(answer.filter(|answer| !message.is_some_and(|message| tells(message, answer))));
    if message.is_none() && lines.len() == 1 {
        lines.push(scalar(value));
    }
    lines.join("\n")
}

/// Does a sentence end with these words?
fn tells(sentence: &str, words: &str) -> bool {
    let end = sentence.trim_end_matches('.');
    end.strip_suffix(words).is_some_and(|before| before.is_empty() || before.ends_with(char::is_whitespace))
}

/// A typed error in words, or whatever else the text is.
fn failure(name: &str, text: &str) -> String {
    let fields: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    let field = |key: &str| fields.get(key).and_then(Value::as_str);
    let reason = match (field("message"), field("error")) {
        (Some(message), Some(error)) if error.contains(' ') => format!("{message}: {error}"),
        (Some(message), _) => message.to_owned(),
        (None, _) => text.to_owned(),
    };
    format!("The tool `{name}` failed: {}", short(&reason))
}

/// A command's output and exit code.
fn terminal(fields: &Map<String, Value>) -> Vec<String> {
    let mut lines = Vec::new();
    for stream in ["stdout", "stderr"] {
        if let Some(text) = fields.get(stream).and_then(Value::as_str).filter(|text| !text.is_empty()) {
            lines.push(format!("```\n{}\n```", short(text).trim_end()));
        }
    }
    if let Some(code) = fields.get("exit_code").and_then(Value::as_i64) {
        lines.push(format!("It exited with {code}."));
    }
    lines
}

/// The first list of things, by their names.
fn list(fields: &Map<String, Value>) -> Vec<String> {
    let Some(items) = fields.values().find_map(Value::as_array) else { return Vec::new() };
    let name = |item: &Value| match item {
        Value::Object(item) => NAMES.iter().find_map(|key| item.get(*key)).map(scalar),
        item => Some(scalar(item)),
    };
    let mut lines: Vec<String> =
        items.iter().take(MAX_LISTED).filter_map(name).map(|name| format!("- {name}")).collect();
    if items.len() > MAX_LISTED {
        lines.push(format!("… and {} more.", items.len() - MAX_LISTED));
    }
    lines
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => short(text),
        other => short(&other.to_string()),
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use copilot_shared::id::ToolCallId;

    fn told(outcome: ToolOutcome) -> String {
        results(&[&Part::ToolResult { id: ToolCallId("c".into()), name: "t".into(), outcome }])
    }

    #[test]
    fn typed_answers_are_told_in_words() {
        let answer = r#"{"type":"workspace_file_list","message":"There are 2 files.","session_id":null,
            "files":[{"name":"a.txt"},{"name":"b.txt"}],"total_count":2}"#;
        let text = told(ToolOutcome::Output(Value::String(answer.into())));
        assert_eq!(text, "The tool `t` answered: There are 2 files.\n- a.txt\n- b.txt");
        let sum = |result: &str| {
            format!(
                r#"{{"type":"calculation","message":"6*7 = 42","session_id":null,"expression":"6*7","result":{result}}}"#
            )
        };
        let told_sum = |result: &str| told(ToolOutcome::Output(Value::String(sum(result))));
        assert_eq!(told_sum("42"), "The tool `t` answered: 6*7 = 42", "once is enough");
        assert_eq!(told_sum("2"), "The tool `t` answered: 6*7 = 42\n2");
        let error =
            r#"{"type":"error","message":"It broke","session_id":null,"error":"the disk is full","details":null}"#;
        assert_eq!(told(ToolOutcome::Error(error.into())), "The tool `t` failed: It broke: the disk is full");
        assert_eq!(told(ToolOutcome::Error("Stopped.".into())), "The tool `t` failed: Stopped.");
    }
}
