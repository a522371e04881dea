//! The model port: one request in, a stream of events out, whoever the provider is.

pub mod anthropic;
pub mod config;
pub mod demo;
mod failure;
pub mod files;
mod history;
mod http;
pub mod openai;
pub mod retry;
mod sse;
pub mod whole;

use std::sync::Arc;
use std::time::Duration;

use copilot_shared::id::UserId;
use copilot_shared::message::HistoryMessage;
use copilot_shared::tool::ToolSpec;
use copilot_shared::turn::FinishReason;
use copilot_shared::usage::TokenUsage;
use futures_util::stream::BoxStream;

use self::files::AttachedFiles;

/// One model call.
#[derive(Debug, Clone)]
pub struct ModelRequest {
    /// The provider's name of the model.
    pub model: String,
    /// The system prompt.
    pub system: String,
    /// The conversation so far; ends with the user's message or with tool results.
    pub messages: Vec<HistoryMessage>,
    /// What it sees of the files in `messages`.
    pub files: Arc<AttachedFiles>,
    /// What the model may call; empty for none.
    pub tools: Arc<[ToolSpec]>,
    /// Bound on the answer, in tokens; absent leaves it to the provider.
    pub max_output_tokens: Option<u32>,
    /// For the provider's own abuse tracking.
    pub user: Option<UserId>,
}

/// What a model says, as it says it.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelEvent {
    /// A piece of a thought.
    Reasoning(String),
    /// What the provider wants back with the thought that just ended.
    ReasoningSignature(String),
    /// A piece of the answer.
    Text(String),
    /// A tool call begins.
    ToolCallStart {
        /// Which of the parallel calls of this answer.
        index: usize,
        /// The tool's name.
        name: String,
    },
    /// A piece of a tool call's arguments, as JSON text.
    ToolCallDelta {
        /// Which of the parallel calls of this answer.
        index: usize,
        /// The piece.
        arguments: String,
    },
    /// What the call used so far; a later one replaces an earlier one.
    Usage(TokenUsage),
    /// The model stopped. Always the last event.
    Finish(FinishReason),
}

/// Why a model call failed. Texts carry nothing secret: they reach the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// Likely to pass: 429, 5xx, a broken connection, silence.
    #[error("{message}")]
    Transient {
        /// A friendly sentence.
        message: String,
        /// How long the provider asks to wait.
        retry_after: Option<Duration>,
    },
    /// The conversation does not fit into the model's window.
    #[error("the conversation is too long for the model")]
    ContextTooLong,
    /// Asking again will not help: a bad key, a refused request, an answer that makes no sense.
    #[error("{0}")]
    Fatal(String),
}

/// The events of one call. Nothing is sent before the first poll; dropping it drops the
/// provider's connection.
pub type ModelStream = BoxStream<'static, Result<ModelEvent, ModelError>>;

/// A provider of models.
pub trait Model: Send + Sync + 'static {
    /// Makes one call.
    fn stream(&self, request: ModelRequest) -> ModelStream;

    /// Makes a call again that failed `failures` times before it said anything. Only a model that
    /// plays its failures cares how often.
    fn stream_retry(&self, request: ModelRequest, _failures: u32) -> ModelStream {
        self.stream(request)
    }
}
