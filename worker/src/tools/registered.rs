//! A tool as the toolbox holds it: its arguments are checked, its time is limited, and whatever
//! happens becomes an answer.

use std::panic::AssertUnwindSafe;

use copilot_shared::tool::plain::{ErrorResponse, NeedLogin};
use copilot_shared::tool::{Concurrency, Repeat, ToolAnswer, ToolResponse, ToolSpec};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jsonschema::Validator;
use serde_json::Value;

use super::tool::Access;
use super::{Tool, ToolContext, ToolFailure, arguments, schema};

/// What a call came to.
#[derive(Debug)]
pub enum CallEnd {
    /// The tool answered, even if it said no.
    Answered(ToolAnswer),
    /// The call was not made, or broke. Counts for the breaker.
    Failed(ToolAnswer),
}

/// A tool, whatever its arguments.
pub(super) trait AnyTool: Send + Sync {
    fn spec(&self) -> &ToolSpec;
    fn repeat(&self) -> Repeat;
    fn concurrency(&self) -> Concurrency;
    fn needs_arguments(&self) -> bool;
    fn call<'a>(&'a self, context: &'a ToolContext, input: Value) -> BoxFuture<'a, CallEnd>;
}

/// A schema that is none: a mistake in a tool's argument type.
#[derive(Debug, thiserror::Error)]
#[error("the arguments of the tool {tool} have no valid schema: {reason}")]
pub struct SchemaError {
    tool: &'static str,
    reason: String,
}

pub(super) struct Registered<T> {
    tool: T,
    spec: ToolSpec,
    required: Vec<String>,
    validator: Validator,
}

impl<T: Tool> Registered<T> {
    pub(super) fn new(tool: T) -> Result<Self, SchemaError> {
        let parameters = schema::of::<T::Arguments>();
        let validator = jsonschema::validator_for(&parameters)
            .map_err(|error| SchemaError { tool: T::NAME, reason: error.to_string() })?;
        let required = schema::strings(parameters.get("required"));
        let spec = ToolSpec { name: T::NAME.into(), description: T::DESCRIPTION.into(), parameters };
        Ok(Self { tool, spec, required, validator })
    }

    async fn run(&self, context: &ToolContext, input: Value) -> CallEnd {
        if T::ACCESS == Access::SignedIn && context.user_id.is_none() {
            let response = ToolResponse::NeedLogin(NeedLogin::default());
            return CallEnd::Answered(ToolAnswer::new(format!("Please sign in to use {}", T::NAME), response));
        }
        let arguments = match arguments::read(&self.validator, &self.required, input) {
            Ok(arguments) => arguments,
            Err(misfit) => return CallEnd::Failed(misfit.answer(T::NAME)),
        };
        let call = AssertUnwindSafe(self.tool.call(context, arguments)).catch_unwind();
        match tokio::time::timeout(T::TIME_LIMIT, call).await {
            Ok(Ok(Ok(answer))) => CallEnd::Answered(answer),
            Ok(Ok(Err(failure))) => ended(T::NAME, failure),
            Ok(Err(_panic)) => ended(T::NAME, ToolFailure::new("The tool has a defect.")),
            Err(_elapsed) => {
                let message =
                    format!("{} did not finish within {} s and was stopped.", T::NAME, T::TIME_LIMIT.as_secs());
                CallEnd::Failed(ToolAnswer::error("time_limit", message))
            }
        }
    }
}

fn ended(tool: &str, failure: ToolFailure) -> CallEnd {
    let (sentence, cause) = match failure {
        ToolFailure::Refused(answer) => return CallEnd::Answered(*answer),
        ToolFailure::Broken { sentence, cause } => (sentence, cause),
    };
    let error = cause.as_deref().map(|error| error as &dyn std::error::Error);
    tracing::warn!(tool, sentence, error, "a tool call broke");
    let fields = ErrorResponse { error: Some(sentence), details: None };
    CallEnd::Failed(ToolAnswer::new(format!("An error occurred while executing {tool}"), ToolResponse::Error(fields)))
}

impl<T: Tool> AnyTool for Registered<T> {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn repeat(&self) -> Repeat {
        T::REPEAT
    }

    fn concurrency(&self) -> Concurrency {
        T::CONCURRENCY
    }

    fn needs_arguments(&self) -> bool {
        !self.required.is_empty()
    }

    fn call<'a>(&'a self, context: &'a ToolContext, input: Value) -> BoxFuture<'a, CallEnd> {
        self.run(context, input).boxed()
    }
}
