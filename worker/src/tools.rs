//! What the model may call. A tool is one file below this module, and one line in
//! [`Toolbox::built_in`].

use std::sync::Arc;

use copilot_shared::message::ToolOutcome;
use copilot_shared::tool::{Concurrency, Repeat, ToolAnswer, ToolSpec};
use serde_json::Value;

mod add_understanding;
mod arguments;
mod ask_question;
mod bash_exec;
mod breaker;
mod calculator;
mod connect_integration;
mod context;
mod current_time;
mod envelope;
mod feature_requests;
mod files;
mod folders;
mod get_doc_page;
mod mcp_guide;
mod registered;
mod run_mcp_tool;
mod schema;
mod search_docs;
mod suggest_goal;
mod todo_write;
mod tool;
mod web_fetch;

pub use breaker::Breaker;
pub use context::{Outlet, Preliminary, Resources, ToolContext};
pub use registered::{CallEnd, SchemaError};
pub use tool::{Access, NoArguments, Tool, ToolFailure};

use registered::{AnyTool, Registered};

/// The tools of a worker, in a stable order: providers cache what does not change.
#[derive(Clone, Default)]
pub struct Toolbox {
    tools: Vec<Arc<dyn AnyTool>>,
    specs: Arc<[ToolSpec]>,
}

impl Toolbox {
    /// Everything that this worker brings.
    pub fn built_in() -> Result<Self, SchemaError> {
        Self::default()
            .with(calculator::Calculator)?
            .with(current_time::CurrentTime)?
            .with(files::ListFiles)?
            .with(files::ReadFile)?
            .with(files::WriteFile)?
            .with(files::DeleteFile)?
            .with(web_fetch::WebFetch)?
            .with(bash_exec::BashExec)?
            .with(run_mcp_tool::RunMcpTool)?
            .with(mcp_guide::GetMcpGuide)?
            .with(add_understanding::AddUnderstanding)?
            .with(ask_question::AskQuestion)?
            .with(suggest_goal::SuggestGoal)?
            .with(todo_write::TodoWrite)?
            .with(search_docs::SearchDocs)?
            .with(get_doc_page::GetDocPage)?
            .with(folders::ListFolders)?
            .with(folders::CreateFolder)?
            .with(folders::UpdateFolder)?
            .with(folders::MoveFolder)?
            .with(folders::DeleteFolder)?
            .with(feature_requests::SearchFeatureRequests)?
            .with(feature_requests::CreateFeatureRequest)?
            .with(connect_integration::ConnectIntegration)
    }

    /// The same, with commands that run outside.
    pub fn in_cloud(self) -> Result<Self, SchemaError> {
        self.with(bash_exec::InCloud)
    }

    /// The same with one tool more, or with one in the place of another of its name.
    pub fn with(mut self, tool: impl Tool) -> Result<Self, SchemaError> {
        let tool: Arc<dyn AnyTool> = Arc::new(Registered::new(tool)?);
        match self.tools.iter_mut().find(|other| other.spec().name == tool.spec().name) {
            Some(other) => *other = tool,
            None => self.tools.push(tool),
        }
        self.specs = self.tools.iter().map(|tool| tool.spec().clone()).collect();
        Ok(self)
    }

    /// What the model is told.
    pub fn specs(&self) -> Arc<[ToolSpec]> {
        Arc::clone(&self.specs)
    }

    /// Is there a tool of this name?
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// May a call of this tool be made again when its outcome is unknown? One of a tool that is
    /// not there does nothing, however often.
    pub fn repeat(&self, name: &str) -> Repeat {
        self.find(name).map_or(Repeat::Safe, AnyTool::repeat)
    }

    /// May a call of this tool run beside others?
    pub fn concurrency(&self, name: &str) -> Concurrency {
        self.find(name).map_or(Concurrency::Parallel, AnyTool::concurrency)
    }

    /// Does a call lack every argument that its tool needs?
    pub fn lacks_arguments(&self, name: &str, input: &Value) -> bool {
        let empty = input.as_object().is_some_and(serde_json::Map::is_empty);
        empty && self.find(name).is_some_and(AnyTool::needs_arguments)
    }

    /// Makes a call, unless nobody has the tool. Everything that the call started has ended when
    /// this returns or is dropped.
    pub async fn call(&self, name: &str, context: ToolContext, input: Value) -> CallEnd {
        let Some(tool) = self.find(name) else {
            let known: Vec<&str> = self.specs.iter().map(|spec| spec.name.as_str()).collect();
            let message = format!("There is no tool called {name:?}. There are: {}.", known.join(", "));
            return CallEnd::Failed(ToolAnswer::error("unknown_tool", message));
        };
        let _ends_with_the_call = context.stop.clone().drop_guard();
        tool.call(&context, input).await
    }

    fn find(&self, name: &str) -> Option<&dyn AnyTool> {
        self.tools.iter().find(|tool| tool.spec().name == name).map(AsRef::as_ref)
    }
}

impl CallEnd {
    /// Did the call fail?
    pub fn has_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    /// What clients, the model and the history get of it: JSON text within bounds. The whole of a
    /// long one is kept in the workspace.
    pub async fn outcome(self, context: &ToolContext) -> ToolOutcome {
        let text = |mut answer: ToolAnswer| {
            answer.session_id = Some(context.session_id);
            answer.to_json()
        };
        match self {
            Self::Answered(answer) => ToolOutcome::Output(Value::String(envelope::seal(context, text(answer)).await)),
            Self::Failed(answer) => ToolOutcome::Error(envelope::capped(text(answer))),
        }
    }
}

#[cfg(test)]
mod tests;
