//! A [`ModelRequest`] as the body of a chat completion.

use std::borrow::Cow;

use copilot_shared::message::Part;
use copilot_shared::tool::ToolSpec;
use reqwest::Url;
use serde::Serialize;
use serde_json::Value;

use crate::model::history::{self, Answer, Entry, UserSaid};
use crate::model::http;
use crate::model::{ModelError, ModelRequest};

/// How the bound on the answer is called: OpenAI's newer models refuse the old name, and most
/// other servers know no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputLimit {
    /// `max_tokens`
    MaxTokens,
    /// `max_completion_tokens`
    MaxCompletionTokens,
}

impl OutputLimit {
    pub(super) fn at(url: &Url) -> Self {
        if url.host_str() == Some("api.openai.com") { Self::MaxCompletionTokens } else { Self::MaxTokens }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum Message<'a> {
    System {
        content: &'a str,
    },
    User {
        content: UserContent,
    },
    Assistant {
        content: Option<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<Call<'a>>,
    },
    Tool {
        tool_call_id: &'a str,
        content: Cow<'a, str>,
    },
}

/// What the user says: plain text as long as there is nothing else, which every server takes.
#[derive(Serialize)]
#[serde(untagged)]
enum UserContent {
    Text(String),
    Parts(Vec<UserPart>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum UserPart {
    Text { text: String },
    ImageUrl { image_url: ImageUrl },
}

#[derive(Serialize)]
struct ImageUrl {
    url: String,
}

#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: String,
}

#[derive(Serialize)]
struct Tool<'a> {
    r#type: &'static str,
    function: &'a ToolSpec,
}

/// The body of the call.
pub(super) fn body(request: &ModelRequest, limit: OutputLimit) -> Result<Vec<u8>, ModelError> {
    let mut messages = Vec::with_capacity(request.messages.len() + 1);
    if !request.system.is_empty() {
        messages.push(Message::System { content: &request.system });
    }
    for entry in history::entries(&request.messages, &request.files) {
        match entry {
            Entry::User(said) => messages.push(Message::User { content: user(said) }),
            Entry::Assistant(parts) => messages.push(assistant(&parts)),
            Entry::Results(answers) => messages.extend(answers.into_iter().map(tool)),
        }
    }
    let bound = |name| request.max_output_tokens.filter(|_| limit == name);
    http::encode(&Body {
        model: &request.model,
        messages,
        stream: true,
        stream_options: StreamOptions { include_usage: true },
        tools: request.tools.iter().map(|function| Tool { r#type: "function", function }).collect(),
        max_tokens: bound(OutputLimit::MaxTokens),
        max_completion_tokens: bound(OutputLimit::MaxCompletionTokens),
        user: request.user.as_ref().map(http::pseudonym),
    })
}

fn user(said: UserSaid<'_>) -> UserContent {
    if said.images.is_empty() {
        return UserContent::Text(said.text);
    }
    let images = said.images.iter().map(|image| {
        let url = format!("data:{};base64,{}", image.mime_type, image.base64);
        UserPart::ImageUrl { image_url: ImageUrl { url } }
    });
    UserContent::Parts(std::iter::once(UserPart::Text { text: said.text }).chain(images).collect())
}

/// Thoughts are left out: only the provider that signed one may take it back, and this protocol
/// has no field for it.
fn assistant<'a>(parts: &[&'a Part]) -> Message<'a> {
    let mut texts = Vec::new();
    let mut tool_calls = Vec::new();
    for part in parts {
        match part {
            Part::Text { text, .. } => texts.push(text.as_str()),
            Part::ToolCall { id, name, input } => tool_calls.push(call(id.as_str(), name, input)),
            Part::Reasoning { .. }
            | Part::ToolResult { .. }
            | Part::Compaction { .. }
            | Part::Context { .. }
            | Part::File { .. } => {}
        }
    }
    Message::Assistant { content: (!texts.is_empty()).then(|| texts.join("\n\n")), tool_calls }
}

fn call<'a>(id: &'a str, name: &'a str, input: &Value) -> Call<'a> {
    let arguments = history::arguments(input).to_string();
    Call { id, r#type: "function", function: Function { name, arguments } }
}

fn tool(answer: Answer<'_>) -> Message<'_> {
    Message::Tool { tool_call_id: answer.id.as_str(), content: answer.text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::history::tests::{call, message, result, text, thought};
    use copilot_shared::id::UserId;
    use copilot_shared::message::{Role, ToolOutcome};
    use serde_json::json;

    fn request() -> ModelRequest {
        ModelRequest {
            model: "m".into(),
            system: "Be brief.".into(),
            messages: vec![message(Role::User, vec![text("hi")])],
            files: std::sync::Arc::default(),
            tools: Vec::new().into(),
            max_output_tokens: None,
            user: None,
        }
    }

    fn sent(request: &ModelRequest, limit: OutputLimit) -> Value {
        serde_json::from_slice(&body(request, limit).unwrap()).unwrap()
    }

    #[test]
    fn a_plain_request_is_small() {
        assert_eq!(
            sent(&request(), OutputLimit::MaxTokens),
            json!({
                "model": "m",
                "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
                "stream": true,
                "stream_options": {"include_usage": true},
            })
        );
    }

    #[test]
    fn tools_and_bounds_are_told() {
        let mut request = request();
        let spec = ToolSpec { name: "t".into(), description: "d".into(), parameters: json!({"type": "object"}) };
        request.tools = vec![spec].into();
        request.max_output_tokens = Some(20);
        request.user = UserId::parse("someone@example.org");
        let old = sent(&request, OutputLimit::MaxTokens);
        assert_eq!(
            old["tools"],
            json!([{"type": "function", "function": {"name": "t", "description": "d", "parameters": {"type": "object"}}}])
        );
        assert_eq!((&old["max_tokens"], old.get("max_completion_tokens")), (&json!(20), None));
        let new = sent(&request, OutputLimit::MaxCompletionTokens);
        assert_eq!((&new["max_completion_tokens"], new.get("max_tokens")), (&json!(20), None));
        assert!(!old.to_string().contains("example.org"), "the user's id is nobody else's business");
        assert_eq!(old["user"], new["user"]);
    }

    #[test]
    fn openai_itself_wants_the_new_name_of_the_bound() {
        let at = |url: &str| OutputLimit::at(&Url::parse(url).unwrap());
        assert_eq!(at("https://api.openai.com/v1/chat/completions"), OutputLimit::MaxCompletionTokens);
        assert_eq!(at("https://openrouter.ai/api/v1/chat/completions"), OutputLimit::MaxTokens);
    }

    #[test]
    fn a_history_with_tools_keeps_calls_and_answers_together() {
        let mut request = request();
        request.messages.extend([
            message(
                Role::Assistant,
                vec![
                    thought("hm", None),
                    text("Let me see."),
                    call("c1", "calculator", json!({"expression": "1+1"})),
                    call("c2", "clock", json!("{\"zone\": ")),
                ],
            ),
            message(Role::Tool, vec![result("c1", ToolOutcome::Output(json!({"result": 2})))]),
            message(Role::Tool, vec![result("c2", ToolOutcome::Error("bad arguments".into()))]),
            message(Role::Assistant, vec![call("c3", "clock", json!({}))]),
            message(Role::Tool, vec![result("c3", ToolOutcome::Output(json!("noon")))]),
        ]);
        assert_eq!(
            sent(&request, OutputLimit::MaxTokens)["messages"],
            json!([
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "Let me see.", "tool_calls": [
                    {"id": "c1", "type": "function",
                        "function": {"name": "calculator", "arguments": "{\"expression\":\"1+1\"}"}},
                    {"id": "c2", "type": "function",
                        "function": {"name": "clock", "arguments": "{\"unreadable_arguments\":\"{\\\"zone\\\": \"}"}},
                ]},
                {"role": "tool", "tool_call_id": "c1", "content": "{\"result\":2}"},
                {"role": "tool", "tool_call_id": "c2", "content": "bad arguments"},
                {"role": "assistant", "content": null, "tool_calls": [
                    {"id": "c3", "type": "function", "function": {"name": "clock", "arguments": "{}"}},
                ]},
                {"role": "tool", "tool_call_id": "c3", "content": "noon"},
            ])
        );
    }
}
