//! What the model may call. A tool is one file below this module.

use std::sync::Arc;
use std::time::Duration;

use copilot_shared::id::{SessionId, UserId};
use copilot_shared::message::ToolOutcome;
use copilot_shared::tool::{Concurrency, Repeat, ToolSpec};
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::Value;

mod calculator;
mod current_time;

/// Where a call comes from.
#[derive(Debug, Clone)]
pub struct ToolContext {
    /// The conversation.
    pub session_id: SessionId,
    /// Its owner, if it has one.
    pub user_id: Option<UserId>,
}

/// One tool.
pub trait Tool: Send + Sync + 'static {
    /// How the model is told of it.
    fn spec(&self) -> ToolSpec;

    /// May a call whose outcome is unknown be made again?
    fn repeat(&self) -> Repeat;

    /// May it run beside others?
    fn concurrency(&self) -> Concurrency {
        Concurrency::Parallel
    }

    /// How long a call may take.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// Makes a call. The error is a sentence that the model can act on. Dropping the future ends
    /// whatever it started.
    fn call(&self, context: ToolContext, input: Value) -> BoxFuture<'static, Result<Value, String>>;
}

/// The tools of a worker.
#[derive(Clone)]
pub struct Toolbox {
    tools: Arc<[Arc<dyn Tool>]>,
    specs: Arc<[ToolSpec]>,
}

impl Toolbox {
    /// A box of tools, in a stable order: providers cache what does not change.
    pub fn new(tools: Vec<Arc<dyn Tool>>) -> Self {
        let specs = tools.iter().map(|tool| tool.spec()).collect();
        Self { tools: tools.into(), specs }
    }

    /// Everything that this worker brings.
    pub fn built_in() -> Self {
        Self::new(vec![Arc::new(calculator::Calculator), Arc::new(current_time::CurrentTime)])
    }

    /// What the model is told.
    pub fn specs(&self) -> Arc<[ToolSpec]> {
        Arc::clone(&self.specs)
    }

    /// A tool by its name.
    pub fn find(&self, name: &str) -> Option<&Arc<dyn Tool>> {
        self.tools.iter().zip(self.specs.iter()).find(|(_, spec)| spec.name == name).map(|(tool, _)| tool)
    }

    /// Makes a call within its time limit.
    pub async fn call(&self, name: &str, context: ToolContext, input: Value) -> ToolOutcome {
        let Some(tool) = self.find(name) else {
            let known: Vec<&str> = self.specs.iter().map(|spec| spec.name.as_str()).collect();
            return ToolOutcome::Error(format!("There is no tool called {name:?}. There are: {}.", known.join(", ")));
        };
        match tokio::time::timeout(tool.time_limit(), tool.call(context, input)).await {
            Ok(Ok(output)) => ToolOutcome::Output(output),
            Ok(Err(sentence)) => ToolOutcome::Error(sentence),
            Err(_elapsed) => {
                ToolOutcome::Error(format!("The tool did not finish within {} s.", tool.time_limit().as_secs()))
            }
        }
    }
}

/// Reads a call's arguments, or says what is wrong with them.
fn arguments<T: DeserializeOwned>(input: Value) -> Result<T, String> {
    match input {
        Value::Object(_) => {
            serde_json::from_value(input).map_err(|error| format!("The arguments do not fit: {error}."))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err("The arguments must be one JSON object.".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn context() -> ToolContext {
        ToolContext { session_id: SessionId::random(), user_id: None }
    }

    #[tokio::test]
    async fn an_unknown_tool_names_the_known_ones() {
        let outcome = Toolbox::built_in().call("nope", context(), json!({})).await;
        assert!(matches!(outcome, ToolOutcome::Error(text) if text.contains("calculator")));
    }

    #[tokio::test]
    async fn wrong_arguments_are_explained_to_the_model() {
        for bad in [json!("not json"), json!({}), json!({"expression": 4})] {
            let outcome = Toolbox::built_in().call("calculator", context(), bad).await;
            assert!(matches!(outcome, ToolOutcome::Error(text) if text.contains("arguments")));
        }
    }

    #[tokio::test]
    async fn the_calculator_calculates() {
        let outcome = Toolbox::built_in().call("calculator", context(), json!({"expression": "12*(3+4)"})).await;
        assert_eq!(outcome, ToolOutcome::Output(json!({"expression": "12*(3+4)", "result": 84})));
    }
}
