//! Plays what the embedded model has decided to do, at its pace.

use std::time::Duration;

use async_stream::stream;
use copilot_shared::message::Part;
use copilot_shared::turn::FinishReason;
use copilot_shared::usage::TokenUsage;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep_until};

use super::Pace;
use crate::model::{ModelError, ModelEvent, ModelRequest, ModelStream};

/// Arguments are streamed in pieces of this many characters, as providers do.
const ARGUMENT_PIECE: usize = 8;
const FILLER: &str = "the quick brown fox jumps over the lazy dog ";

/// One thing that the model does in a call.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Act {
    /// Says a text word by word.
    Say {
        /// Aloud or not.
        kind: Kind,
        /// The text.
        text: String,
        /// At the pace of `demo:slow`.
        slow: bool,
    },
    /// Emits measured pieces of text.
    Emit(Measured),
    /// Calls tools, all in one step. Ends the model call.
    Call(Vec<Call>),
    /// Waits until it is dropped.
    Hang,
    /// Breaks. Ends the model call.
    Fail(Failure),
}

impl Act {
    /// Says a text aloud.
    pub(super) fn say(text: impl Into<String>) -> Self {
        Self::Say { kind: Kind::Text, text: text.into(), slow: false }
    }
}

/// Aloud or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A piece of the answer.
    Text,
    /// A piece of a thought.
    Reasoning,
}

impl Kind {
    fn event(self, text: String) -> ModelEvent {
        match self {
            Self::Text => ModelEvent::Text(text),
            Self::Reasoning => ModelEvent::Reasoning(text),
        }
    }
}

/// Pieces of text by number, speed and size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measured {
    /// Aloud or not.
    pub(super) kind: Kind,
    /// How many pieces.
    pub(super) count: u32,
    /// Pieces a second; 0 for as fast as possible.
    pub(super) rate: f64,
    /// Bytes of each.
    pub(super) bytes: usize,
}

impl Measured {
    /// The `n`-th piece: its number, then filler, so that a lost or doubled piece can be told. Too
    /// small a piece keeps the last digits, which change the most.
    fn piece(&self, n: u32) -> String {
        let mut text = format!("{n} ");
        let excess = text.len().saturating_sub(self.bytes);
        text.drain(..excess);
        text.extend(FILLER.chars().cycle().take(self.bytes - text.len()));
        text
    }

    fn due(&self, begin: Instant, n: u32) -> Option<Instant> {
        if self.rate <= 0.0 {
            return None;
        }
        Duration::try_from_secs_f64(f64::from(n) / self.rate).ok().map(|after| begin + after)
    }
}

/// A tool call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// The tool.
    pub(super) name: String,
    /// The arguments as the model writes them, valid or not.
    pub(super) arguments: String,
}

/// How a call breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Like a provider's 503, before anything is said.
    Transient,
    /// For good.
    Fatal,
    /// Like a connection that breaks off in the middle of the answer.
    Broken,
}

impl Failure {
    fn error(self) -> ModelError {
        let (message, transient) = match self {
            Self::Transient => ("The demo model is busy, as its script says.", true),
            Self::Broken => ("The demo model broke off its answer, as its script says.", true),
            Self::Fatal => ("The demo model refused to answer, as its script says.", false),
        };
        if transient {
            ModelError::Transient { message: message.into(), retry_after: None }
        } else {
            ModelError::Fatal(message.into())
        }
    }
}

/// A call as it is played after `failures` that the caller has seen: each `demo:error=transient`
/// is a refusal of the whole call, and once they are used up the rest is played.
pub(super) fn after_failures(mut acts: Vec<Act>, failures: u32) -> Vec<Act> {
    let transient = |act: &Act| *act == Act::Fail(Failure::Transient);
    let scripted = acts.iter().filter(|act| transient(act)).count();
    if usize::try_from(failures).is_ok_and(|failures| failures < scripted) {
        return vec![Act::Fail(Failure::Transient)];
    }
    acts.retain(|act| !transient(act));
    if acts.is_empty() {
        acts.push(Act::say("The call failed at first, as the script says, and has succeeded now."));
    }
    acts
}

/// The characters that a provider would count as input.
pub(super) fn size_of(request: &ModelRequest) -> usize {
    let parts = request.messages.iter().flat_map(|message| &message.parts).map(|part| match part {
        Part::Text { text, .. } => text.len(),
        Part::Context { url, content } => url.len() + content.len(),
        Part::ToolCall { name, input, .. } => name.len() + input.to_string().len(),
        Part::ToolResult { outcome, .. } => serde_json::to_string(outcome).map_or(0, |text| text.len()),
        Part::Reasoning { .. } | Part::Compaction { .. } | Part::File { .. } => 0,
    });
    let tools = request.tools.iter().map(|tool| tool.description.len() + tool.parameters.to_string().len());
    request.system.len() + parts.sum::<usize>() + tools.sum::<usize>()
}

/// Plays the acts in order, then reports the usage and why it stopped.
pub(super) fn perform(acts: Vec<Act>, prompt_chars: usize, pace: Pace) -> ModelStream {
    let calls = acts.iter().any(|act| matches!(act, Act::Call(_)));
    let broken = acts.iter().any(|act| matches!(act, Act::Fail(_)));
    let reason = if calls { FinishReason::ToolCalls } else { FinishReason::Stop };
    let spoken = acts.iter().map(spoken_chars).sum();
    let usage = TokenUsage { estimated: false, ..TokenUsage::estimate(prompt_chars, spoken) };
    let end = [Ok(ModelEvent::Usage(usage)), Ok(ModelEvent::Finish(reason))];
    let acts = stream::iter(acts).flat_map(move |act| play(act, pace));
    // Nothing comes after an error.
    if broken { acts.boxed() } else { acts.chain(stream::iter(end)).boxed() }
}

fn spoken_chars(act: &Act) -> usize {
    match act {
        Act::Say { text, .. } => text.len(),
        Act::Emit(measured) => usize::try_from(measured.count).unwrap_or(0).saturating_mul(measured.bytes),
        Act::Call(calls) => calls.iter().map(|call| call.name.len() + call.arguments.len()).sum(),
        Act::Hang | Act::Fail(_) => 0,
    }
}

type Events = BoxStream<'static, Result<ModelEvent, ModelError>>;

fn play(act: Act, pace: Pace) -> Events {
    match act {
        Act::Say { kind, text, slow } => say(kind, text, if slow { pace.slow_word } else { pace.word }),
        Act::Emit(measured) => emit(measured),
        Act::Call(calls) => stream::iter(calls.into_iter().enumerate().flat_map(call_events)).map(Ok).boxed(),
        Act::Hang => stream::pending().boxed(),
        Act::Fail(failure) => stream::iter([Err(failure.error())]).boxed(),
    }
}

fn say(kind: Kind, text: String, every: Duration) -> Events {
    Box::pin(stream! {
        let begin = Instant::now();
        let mut due = begin;
        for word in text.split_inclusive(char::is_whitespace) {
            wait(Some(due).filter(|due| *due > begin)).await;
            due += every;
            yield Ok(kind.event(word.to_owned()));
        }
    })
}

fn emit(measured: Measured) -> Events {
    Box::pin(stream! {
        let begin = Instant::now();
        for n in 0..measured.count {
            wait(measured.due(begin, n)).await;
            yield Ok(measured.kind.event(measured.piece(n)));
        }
    })
}

/// Waits for the moment; without one, still lets others run now and then.
async fn wait(due: Option<Instant>) {
    match due {
        Some(due) if due > Instant::now() => sleep_until(due).await,
        Some(_) | None => consume_budget().await,
    }
}

fn call_events((index, call): (usize, Call)) -> Vec<ModelEvent> {
    let mut events = vec![ModelEvent::ToolCallStart { index, name: call.name }];
    let characters: Vec<char> = call.arguments.chars().collect();
    let pieces = characters.chunks(ARGUMENT_PIECE).map(|piece| piece.iter().collect());
    events.extend(pieces.map(|arguments| ModelEvent::ToolCallDelta { index, arguments }));
    events
}
