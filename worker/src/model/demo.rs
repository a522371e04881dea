//! The embedded model: no key, no network. It answers from the conversation, calls tools when asked
//! in plain words, and plays scripts for tests and load (`demo:…` words in the user's message).

mod answer;
mod brief;
mod json;
mod play;
mod recall;
mod report;
mod script;
mod wish;

use std::time::Duration;

use copilot_shared::message::{HistoryMessage, Part, Role, text_of};
use copilot_shared::tool::ToolSpec;
use futures_util::{StreamExt, stream};

use self::play::{Act, Kind};
use self::script::Script;
use super::{Model, ModelRequest, ModelStream};

/// The waits between the words of the embedded model.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between words of an ordinary answer.
    pub word: Duration,
    /// Between words of `demo:slow`.
    pub slow_word: Duration,
}

impl Pace {
    /// No waits at all.
    pub const INSTANT: Self = Self { word: Duration::ZERO, slow_word: Duration::ZERO };
}

impl Default for Pace {
    fn default() -> Self {
        Self { word: Duration::from_millis(30), slow_word: Duration::from_millis(300) }
    }
}

/// The embedded model.
#[derive(Debug, Clone, Copy, Default)]
pub struct Demo {
    pace: Pace,
}

impl Demo {
    /// A model that speaks at this pace.
    pub fn new(pace: Pace) -> Self {
        Self { pace }
    }
}

impl Model for Demo {
    fn stream(&self, request: ModelRequest) -> ModelStream {
        self.stream_retry(request, 0)
    }

    /// `demo:error=transient` fails as often as the script says and then succeeds: the count comes
    /// from the caller, so that it is right in every process.
    fn stream_retry(&self, request: ModelRequest, failures: u32) -> ModelStream {
        let pace = self.pace;
        // Large histories are read when the call is made, not when it is prepared.
        stream::once(async move { play::perform(acts(&request, failures), play::size_of(&request), pace) })
            .flatten()
            .boxed()
    }
}

/// What the model does in this call.
fn acts(request: &ModelRequest, failures: u32) -> Vec<Act> {
    if let Some(text) = brief::answer(&request.system, &request.messages) {
        return vec![Act::say(text)];
    }
    let scene = Scene::of(request);
    let script = Script::parse(&scene.question);
    if script.is_empty() {
        return plain(&scene, request);
    }
    match script.call(scene.step) {
        Some(call) => play::after_failures(call, failures),
        None => vec![Act::say(report::results(&scene.results))],
    }
}

fn plain(scene: &Scene<'_>, request: &ModelRequest) -> Vec<Act> {
    if !scene.results.is_empty() {
        return vec![Act::say(report::results(&scene.results))];
    }
    let wishes = wish::wishes(&scene.question, &request.tools);
    let mut acts = Vec::new();
    if wishes.calls.is_empty() && wishes.missing.is_empty() {
        if let Some(thought) = answer::thought(&scene.question) {
            acts.push(Act::Say { kind: Kind::Reasoning, text: thought, slow: false });
        }
        acts.push(Act::say(answer::answer(scene)));
    } else {
        let missing = wishes.missing.iter().map(|name| format!("The tool `{name}` is not available here."));
        let text: Vec<String> = missing.collect();
        acts.extend((!text.is_empty()).then(|| Act::say(text.join(" "))));
        acts.extend((!wishes.calls.is_empty()).then_some(Act::Call(wishes.calls)));
    }
    acts
}

/// The conversation as the model looks at it.
struct Scene<'a> {
    /// What the user wrote last.
    question: String,
    /// What they were looking at.
    context: Option<(&'a str, &'a str)>,
    /// What they wrote before.
    asked: Vec<String>,
    /// What the model said before.
    said: Vec<String>,
    /// How many calls of this turn came before this one: each left a message.
    step: usize,
    /// What the tools answered in this turn since the last call.
    results: Vec<&'a Part>,
    /// What it may call.
    tools: &'a [ToolSpec],
}

impl<'a> Scene<'a> {
    fn of(request: &'a ModelRequest) -> Self {
        let messages = &request.messages;
        let last = messages.iter().rposition(|message| matches!(message.role, Role::User | Role::System));
        let (past, now) = messages.split_at(last.unwrap_or(messages.len()));
        let mut turn = now.iter();
        let current = turn.next();
        let parts = current.map(|message| message.parts.as_slice()).unwrap_or_default();
        let step = turn.clone().filter(|message| message.role == Role::Assistant).count();
        let newest = now.iter().rposition(|message| message.role == Role::Assistant);
        let results = now.iter().skip(newest.unwrap_or(now.len()));
        Self {
            question: text_of(parts),
            context: parts.iter().find_map(|part| match part {
                Part::Context { url, content } => Some((url.as_str(), content.as_str())),
                _ => None,
            }),
            asked: texts(past, Role::User),
            said: texts(messages, Role::Assistant),
            step,
            results: results
                .flat_map(|message| &message.parts)
                .filter(|part| matches!(part, Part::ToolResult { .. }))
                .collect(),
            tools: &request.tools,
        }
    }
}

fn texts(messages: &[HistoryMessage], role: Role) -> Vec<String> {
    let spoken = messages.iter().filter(|message| message.role == role);
    spoken.map(|message| text_of(&message.parts)).filter(|text| !text.trim().is_empty()).collect()
}

#[cfg(test)]
mod tests;
