//! A [`ModelRequest`] as the body of a messages call.

use std::borrow::Cow;
use std::collections::BTreeSet;

use copilot_shared::message::Part;
use serde::Serialize;
use serde_json::{Value, json};

use super::stream::REDACTED;
use crate::model::history::{self, Answer, Entry, UserSaid};
use crate::model::http;
use crate::model::{ModelError, ModelRequest};

/// The provider asks for a bound; this one is within what every current model can write.
const DEFAULT_MAX_TOKENS: u32 = 8192;

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u32,
    stream: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block<'a>>,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
}

#[derive(Serialize)]
struct Block<'a> {
    #[serde(flatten)]
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<Kind>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Content<'a> {
    Text {
        text: Cow<'a, str>,
    },
    Image {
        source: Source<'a>,
    },
    Thinking {
        thinking: &'a str,
        signature: &'a str,
    },
    RedactedThinking {
        data: &'a str,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: Cow<'a, Value>,
    },
    ToolResult {
        tool_use_id: &'a str,
        content: Cow<'a, str>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
}

#[derive(Serialize)]
struct Source<'a> {
    r#type: &'static str,
    media_type: &'a str,
    data: &'a str,
}

impl<'a> From<Content<'a>> for Block<'a> {
    fn from(content: Content<'a>) -> Self {
        Self { content, cache_control: None }
    }
}

#[derive(Serialize)]
struct Kind {
    r#type: &'static str,
}

#[derive(Serialize)]
struct Thinking {
    r#type: &'static str,
    budget_tokens: u32,
}

#[derive(Serialize)]
struct Metadata {
    user_id: String,
}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    input_schema: Cow<'a, Value>,
}

/// The body of the call.
pub(super) fn body(request: &ModelRequest, thinking_tokens: Option<u32>) -> Result<Vec<u8>, ModelError> {
    let entries = history::entries(&request.messages, &request.files);
    let budget_tokens = thinking_tokens.filter(|_| may_think(&entries));
    let messages = messages(&entries);
    let (tools, tool_choice) = tools(request, &entries);
    let system = (!request.system.trim().is_empty())
        .then(|| cached(Content::Text { text: Cow::Borrowed(&request.system) }))
        .into_iter()
        .collect();
    // The budget counts against the bound, which is meant for the answer alone.
    let max_tokens = request.max_output_tokens.unwrap_or(DEFAULT_MAX_TOKENS);
    http::encode(&Body {
        model: &request.model,
        max_tokens: max_tokens.saturating_add(budget_tokens.unwrap_or(0)),
        stream: true,
        system,
        messages,
        tools,
        tool_choice,
        thinking: budget_tokens.map(|budget_tokens| Thinking { r#type: "enabled", budget_tokens }),
        metadata: request.user.as_ref().map(|user| Metadata { user_id: http::pseudonym(user) }),
    })
}

/// In the middle of a tool loop the provider wants the thought that began it; one that began
/// without a thought has to go on without.
fn may_think(entries: &[Entry<'_>]) -> bool {
    match entries {
        [.., Entry::Assistant(parts), Entry::Results(_)] => {
            matches!(parts.first(), Some(Part::Reasoning { signature: Some(_), .. }))
        }
        _ => true,
    }
}

fn messages<'a>(entries: &[Entry<'a>]) -> Vec<Message<'a>> {
    let mut messages: Vec<Message<'a>> = Vec::with_capacity(entries.len() + 1);
    for entry in entries {
        let (role, content) = match entry {
            Entry::User(said) => ("user", user(said)),
            Entry::Assistant(parts) => ("assistant", assistant(parts)),
            Entry::Results(answers) => ("user", answers.iter().map(result).collect()),
        };
        if messages.is_empty() && role == "assistant" {
            let text = Cow::Borrowed("(The conversation goes on.)");
            messages.push(Message { role: "user", content: vec![Content::Text { text }.into()] });
        }
        match messages.last_mut() {
            Some(last) if last.role == role => last.content.extend(content),
            _ => messages.push(Message { role, content }),
        }
    }
    // The next step of the turn begins with all of this.
    if let Some(block) = messages.last_mut().and_then(|last| last.content.last_mut())
        && matches!(block.content, Content::Text { .. } | Content::ToolResult { .. })
    {
        block.cache_control = Some(Kind { r#type: "ephemeral" });
    }
    messages
}

/// Pictures come before what is said of them, as the provider advises.
fn user<'a>(said: &UserSaid<'a>) -> Vec<Block<'a>> {
    let images = said.images.iter().map(|image| {
        let source = Source { r#type: "base64", media_type: &image.mime_type, data: &image.base64 };
        Content::Image { source }.into()
    });
    images.chain([Content::Text { text: said.text.clone().into() }.into()]).collect()
}

/// Thoughts go back only with the tool calls that they led to, and only signed ones.
fn assistant<'a>(parts: &[&'a Part]) -> Vec<Block<'a>> {
    let calls = parts.iter().any(|part| matches!(part, Part::ToolCall { .. }));
    let block = |part: &&'a Part| match part {
        Part::Text { text, .. } => Some(Content::Text { text: text.as_str().into() }.into()),
        Part::Reasoning { text, signature: Some(signature), .. } if calls => {
            Some(match signature.strip_prefix(REDACTED) {
                Some(data) => Content::RedactedThinking { data }.into(),
                None => Content::Thinking { thinking: text, signature }.into(),
            })
        }
        Part::ToolCall { id, name, input } => {
            Some(Content::ToolUse { id: id.as_str(), name, input: history::arguments(input) }.into())
        }
        Part::Reasoning { .. }
        | Part::ToolResult { .. }
        | Part::Compaction { .. }
        | Part::Context { .. }
        | Part::File { .. } => None,
    };
    parts.iter().filter_map(block).collect()
}

fn result<'a>(answer: &Answer<'a>) -> Block<'a> {
    let content = answer.text.clone();
    Content::ToolResult { tool_use_id: answer.id.as_str(), content, is_error: answer.failed }.into()
}

/// What every call of the conversation has in common is kept by the provider: the tools and the
/// system prompt, which come first.
fn cached(content: Content<'_>) -> Block<'_> {
    Block { content, cache_control: Some(Kind { r#type: "ephemeral" }) }
}

/// The provider refuses a history with calls of tools that it was not told of. Where none may be
/// called, those of the history are named and forbidden.
fn tools<'a>(request: &'a ModelRequest, entries: &[Entry<'a>]) -> (Vec<Tool<'a>>, Option<Kind>) {
    if !request.tools.is_empty() {
        let tool = |spec: &'a copilot_shared::tool::ToolSpec| Tool {
            name: &spec.name,
            description: &spec.description,
            input_schema: Cow::Borrowed(&spec.parameters),
        };
        return (request.tools.iter().map(tool).collect(), None);
    }
    let mut names = BTreeSet::new();
    for entry in entries {
        let Entry::Assistant(parts) = entry else { continue };
        for part in parts {
            if let Part::ToolCall { name, .. } = part {
                names.insert(name.as_str());
            }
        }
    }
    let forbidden = (!names.is_empty()).then_some(Kind { r#type: "none" });
    let tool = |name| Tool { name, description: "", input_schema: Cow::Owned(json!({"type": "object"})) };
    (names.into_iter().map(tool).collect(), forbidden)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::history::tests::{call, message, result, text, thought};
    use copilot_shared::message::{HistoryMessage, Role, ToolOutcome};
    use copilot_shared::tool::ToolSpec;

    fn request(messages: Vec<HistoryMessage>) -> ModelRequest {
        let spec = ToolSpec { name: "t".into(), description: "d".into(), parameters: json!({"type": "object"}) };
        ModelRequest {
            model: "claude".into(),
            system: "Be brief.".into(),
            messages,
            files: std::sync::Arc::default(),
            tools: vec![spec].into(),
            max_output_tokens: None,
            user: None,
        }
    }

    fn sent(request: &ModelRequest, thinking: Option<u32>) -> Value {
        serde_json::from_slice(&body(request, thinking).unwrap()).unwrap()
    }

    fn tool_turn(first: Part) -> Vec<HistoryMessage> {
        vec![
            message(Role::User, vec![text("hi")]),
            message(Role::Assistant, vec![first, call("a", "t", json!({"x": 1})), call("b", "t", json!("{"))]),
            message(Role::Tool, vec![result("a", ToolOutcome::Output(json!({"n": 1})))]),
            message(Role::Tool, vec![result("b", ToolOutcome::Error("bad".into()))]),
        ]
    }

    #[test]
    fn a_plain_request_marks_what_may_be_cached() {
        assert_eq!(
            sent(&request(vec![message(Role::User, vec![text("hi")])]), None),
            json!({
                "model": "claude",
                "max_tokens": 8192,
                "stream": true,
                "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
                "messages": [{"role": "user", "content": [
                    {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}},
                ]}],
                "tools": [{"name": "t", "description": "d", "input_schema": {"type": "object"}}],
            })
        );
    }

    #[test]
    fn a_signed_thought_goes_back_with_its_calls_and_results_share_one_message() {
        let mut messages = tool_turn(thought("hm", Some("sig")));
        messages.push(message(Role::User, vec![text("and?")]));
        assert_eq!(
            sent(&request(messages), None)["messages"],
            json!([
                {"role": "user", "content": [{"type": "text", "text": "hi"}]},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "sig"},
                    {"type": "tool_use", "id": "a", "name": "t", "input": {"x": 1}},
                    {"type": "tool_use", "id": "b", "name": "t", "input": {"unreadable_arguments": "{"}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "a", "content": "{\"n\":1}"},
                    {"type": "tool_result", "tool_use_id": "b", "content": "bad", "is_error": true},
                    {"type": "text", "text": "and?", "cache_control": {"type": "ephemeral"}},
                ]},
            ])
        );
    }

    #[test]
    fn thoughts_without_calls_or_signature_stay_here() {
        let messages = vec![
            message(Role::User, vec![text("hi")]),
            message(Role::Assistant, vec![thought("hm", Some("sig")), text("hello")]),
            message(Role::User, vec![text("go")]),
            message(Role::Assistant, vec![thought("hm", None), call("a", "t", json!({}))]),
        ];
        let sent = sent(&request(messages), None).to_string();
        assert!(!sent.contains("thinking"), "{sent}");
    }

    #[test]
    fn a_withheld_thought_goes_back_as_it_came() {
        let sent = sent(&request(tool_turn(thought("…", Some("redacted:XYZ")))), None);
        assert_eq!(sent["messages"][1]["content"][0], json!({"type": "redacted_thinking", "data": "XYZ"}));
    }

    #[test]
    fn thinking_raises_the_bound_and_rests_where_the_loop_began_without_it() {
        let fresh = sent(&request(vec![message(Role::User, vec![text("hi")])]), Some(2000));
        assert_eq!(fresh["thinking"], json!({"type": "enabled", "budget_tokens": 2000}));
        assert_eq!(fresh["max_tokens"], json!(10192));
        let signed = sent(&request(tool_turn(thought("hm", Some("sig")))), Some(2000));
        assert!(signed.get("thinking").is_some());
        let unsigned = sent(&request(tool_turn(text("ok"))), Some(2000));
        assert_eq!((unsigned.get("thinking"), &unsigned["max_tokens"]), (None, &json!(8192)));
    }

    #[test]
    fn the_user_speaks_first_and_forbidden_tools_are_still_named() {
        let mut messages = vec![message(Role::Assistant, vec![text("summary")])];
        messages.extend(tool_turn(text("ok")));
        let mut request = request(messages);
        request.tools = Vec::new().into();
        let sent = sent(&request, None);
        assert_eq!(
            sent["messages"][0],
            json!({"role": "user", "content": [
            {"type": "text", "text": "(The conversation goes on.)"}]})
        );
        assert_eq!(sent["tools"], json!([{"name": "t", "input_schema": {"type": "object"}}]));
        assert_eq!(sent["tool_choice"], json!({"type": "none"}));
    }
}
