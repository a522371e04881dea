//! Every tool of the registry, one row each: how it is called, what it answers, what it leaves, and
//! what may be done with a call whose worker died.

use uuid::Uuid;

/// A tool.
pub struct Row {
    pub tool: &'static str,
    /// What makes the embedded model call it.
    pub words: &'static str,
    /// What a scripted model calls it with.
    pub arguments: &'static str,
    /// The `type` of its answer.
    pub kind: &'static str,
    pub after_a_death: AfterADeath,
    pub effect: Effect,
    pub middle: Middle,
}

/// What becomes of a call that was started and has no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterADeath {
    /// It is made again.
    Again,
    /// The model is told that nobody knows.
    Unknown,
}

/// What a call leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Nothing,
    /// What this counts.
    Counted(&'static str),
    /// A line in a file of the sandbox.
    Line,
    /// A call of a tool of an MCP server.
    McpCall,
}

/// Where a call can be held in its middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Middle {
    /// Nowhere: it takes no time, or only reads.
    Nowhere,
    /// It writes to this table.
    Table(&'static str),
    /// A server outside answers late.
    Outside,
    /// Its command sleeps.
    Command,
}

use AfterADeath::{Again, Unknown};
use Effect::{Counted, Line, McpCall, Nothing};
use Middle::{Command, Nowhere, Outside, Table};

/// A tool that changes nothing and takes no time.
const fn plain(tool: &'static str, kind: &'static str, words: &'static str, arguments: &'static str) -> Row {
    Row { tool, words, arguments, kind, after_a_death: Again, effect: Nothing, middle: Nowhere }
}

/// Files are held by the row of their workspace, which is taken before the turn's: a call that waits
/// for a table holds up whoever wants to stop its turn.
pub const WORKSPACES: &str = "workspaces";

impl Row {
    const fn leaving(mut self, effect: Effect, middle: Middle) -> Self {
        (self.effect, self.middle) = (effect, middle);
        self
    }

    /// The table that it writes to, if a lock on that can hold it.
    pub const fn table(&self) -> Option<&'static str> {
        match self.middle {
            Table(name) => Some(name),
            Nowhere | Outside | Command => None,
        }
    }

    const fn never_again(mut self) -> Self {
        self.after_a_death = Unknown;
        self
    }
}

/// In the order of the registry. `$…` stands for what a [`Place`] has.
pub const ROWS: &[Row] = &[
    plain("calculator", "calculation", "what is 6*7?", r#"{"expression": "6*7"}"#),
    plain("get_current_time", "current_time", "what time is it?", "{}"),
    plain("list_workspace_files", "workspace_file_list", "list my files", "{}"),
    plain("read_workspace_file", "workspace_file_content", "read notes.txt", r#"{"path": "notes.txt"}"#),
    plain(
        "write_workspace_file",
        "workspace_file_written",
        "write `new` to new.txt",
        r#"{"filename": "new.txt", "content": "new"}"#,
    )
    .leaving(Counted("SELECT count(*) FROM workspace_files WHERE name = 'new.txt'"), Table(WORKSPACES))
    .never_again(),
    plain("delete_workspace_file", "workspace_file_deleted", "delete notes.txt", r#"{"path": "notes.txt"}"#)
        .leaving(Counted("SELECT count(*) FROM workspace_files WHERE deleted_at IS NOT NULL"), Table(WORKSPACES))
        .never_again(),
    plain("web_fetch", "web_fetch", "fetch $outside/page", r#"{"url": "$outside/page"}"#).leaving(Nothing, Outside),
    plain("bash_exec", "bash_exec", "run `echo once >> log$more`", r#"{"command": "echo once >> log$more"}"#)
        .leaving(Line, Command)
        .never_again(),
    plain(
        "run_mcp_tool",
        "mcp_tool_output",
        r#"call the tool echo of $outside/mcp with {"a": 1}"#,
        r#"{"server_url": "$outside/mcp", "tool_name": "echo", "tool_arguments": {"a": 1}}"#,
    )
    .leaving(McpCall, Outside)
    .never_again(),
    plain("get_mcp_guide", "mcp_guide", "show me the guide to MCP servers", "{}"),
    plain(
        "add_understanding",
        "understanding_updated",
        "remember about me that I am left-handed",
        r#"{"additional_notes": "I am left-handed"}"#,
    )
    .leaving(
        Counted("SELECT count(*) FROM user_understandings WHERE understanding::text LIKE '%left-handed%'"),
        Table("user_understandings"),
    ),
    plain(
        "ask_question",
        "agent_builder_clarification_needed",
        "ask me a question",
        r#"{"questions": [{"question": "Which one?", "keyword": "one"}]}"#,
    ),
    plain("suggest_goal", "suggested_goal", "suggest a goal for getting rich", r#"{"suggested_goal": "Save a tenth"}"#),
    plain(
        "todo_write",
        "todo_write",
        "make a to-do list: buy milk",
        r#"{"todos": [{"content": "buy milk", "status": "pending"}]}"#,
    )
    .leaving(Counted("SELECT count(*) FROM todo_lists WHERE todos::text LIKE '%buy milk%'"), Table("todo_lists")),
    plain("search_docs", "doc_search_results", "search the docs for cursors", r#"{"query": "cursors"}"#),
    plain("get_doc_page", "doc_page", "read the doc page README.md", r#"{"path": "README.md"}"#),
    plain("list_folders", "folder_list", "list my folders", "{}"),
    plain("create_folder", "folder_created", "create a folder called New", r#"{"name": "New"}"#)
        .leaving(Counted("SELECT count(*) FROM folders WHERE name = 'New'"), Table("folders")),
    plain(
        "update_folder",
        "folder_updated",
        "rename the folder $folder to Newer",
        r#"{"folder_id": "$folder", "name": "Newer"}"#,
    )
    .leaving(Counted("SELECT count(*) FROM folders WHERE name = 'Newer'"), Table("folders")),
    plain(
        "move_folder",
        "folder_moved",
        "move the folder $folder into $other",
        r#"{"folder_id": "$folder", "target_parent_id": "$other"}"#,
    )
    .leaving(Counted("SELECT count(*) FROM folders WHERE parent_id IS NOT NULL"), Table("folders")),
    plain("delete_folder", "folder_deleted", "delete the folder $folder", r#"{"folder_id": "$folder"}"#)
        .leaving(Counted("SELECT count(*) FROM folders WHERE deleted_at IS NOT NULL"), Table("folders")),
    plain(
        "search_feature_requests",
        "feature_request_search",
        "search feature requests for a darker mode",
        r#"{"query": "dark mode"}"#,
    ),
    plain(
        "create_feature_request",
        "feature_request_created",
        "request the feature export",
        r#"{"title": "export", "description": "export"}"#,
    )
    .leaving(
        Counted(
            "SELECT count(*) FROM feature_requests r JOIN feature_request_needs n ON n.feature_request_id = r.id \
             WHERE title = 'export'",
        ),
        Table("feature_requests"),
    ),
    plain("connect_integration", "setup_requirements", "connect github", r#"{"provider": "github"}"#),
];

/// What a call names: things of its user's.
#[derive(Debug, Clone)]
pub struct Place {
    pub user: String,
    pub session: String,
    pub folder: Uuid,
    pub other: Uuid,
    /// The server outside.
    pub outside: String,
    /// What a command does besides.
    pub more: String,
}

impl Place {
    /// Puts the place's own things into a row's text.
    pub fn fill(&self, text: &str) -> String {
        let things = [
            ("$folder", self.folder.to_string()),
            ("$other", self.other.to_string()),
            ("$outside", self.outside.clone()),
            ("$more", self.more.clone()),
        ];
        things.iter().fold(text.to_owned(), |text, (name, thing)| text.replace(name, thing))
    }
}

/// What each tool says no to, and in which word. `[tool, arguments, code]`.
pub const REFUSALS: &[(&str, &str, &str)] = &[
    ("calculator", r#"{"expression": 7}"#, "invalid_arguments"),
    ("get_current_time", r#"{"zone": "UTC"}"#, "invalid_arguments"),
    ("list_workspace_files", r#"{"path_prefix": "/../"}"#, "invalid_path"),
    ("list_workspace_files", r#"{"limit": 101}"#, "invalid_arguments"),
    ("read_workspace_file", "{}", "missing_parameter"),
    ("read_workspace_file", r#"{"path": "/sessions/../x"}"#, "invalid_path"),
    ("read_workspace_file", r#"{"path": "nope.txt"}"#, "not_found"),
    ("read_workspace_file", r#"{"path": "notes.txt", "save_to_path": "/etc/passwd"}"#, "invalid_save_path"),
    ("write_workspace_file", r#"{"filename": "a.txt"}"#, "missing_content"),
    ("write_workspace_file", r#"{"filename": "a.txt", "content": "a", "path": "../a"}"#, "invalid_path"),
    ("write_workspace_file", r#"{"filename": "notes.txt", "content": "a"}"#, "file_exists"),
    ("write_workspace_file", r#"{"filename": "a.bin", "content_base64": "?"}"#, "invalid_base64"),
    ("write_workspace_file", r#"{"filename": "a.txt", "source_path": "/etc/passwd"}"#, "source_unreadable"),
    ("delete_workspace_file", "{}", "missing_parameter"),
    ("delete_workspace_file", r#"{"path": "nope.txt"}"#, "not_found"),
    ("web_fetch", r#"{"url": " "}"#, "missing_url"),
    ("web_fetch", r#"{"url": "http://169.254.169.254/latest"}"#, "url_blocked"),
    ("web_fetch", r#"{"url": "file:///etc/passwd"}"#, "url_blocked"),
    ("web_fetch", r#"{"url": "$outside/picture"}"#, "unsupported_content_type"),
    ("bash_exec", r#"{"command": " "}"#, "empty_command"),
    ("run_mcp_tool", r#"{"server_url": ""}"#, "missing_url"),
    ("run_mcp_tool", r#"{"server_url": "$outside/mcp?key=1"}"#, "invalid_url"),
    ("run_mcp_tool", r#"{"server_url": "http://10.0.0.1/mcp"}"#, "url_blocked"),
    ("run_mcp_tool", r#"{"server_url": "$outside/mcp", "tool_name": "fail"}"#, "mcp_tool_error"),
    ("run_mcp_tool", r#"{"server_url": "$outside/nothing"}"#, "mcp_http_error"),
    ("get_mcp_guide", r#"{"a": 1}"#, "invalid_arguments"),
    ("add_understanding", "{}", "no_fields"),
    ("ask_question", r#"{"questions": []}"#, "invalid_arguments"),
    ("ask_question", r#"{"questions": [{"question": " ", "keyword": "a"}]}"#, "blank_question"),
    ("suggest_goal", r#"{"suggested_goal": " "}"#, "missing_goal"),
    ("todo_write", r#"{"todos": [{"content": " ", "status": "pending"}]}"#, "blank_todo"),
    ("todo_write", r#"{"todos": [{"content": "a", "status": "begun"}]}"#, "invalid_arguments"),
    ("search_docs", r#"{"query": " "}"#, "missing_query"),
    ("get_doc_page", r#"{"path": "/etc/passwd"}"#, "invalid_path"),
    ("get_doc_page", r#"{"path": "nope.md"}"#, "not_found"),
    ("list_folders", r#"{"parent_id": "nope"}"#, "list_folders_failed"),
    ("create_folder", r#"{"name": " "}"#, "missing_name"),
    ("create_folder", r#"{"name": "Old"}"#, "create_folder_failed"),
    ("update_folder", r#"{"folder_id": "$folder"}"#, "update_folder_failed"),
    ("move_folder", r#"{"folder_id": "$folder", "target_parent_id": "$folder"}"#, "move_folder_failed"),
    ("delete_folder", r#"{"folder_id": " "}"#, "missing_folder_id"),
    ("search_feature_requests", r#"{"query": " "}"#, "missing_query"),
    ("create_feature_request", r#"{"title": " ", "description": "a"}"#, "missing_title"),
    ("create_feature_request", r#"{"title": "a", "description": " "}"#, "missing_description"),
    ("create_feature_request", r#"{"title": "a", "description": "b", "existing_issue_id": "$folder"}"#, "not_found"),
    ("connect_integration", r#"{"provider": "gitlab"}"#, "unknown_provider"),
    ("no_such_tool", "{}", "unknown_tool"),
];
