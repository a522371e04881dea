//! How each tool is asked for: what the embedded model tells of itself, and what the tests hold to the
//! registry.

use copilot_shared::tool::ToolSpec;

/// A tool, and words that ask for it.
const EXAMPLES: [(&str, &str); 24] = [
    ("get_current_time", "what time is it?"),
    ("calculator", "what is 12*(3+4)?"),
    ("list_workspace_files", "list my files"),
    ("write_workspace_file", "write `hello` to notes.txt"),
    ("read_workspace_file", "read notes.txt"),
    ("delete_workspace_file", "delete notes.txt"),
    ("bash_exec", "run `ls -la`"),
    ("web_fetch", "fetch https://example.org"),
    ("search_docs", "search the docs for rate limits"),
    ("get_doc_page", "read the doc page README.md"),
    ("run_mcp_tool", "list the tools of https://mcp.example.org/mcp"),
    ("get_mcp_guide", "show me the guide to MCP servers"),
    ("todo_write", "make a to-do list: buy milk and sleep"),
    ("add_understanding", "remember about me that I am left-handed"),
    ("ask_question", "ask me a question"),
    ("suggest_goal", "suggest a goal for learning to cook"),
    ("list_folders", "list my folders"),
    ("create_folder", "create a folder called Work"),
    ("update_folder", "rename the folder ID to Jobs"),
    ("move_folder", "move the folder ID to the top"),
    ("delete_folder", "delete the folder ID"),
    ("search_feature_requests", "search feature requests for dark mode"),
    ("create_feature_request", "request the feature dark mode"),
    ("connect_integration", "connect github"),
];

/// Words for those of the tools that can be asked for.
pub(in crate::model::demo) fn examples(tools: &[ToolSpec]) -> impl Iterator<Item = &'static str> {
    let known = EXAMPLES.iter().filter(|(name, _)| tools.iter().any(|tool| tool.name == *name));
    known.map(|(_, words)| *words)
}

#[cfg(test)]
mod tests {
    use super::super::wishes;
    use super::*;
    use crate::tools::Toolbox;

    #[test]
    fn every_tool_can_be_asked_for_in_plain_words() {
        let tools = Toolbox::built_in().unwrap().specs();
        for tool in tools.iter() {
            let words: Vec<&str> =
                EXAMPLES.iter().filter(|(name, _)| *name == tool.name).map(|(_, words)| *words).collect();
            let [words] = words.as_slice() else { panic!("{} has {} examples", tool.name, words.len()) };
            let wishes = wishes(words, &tools);
            let [call] = wishes.calls.as_slice() else { panic!("{words}: {wishes:?}") };
            assert_eq!((&call.name, wishes.missing.len()), (&tool.name, 0), "{words}");
            let arguments = serde_json::from_str(&call.arguments).unwrap();
            assert!(jsonschema::is_valid(&tool.parameters, &arguments), "{words}: {arguments}");
        }
        assert_eq!(examples(&tools).count(), EXAMPLES.len(), "an example of a tool that there is not");
    }
}
