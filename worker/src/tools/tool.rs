//! What a tool is: one file with one implementation of [`Tool`].

use std::time::Duration;

use copilot_shared::tool::{Concurrency, Repeat, ToolAnswer};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::ToolContext;

/// Who may call a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody, the owner of an anonymous session included.
    Open,
    /// Only those who are signed in; others are asked to.
    SignedIn,
}

/// One tool. What is said of it is constant, so that providers' caches hit.
pub trait Tool: Send + Sync + 'static {
    /// Its arguments. The JSON schema that the model sees is derived from the type; its fields'
    /// doc comments are their descriptions. A call that breaks the schema does not reach the tool.
    type Arguments: DeserializeOwned + JsonSchema + Send;

    /// The name by which the model calls it.
    const NAME: &'static str;

    /// When and how to use it, for the model.
    const DESCRIPTION: &'static str;

    /// Who may call it.
    const ACCESS: Access;

    /// May a call whose outcome is unknown be made again? If in doubt: never.
    const REPEAT: Repeat;

    /// May it run beside others?
    const CONCURRENCY: Concurrency = Concurrency::Parallel;

    /// How long a call may take at most.
    const TIME_LIMIT: Duration = Duration::from_secs(30);

    /// Makes a call. Its future is dropped at the time limit, at a cancel and when the turn is
    /// lost: that must end whatever the call started. What runs apart from the future watches
    /// [`ToolContext::stop`].
    fn call(
        &self,
        context: &ToolContext,
        arguments: Self::Arguments,
    ) -> impl Future<Output = Result<ToolAnswer, ToolFailure>> + Send;
}

/// The arguments of a tool that takes none.
#[derive(Debug, serde::Deserialize, JsonSchema)]
pub struct NoArguments {}

/// The call came to no good. `?` makes it of any error; what that error displays is shown to user
/// and model, so it must hold nothing secret, while its sources are only logged.
#[derive(Debug)]
pub enum ToolFailure {
    /// It broke. Counts for the breaker.
    Broken {
        /// What user and model are told.
        sentence: String,
        /// Why, for the log.
        cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The tool says no, which is an answer like others.
    Refused(Box<ToolAnswer>),
}

impl ToolFailure {
    /// It broke, and this is all there is to say.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self::Broken { sentence: sentence.into(), cause: None }
    }

    /// The tool says no, for a reason that has a stable word.
    pub fn refused(code: &str, message: impl Into<String>) -> Self {
        Self::Refused(Box::new(ToolAnswer::error(code, message)))
    }
}

// `ToolFailure` is no `Error` itself, or this would overlap with `From<T> for T`.
impl<E: std::error::Error + Send + Sync + 'static> From<E> for ToolFailure {
    fn from(error: E) -> Self {
        Self::Broken { sentence: error.to_string(), cause: Some(Box::new(error)) }
    }
}
