//! Wishes about what a user keeps: folders, to-do lists, notes on themselves, what they ask of us.

use serde_json::{Value, json};

use super::{Message, Wanted, sentence, word};

/// Phrases that a sentence follows, and what it is of a call.
const NOTES: [&str; 2] = ["remember about me that ", "note about me that "];
const FEATURES: [&str; 3] = ["ask for the feature ", "request the feature ", "i wish for the feature "];
const GOALS: [&str; 2] = ["suggest a goal for ", "suggest me a goal for "];
const TODOS: [&str; 4] = ["make a to-do list: ", "write a to-do list: ", "make a todo list: ", "write a todo list: "];
const TODOS_SHOWN: [&str; 4] =
    ["show my to-do list", "show the to-do list", "show my todo list", "what is on my to-do list"];

/// The calls that a message asks for.
pub(super) fn wanted(message: &Message<'_>) -> Vec<Wanted> {
    let first = |phrases: &[&str]| phrases.iter().find_map(|phrase| message.after(phrase));
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut want = |tool: &str, arguments: Value| wanted.push((tool.into(), arguments));
    if let Some(rest) = first(&NOTES) {
        want("add_understanding", json!({"additional_notes": sentence(rest)}));
    }
    if let Some(rest) = first(&FEATURES) {
        let wish = sentence(rest);
        want("create_feature_request", json!({"title": wish, "description": wish}));
    }
    if let Some(rest) = first(&GOALS) {
        let (goal, reason) = (sentence(rest), "So that it can be told when it is reached.");
        let clearer = format!("{goal}, in steps that can be checked");
        want("suggest_goal", json!({"suggested_goal": clearer, "original_goal": goal, "reason": reason}));
    }
    if let Some(rest) = first(&TODOS) {
        want("todo_write", json!({"todos": todos(sentence(rest))}));
    } else if first(&TODOS_SHOWN).is_some() {
        want("todo_write", json!({}));
    }
    if let Some(rest) = first(&["connect my ", "connect to "]) {
        want("connect_integration", json!({"provider": word(rest)}));
    } else if first(&["connect github"]).is_some() {
        want("connect_integration", json!({"provider": "github"}));
    }
    wanted.extend(of_folder(message));
    wanted
}

/// "Rename the folder ID to NAME", "move the folder ID into ID" or "to the top", "delete the folder ID".
fn of_folder(message: &Message<'_>) -> Option<Wanted> {
    if let Some(rest) = message.after("delete the folder ") {
        return Some(("delete_folder".into(), json!({"folder_id": word(rest)})));
    }
    if let Some(rest) = message.after("rename the folder ") {
        let (folder, name) = rest.split_once(" to ")?;
        return Some(("update_folder".into(), json!({"folder_id": word(folder), "name": sentence(name)})));
    }
    let rest = message.after("move the folder ")?;
    if let Some((folder, _)) = rest.split_once(" to the top") {
        return Some(("move_folder".into(), json!({"folder_id": word(folder)})));
    }
    let (folder, target) = rest.split_once(" into ")?;
    Some(("move_folder".into(), json!({"folder_id": word(folder), "target_parent_id": word(target)})))
}

/// "a, b and c", none of it begun.
fn todos(list: &str) -> Vec<Value> {
    let entries = list.split(", ").flat_map(|entry| entry.split(" and "));
    entries.map(|entry| json!({"content": entry.trim(), "status": "pending"})).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: &str) -> Vec<Wanted> {
        let lower = text.to_ascii_lowercase();
        wanted(&Message { text, lower: &lower })
    }

    #[test]
    fn plain_words_become_calls() {
        let one =
            |text: &str, tool: &str, arguments: Value| assert_eq!(ask(text), [(tool.into(), arguments)], "{text}");
        one(
            "Remember about me that I am left-handed.",
            "add_understanding",
            json!({"additional_notes": "I am left-handed"}),
        );
        one(
            "Please request the feature dark mode!",
            "create_feature_request",
            json!({"title": "dark mode", "description": "dark mode"}),
        );
        let todo = |content: &str| json!({"content": content, "status": "pending"});
        one(
            "Make a to-do list: buy milk, call Ben and sleep.",
            "todo_write",
            json!({"todos": [todo("buy milk"), todo("call Ben"), todo("sleep")]}),
        );
        one("show my to-do list", "todo_write", json!({}));
        one("Connect GitHub", "connect_integration", json!({"provider": "github"}));
        one("connect my gitlab, please", "connect_integration", json!({"provider": "gitlab"}));
        one("Rename the folder f1 to Old things.", "update_folder", json!({"folder_id": "f1", "name": "Old things"}));
        one("move the folder `f1` into f2", "move_folder", json!({"folder_id": "f1", "target_parent_id": "f2"}));
        one("move the folder f1 to the top", "move_folder", json!({"folder_id": "f1"}));
        one("delete the folder f1.", "delete_folder", json!({"folder_id": "f1"}));
        assert_eq!(ask("suggest a goal for getting rich")[0].1["original_goal"], "getting rich");
    }

    #[test]
    fn prose_is_no_wish() {
        for text in ["I remember you", "the folder is full", "how do I connect a printer?", "my to-do list is long"] {
            assert_eq!(ask(text), [], "{text}");
        }
    }
}
