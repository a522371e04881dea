//! Everything that a tool can answer: one type a line, told apart by `type` on the wire.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::ser::{Serialize, Serializer};
use serde::{Deserialize, Serialize as SerializeFields};
use serde_json::Value;

use super::{agents, blocks, browser, builder, files, folders, found, plain, setup};
use crate::id::SessionId;

/// A member of the union as the OpenAPI document describes it.
#[derive(Debug)]
pub struct ResponseSchema {
    /// The value of `type`.
    pub kind: &'static str,
    /// The schema's name.
    pub name: &'static str,
    /// The first line of its description.
    pub description: &'static str,
    /// The schema of its own fields.
    pub fields: Schema,
}

/// Does a recorded output ask the user something, so that the turn ends and waits for the reply?
/// Read from what is recorded, so that every attempt at the turn says the same.
pub fn waits_for_user(output: &Value) -> bool {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
    }
    let kind = output.as_str().and_then(|text| serde_json::from_str::<Kind<'_>>(text).ok());
    kind.is_some_and(|kind| matches!(&*kind.r#type, "agent_builder_clarification_needed" | "suggested_goal"))
}

macro_rules! tool_responses {
    ($($(#[doc = $doc:literal])+ $variant:ident($fields:ty) = $kind:literal as $name:literal,)*) => {
        /// What a tool answers, without the fields that every answer has.
        #[derive(Debug, Clone, PartialEq, Deserialize)]
        #[serde(tag = "type")]
        pub enum ToolResponse {
            $($(#[doc = $doc])+ #[serde(rename = $kind)] $variant($fields),)*
        }

        impl ToolResponse {
            /// Every value of `type`.
            pub const KINDS: &'static [&'static str] = &[$($kind),*];

            /// The value of `type`.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $kind,)*
                }
            }

            /// The members of the union, for the OpenAPI document.
            pub fn schemas(generator: &mut SchemaGenerator) -> Vec<ResponseSchema> {
                vec![$(ResponseSchema {
                    kind: $kind,
                    name: $name,
                    description: concat!($($doc),+).trim_ascii(),
                    fields: <$fields as JsonSchema>::json_schema(generator),
                }),*]
            }

            fn serialize_with<S: Serializer>(
                &self,
                message: &str,
                session_id: Option<SessionId>,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$variant(fields) => Wire { r#type: $kind, message, session_id, fields }.serialize(serializer),)*
                }
            }
        }
    };
}

tool_responses! {
    /// Agents that fit a search.
    AgentsFound(agents::AgentsFound) = "agents_found" as "AgentsFoundResponse",
    /// Nothing fits.
    NoResults(plain::NoResults) = "no_results" as "NoResultsResponse",
    /// What an agent wants before it runs.
    AgentDetails(agents::AgentDetailsShown) = "agent_details" as "AgentDetailsResponse",
    /// Credentials or inputs must be set up first.
    SetupRequirements(setup::SetupRequirements) = "setup_requirements" as "SetupRequirementsResponse",
    /// A run has begun, or is scheduled, or is still under way.
    ExecutionStarted(agents::ExecutionStarted) = "execution_started" as "ExecutionStartedResponse",
    /// Only for those who are signed in.
    NeedLogin(plain::NeedLogin) = "need_login" as "NeedLoginResponse",
    /// It did not work.
    Error(plain::ErrorResponse) = "error" as "ErrorResponse",
    /// Inputs that do not fit.
    InputValidationError(agents::InputValidationError) = "input_validation_error" as "InputValidationErrorResponse",
    /// What an agent put out.
    AgentOutput(agents::AgentOutput) = "agent_output" as "AgentOutputResponse",
    /// What is known of the user has changed.
    UnderstandingUpdated(plain::UnderstandingUpdated) = "understanding_updated" as "UnderstandingUpdatedResponse",
    /// An agent that was made and not saved.
    AgentPreview(builder::AgentPreview) = "agent_builder_preview" as "AgentPreviewResponse",
    /// An agent that was saved.
    AgentSaved(builder::AgentSaved) = "agent_builder_saved" as "AgentSavedResponse",
    /// The user must answer questions first.
    ClarificationNeeded(builder::ClarificationNeeded) = "agent_builder_clarification_needed" as "ClarificationNeededResponse",
    /// A goal that could be reached, in place of one that could not.
    SuggestedGoal(builder::SuggestedGoal) = "suggested_goal" as "SuggestedGoalResponse",
    /// Blocks that fit a search.
    BlockList(blocks::BlockList) = "block_list" as "BlockListResponse",
    /// What a block wants before it runs.
    BlockDetails(blocks::BlockDetailsShown) = "block_details" as "BlockDetailsResponse",
    /// What a block put out.
    BlockOutput(blocks::BlockOutput) = "block_output" as "BlockOutputResponse",
    /// Pages of the documentation that fit a search.
    DocSearchResults(found::DocSearchResults) = "doc_search_results" as "DocSearchResultsResponse",
    /// A page of the documentation.
    DocPage(found::DocPage) = "doc_page" as "DocPageResponse",
    /// The tools of an MCP server.
    McpToolsDiscovered(found::McpToolsDiscovered) = "mcp_tools_discovered" as "MCPToolsDiscoveredResponse",
    /// What a tool of an MCP server answered.
    McpToolOutput(found::McpToolOutput) = "mcp_tool_output" as "MCPToolOutputResponse",
    /// How agents are built.
    BuilderGuide(builder::BuilderGuide) = "agent_builder_guide" as "AgentBuilderGuideResponse",
    /// Whether an agent is sound.
    ValidationResult(builder::ValidationResult) = "agent_builder_validation_result" as "ValidationResultResponse",
    /// An agent that was put right as far as possible.
    FixResult(builder::FixResult) = "agent_builder_fix_result" as "FixResultResponse",
    /// A person must approve before a block runs.
    ReviewRequired(blocks::ReviewRequired) = "review_required" as "ReviewRequiredResponse",
    /// How MCP servers are used.
    McpGuide(found::McpGuide) = "mcp_guide" as "MCPGuideResponse",
    /// Files of the workspace.
    FileList(files::FileList) = "workspace_file_list" as "WorkspaceFileListResponse",
    /// A file with its bytes.
    FileContent(files::FileContent) = "workspace_file_content" as "WorkspaceFileContentResponse",
    /// A file without its bytes.
    FileMetadata(files::FileMetadata) = "workspace_file_metadata" as "WorkspaceFileMetadataResponse",
    /// A file was written.
    FileWritten(files::FileWritten) = "workspace_file_written" as "WorkspaceFileWrittenResponse",
    /// A file was deleted.
    FileDeleted(files::FileDeleted) = "workspace_file_deleted" as "WorkspaceFileDeletedResponse",
    /// A folder was made.
    FolderCreated(folders::FolderShown) = "folder_created" as "FolderCreatedResponse",
    /// A folder was changed.
    FolderUpdated(folders::FolderShown) = "folder_updated" as "FolderUpdatedResponse",
    /// Folders.
    FolderList(folders::FolderList) = "folder_list" as "FolderListResponse",
    /// A folder was moved.
    FolderMoved(folders::FolderMoved) = "folder_moved" as "FolderMovedResponse",
    /// A folder was deleted.
    FolderDeleted(folders::FolderDeleted) = "folder_deleted" as "FolderDeletedResponse",
    /// Agents were moved to a folder.
    AgentsMoved(folders::AgentsMoved) = "agents_moved_to_folder" as "AgentsMovedToFolderResponse",
    /// A page was opened in the browser.
    PageOpened(browser::PageOpened) = "browser_navigate" as "BrowserNavigateResponse",
    /// Something was done on a page in the browser.
    PageActed(browser::PageActed) = "browser_act" as "BrowserActResponse",
    /// A page in the browser was photographed.
    PageShot(browser::PageShot) = "browser_screenshot" as "BrowserScreenshotResponse",
    /// What a command did. A non-zero exit is an answer, not an error.
    CommandDone(plain::CommandDone) = "bash_exec" as "BashExecResponse",
    /// A page of the web.
    WebPage(found::WebPage) = "web_fetch" as "WebFetchResponse",
    /// Features that others asked for.
    FeatureRequestSearch(found::FeatureRequestSearch) = "feature_request_search" as "FeatureRequestSearchResponse",
    /// A feature was asked for.
    FeatureRequestCreated(found::FeatureRequestCreated) = "feature_request_created" as "FeatureRequestCreatedResponse",
    /// The to-do list as it is now.
    TodoList(plain::TodoList) = "todo_write" as "TodoWriteResponse",
    /// The value of an expression.
    Calculation(plain::Calculation) = "calculation" as "CalculationResponse",
    /// The time.
    CurrentTime(plain::CurrentTime) = "current_time" as "CurrentTimeResponse",
}

/// Fields in the order of the wire: those that every answer has come first (`usage-tools.md` §6).
#[derive(SerializeFields)]
struct Wire<'a, T> {
    r#type: &'static str,
    message: &'a str,
    session_id: Option<SessionId>,
    #[serde(flatten)]
    fields: &'a T,
}

/// What a tool answers: a sentence for whoever reads it, and the facts.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ToolAnswer {
    /// The sentence.
    pub message: String,
    /// The conversation; filled in for the tool.
    #[serde(default)]
    pub session_id: Option<SessionId>,
    /// The facts.
    #[serde(flatten)]
    pub response: ToolResponse,
}

impl ToolAnswer {
    /// A sentence and the facts.
    pub fn new(message: impl Into<String>, response: ToolResponse) -> Self {
        Self { message: message.into(), session_id: None, response }
    }

    /// It did not work, for a reason that has a stable word. Unlike a failure of the tool it does
    /// not count for the breaker.
    pub fn error(code: &str, message: impl Into<String>) -> Self {
        let fields = plain::ErrorResponse { error: Some(code.into()), details: None };
        Self::new(message, ToolResponse::Error(fields))
    }

    /// [`Self::error`] with more about it.
    pub fn error_with(code: &str, message: impl Into<String>, details: super::JsonObject) -> Self {
        let fields = plain::ErrorResponse { error: Some(code.into()), details: Some(details) };
        Self::new(message, ToolResponse::Error(fields))
    }

    /// The JSON text that clients and the model get: compact, nulls kept.
    pub fn to_json(&self) -> String {
        // Its maps have string keys and its numbers are JSON's own, so that it cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Serialize for ToolAnswer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.response.serialize_with(&self.message, self.session_id, serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_every_answer_come_first_and_nulls_are_kept() {
        let answer = ToolAnswer::error("not_found", "There is no such file: “é”.");
        let text = answer.to_json();
        assert_eq!(
            text,
            r#"{"type":"error","message":"There is no such file: “é”.","session_id":null,"error":"not_found","details":null}"#
        );
        assert_eq!(serde_json::from_str::<ToolAnswer>(&text).unwrap(), answer);
    }

    #[test]
    fn only_a_question_to_the_user_waits_for_them() {
        use crate::tool::builder::{ClarificationNeeded, GoalProblem, SuggestedGoal};
        let output = |response| Value::String(ToolAnswer::new("m", response).to_json());
        let goal = SuggestedGoal {
            suggested_goal: "g".into(),
            reason: String::new(),
            original_goal: String::new(),
            goal_type: GoalProblem::Vague,
        };
        assert!(waits_for_user(&output(ToolResponse::ClarificationNeeded(ClarificationNeeded { questions: vec![] }))));
        assert!(waits_for_user(&output(ToolResponse::SuggestedGoal(goal))));
        let quoted = r#"{"type":"agent_builder_clarification_needed"}"#;
        for other in [
            Value::String(ToolAnswer::error("e", quoted).to_json()),
            Value::String("no json".into()),
            serde_json::json!({"type": "suggested_goal"}),
        ] {
            assert!(!waits_for_user(&other), "{other}");
        }
    }

    #[test]
    fn every_kind_is_named_once() {
        let kinds: std::collections::BTreeSet<_> = ToolResponse::KINDS.iter().collect();
        assert_eq!(kinds.len(), ToolResponse::KINDS.len());
        assert!(kinds.len() >= 44, "the 21 of the union and the others");
    }
}
