//! Finds the tools that a user asks for in plain words.

use copilot_shared::tool::ToolSpec;
use serde_json::{Value, json};

use super::json::split_object;
use super::play::Call;

mod examples;
mod library;

pub(super) use examples::examples;

/// The tools that a message asks for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Wishes {
    /// Calls of tools that there are.
    pub(super) calls: Vec<Call>,
    /// Tools that there are not.
    pub(super) missing: Vec<String>,
}

/// Phrases that need nothing more.
const PLAIN: [(&str, &[&str]); 6] = [
    (
        "get_current_time",
        &[
            "what time is it",
            "current time",
            "what is the time",
            "what's the time",
            "what date is it",
            "what day is it",
            "today's date",
            "what is the date",
            "what's the date",
        ],
    ),
    (
        "list_workspace_files",
        &["list my files", "list the files", "list files", "show my files", "show me my files", "files do i have"],
    ),
    ("list_folders", &["list my folders", "show my folders"]),
    ("find_library_agent", &["list my agents", "show my agents", "agents do i have"]),
    ("get_agent_building_guide", &["agent building guide"]),
    ("get_mcp_guide", &["guide to mcp servers", "mcp guide"]),
];

/// Phrases that a parameter follows: the rest of the sentence, or what is quoted.
const SENTENCES: [(&str, &str, &str); 13] = [
    ("search the docs for ", "search_docs", "query"),
    ("search the documentation for ", "search_docs", "query"),
    ("search docs for ", "search_docs", "query"),
    ("search the web for ", "web_search", "query"),
    ("find a block for ", "find_block", "query"),
    ("find a block that ", "find_block", "query"),
    ("find blocks for ", "find_block", "query"),
    ("find an agent for ", "find_agent", "query"),
    ("find an agent that ", "find_agent", "query"),
    ("find agents for ", "find_agent", "query"),
    ("search the marketplace for ", "find_agent", "query"),
    ("search feature requests for ", "search_feature_requests", "query"),
    ("create a folder called ", "create_folder", "name"),
];

/// Phrases that a name follows: one word, or what is quoted.
const NAMES: [(&str, &str, &str); 9] = [
    ("read the file ", "read_workspace_file", "path"),
    ("read file ", "read_workspace_file", "path"),
    ("show me the file ", "read_workspace_file", "path"),
    ("show the file ", "read_workspace_file", "path"),
    ("open the file ", "read_workspace_file", "path"),
    ("delete the file ", "delete_workspace_file", "path"),
    ("delete file ", "delete_workspace_file", "path"),
    ("read the doc page ", "get_doc_page", "path"),
    ("open the doc page ", "get_doc_page", "path"),
];

/// What can be done with a file by its name alone.
const FILE_VERBS: [(&str, &str); 6] = [
    ("read ", "read_workspace_file"),
    ("show me ", "read_workspace_file"),
    ("show ", "read_workspace_file"),
    ("open ", "read_workspace_file"),
    ("delete ", "delete_workspace_file"),
    ("remove ", "delete_workspace_file"),
];

const QUOTES: [(char, char); 4] = [('`', '`'), ('"', '"'), ('“', '”'), ('\'', '\'')];

/// The tools that `text` asks for; several of them are called side by side.
pub(super) fn wishes(text: &str, tools: &[ToolSpec]) -> Wishes {
    let text = text.replace('’', "'");
    // ASCII only: positions in both must be the same.
    let lower = text.to_ascii_lowercase();
    let message = Message { text: &text, lower: &lower };
    let mut wanted: Vec<Wanted> = message.of_server().into_iter().collect();
    if wanted.is_empty() {
        wanted = message.by_name(tools);
    }
    if wanted.is_empty() {
        wanted = message.by_phrase();
    }
    let mut wishes = Wishes::default();
    for (name, arguments) in wanted {
        if tools.iter().any(|tool| tool.name == name) {
            wishes.calls.push(Call { name, arguments: arguments.to_string() });
        } else {
            wishes.missing.push(name);
        }
    }
    wishes
}

type Wanted = (String, Value);

struct Message<'a> {
    text: &'a str,
    lower: &'a str,
}

impl<'a> Message<'a> {
    /// "List the tools of https://…", "call the tool NAME of https://… with {…}".
    fn of_server(&self) -> Option<Wanted> {
        let listed = ["list the tools of ", "list tools of ", "show the tools of ", "what are the tools of "];
        let (address, tool_name) = if let Some(rest) = listed.iter().find_map(|phrase| self.after(phrase)) {
            (rest, None)
        } else {
            let rest = self.after("the tool ")?;
            let name = word(rest);
            (rest.split_once(name)?.1.trim_start_matches(['`', '"', '”']).strip_prefix(" of ")?, Some(name))
        };
        let address = address.strip_prefix("the server ").unwrap_or(address);
        let server_url = word(address);
        if !server_url.starts_with("http://") && !server_url.starts_with("https://") {
            return None;
        }
        let mut arguments = json!({"server_url": server_url});
        if let (Some(name), Some(fields)) = (tool_name, arguments.as_object_mut()) {
            fields.insert("tool_name".into(), name.into());
            fields.insert("tool_arguments".into(), object_in(address));
        }
        Some(("run_mcp_tool".into(), arguments))
    }

    /// "Use the tool NAME with {…}", for any tool.
    fn by_name(&self, tools: &[ToolSpec]) -> Vec<Wanted> {
        if !["use ", "call ", "invoke "].iter().any(|verb| self.lower.contains(verb)) {
            return Vec::new();
        }
        let named = tools.iter().filter_map(|tool| {
            let (_, rest) = self.text.split_once(tool.name.as_str())?;
            let whole = !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
            whole.then(|| (tool.name.clone(), object_in(rest)))
        });
        let named: Vec<Wanted> = named.collect();
        if named.is_empty() {
            let unknown = self.after("the tool ").map(|rest| (word(rest).to_owned(), json!({})));
            return unknown.into_iter().filter(|(name, _)| !name.is_empty()).collect();
        }
        named
    }

    fn by_phrase(&self) -> Vec<Wanted> {
        let mut wanted: Vec<Wanted> = Vec::new();
        for (tool, phrases) in PLAIN {
            if phrases.iter().any(|phrase| self.lower.contains(phrase)) {
                wanted.push((tool.into(), json!({})));
            }
        }
        for (phrase, tool, parameter) in SENTENCES {
            wanted.extend(self.after(phrase).map(|rest| (tool.into(), json!({parameter: sentence(rest)}))));
        }
        for (phrase, tool, parameter) in NAMES {
            wanted.extend(self.after(phrase).map(|rest| (tool.into(), json!({parameter: word(rest)}))));
        }
        let named = self.named_file().filter(|(tool, _)| wanted.iter().all(|(other, _)| other != tool));
        wanted.extend(named);
        wanted.extend(self.written_file().map(|arguments| ("write_workspace_file".into(), arguments)));
        wanted.extend(self.expression().map(|text| ("calculator".into(), json!({"expression": text}))));
        wanted.extend(self.command().map(|text| ("bash_exec".into(), json!({"command": text}))));
        wanted.extend(self.url().map(|text| ("web_fetch".into(), json!({"url": text}))));
        wanted.extend(library::wanted(self));
        if self.lower.contains("ask me a question") {
            let question = json!({"question": "What would you like to do?", "keyword": "goal"});
            wanted.push(("ask_question".into(), json!({"questions": [question]})));
        }
        wanted
    }

    /// What follows a phrase that stands at the beginning of a word.
    fn after(&self, phrase: &str) -> Option<&'a str> {
        let position = self.lower.find(phrase)?;
        let (before, _) = self.lower.split_at_checked(position)?;
        let rest = self.text.get(position + phrase.len()..)?;
        (!before.ends_with(|c: char| c.is_alphanumeric())).then_some(rest)
    }

    /// "Read NAME", "delete NAME", where NAME looks like a file's.
    fn named_file(&self) -> Option<Wanted> {
        FILE_VERBS.iter().find_map(|(verb, tool)| {
            let name = file_name(self.after(verb)?);
            looks_like_a_file(name).then(|| ((*tool).to_owned(), json!({"path": name})))
        })
    }

    /// "Write `content` to the file NAME", "create a file NAME with the text …".
    fn written_file(&self) -> Option<Value> {
        if let Some(rest) = self.after("create a file ").or_else(|| self.after("create the file ")) {
            let lower = rest.to_ascii_lowercase();
            let link = [" with the text ", " with the content ", " with content ", " containing ", " that says "];
            let end = link.iter().find_map(|link| Some(lower.find(link)? + link.len()))?;
            return Some(json!({"filename": file_name(rest), "content": sentence(rest.get(end..)?)}));
        }
        let rest = self.after("write ").or_else(|| self.after("save "))?;
        let Some((content, rest)) = in_quotes(rest) else { return plainly_written(rest) };
        let rest = rest.trim_start();
        let name = ["to ", "into ", "as ", "in "].iter().find_map(|link| rest.strip_prefix(link))?;
        Some(json!({"filename": file_name(name), "content": content}))
    }

    fn expression(&self) -> Option<String> {
        let explicit = ["calculate", "compute", "evaluate", "work out"];
        let rest = match explicit.iter().find_map(|phrase| self.after(phrase)) {
            Some(rest) => rest.get(rest.find(|c: char| c.is_ascii_digit() || c == '(' || c == '-')?..)?,
            None => ["what is ", "what's ", "how much is "].iter().find_map(|phrase| self.after(phrase))?,
        };
        let end = rest.find(|c: char| !(c.is_ascii_digit() || " .+-*/()^%".contains(c))).unwrap_or(rest.len());
        let expression = rest.get(..end)?.trim().trim_end_matches(['.', ' ']);
        let digits = expression.contains(|c: char| c.is_ascii_digit());
        (digits && expression.contains(['+', '-', '*', '/', '^', '%'])).then(|| expression.to_owned())
    }

    /// "Run `ls -la`", "run ls -la".
    fn command(&self) -> Option<String> {
        let verbs = ["run the command ", "execute the command ", "run ", "execute "];
        let rest = verbs.iter().find_map(|verb| self.after(verb))?;
        if let Some((command, _)) = rest.starts_with('`').then(|| in_quotes(rest)).flatten() {
            return Some(command.to_owned());
        }
        let article = ["the ", "a ", "an ", "my ", "this ", "that ", "it", "agent", "block", "into ", "out "];
        let begins = verbs.iter().any(|verb| self.lower.trim_start().starts_with(verb));
        let prose = article.iter().any(|word| rest.to_ascii_lowercase().starts_with(word));
        let command = rest.lines().next()?.trim().trim_end_matches(['?', '!']);
        (begins && !prose && !command.is_empty()).then(|| command.to_owned())
    }

    fn url(&self) -> Option<String> {
        let verbs = ["fetch", "open", "read", "visit", "get ", "summar", "look at", "download"];
        if !verbs.iter().any(|verb| self.lower.contains(verb)) {
            return None;
        }
        let position = self.lower.find("https://").or_else(|| self.lower.find("http://"))?;
        Some(word(self.text.get(position..)?).to_owned())
    }
}

fn object_in(rest: &str) -> Value {
    let object = rest.find('{').and_then(|position| split_object(rest.get(position..)?));
    object.and_then(|(object, _)| serde_json::from_str(object).ok()).unwrap_or_else(|| json!({}))
}

/// What is quoted at the beginning of a text, and what follows.
fn in_quotes(text: &str) -> Option<(&str, &str)> {
    QUOTES.iter().find_map(|(open, close)| text.strip_prefix(*open)?.split_once(*close))
}

fn sentence(text: &str) -> &str {
    let text = text.trim_start();
    if let Some((quoted, _)) = in_quotes(text) {
        return quoted;
    }
    let end = [". ", "? ", "! ", "\n", " and then ", ", then "].iter().filter_map(|end| text.find(end)).min();
    text.get(..end.unwrap_or(text.len())).unwrap_or(text).trim().trim_end_matches(['.', '?', '!'])
}

fn word(text: &str) -> &str {
    let text = text.trim_start();
    if let Some((quoted, _)) = in_quotes(text) {
        return quoted;
    }
    let word = text.split(|c: char| c.is_whitespace() || "`\"”>)".contains(c)).next().unwrap_or_default();
    word.trim_end_matches(['.', ',', ';', '?', '!', ':'])
}

fn file_name(text: &str) -> &str {
    let text = text.trim_start();
    let fillers = ["the file ", "my file ", "a file ", "file ", "called ", "named ", "the ", "my "];
    let name = fillers.iter().find_map(|filler| text.strip_prefix(filler)).unwrap_or(text);
    word(fillers.iter().find_map(|filler| name.strip_prefix(filler)).unwrap_or(name))
}

/// "Write CONTENT to NAME", without quotes, where NAME looks like a file's.
fn plainly_written(rest: &str) -> Option<Value> {
    [" to ", " into ", " as ", " in "].iter().find_map(|link| {
        let (content, name) = rest.rsplit_once(*link)?;
        let (content, name) = (content.trim(), file_name(name));
        (looks_like_a_file(name) && !content.is_empty()).then(|| json!({"filename": name, "content": content}))
    })
}

/// Has it an extension?
fn looks_like_a_file(name: &str) -> bool {
    let Some((stem, extension)) = name.rsplit_once('.') else { return false };
    let plain = (1..=5).contains(&extension.len()) && extension.chars().all(|c| c.is_ascii_alphanumeric());
    plain && extension.starts_with(|c: char| c.is_ascii_alphabetic()) && !stem.is_empty() && !name.contains("://")
}

#[cfg(test)]
mod tests;
