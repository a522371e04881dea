//! Plain words, and the calls that they become.

use super::*;

const TOOLS: [&str; 13] = [
    "get_current_time",
    "calculator",
    "list_workspace_files",
    "read_workspace_file",
    "write_workspace_file",
    "delete_workspace_file",
    "bash_exec",
    "search_docs",
    "web_fetch",
    "run_mcp_tool",
    "find_block",
    "my_tool",
    "my_tool_two",
];

fn ask(text: &str) -> Vec<(String, Value)> {
    let tools = TOOLS.map(|name| ToolSpec { name: name.into(), description: String::new(), parameters: json!({}) });
    let wishes = wishes(text, &tools);
    assert!(wishes.missing.is_empty(), "{text}: {:?}", wishes.missing);
    let calls = wishes.calls.into_iter();
    calls.map(|call| (call.name, serde_json::from_str(&call.arguments).unwrap())).collect()
}

#[test]
fn plain_words_become_calls() {
    let one = |text: &str, name: &str, arguments: Value| assert_eq!(ask(text), [(name.into(), arguments)], "{text}");
    one("What time is it?", "get_current_time", json!({}));
    one("What’s the time, please?", "get_current_time", json!({}));
    one("what is 12*(3+4)?", "calculator", json!({"expression": "12*(3+4)"}));
    one("Please calculate the sum 1.5 + 2.", "calculator", json!({"expression": "1.5 + 2"}));
    one("list my files", "list_workspace_files", json!({}));
    one("Run `ls -la` for me", "bash_exec", json!({"command": "ls -la"}));
    one("run ls -la", "bash_exec", json!({"command": "ls -la"}));
    one("Search the docs for rate limits.", "search_docs", json!({"query": "rate limits"}));
    one("search the docs for \"on_busy\" now", "search_docs", json!({"query": "on_busy"}));
    one("Fetch https://example.org/a?b=c.", "web_fetch", json!({"url": "https://example.org/a?b=c"}));
    one("read the file notes.txt.", "read_workspace_file", json!({"path": "notes.txt"}));
    one(
        "Write `hello, world` to the file a.txt",
        "write_workspace_file",
        json!({"filename": "a.txt", "content": "hello, world"}),
    );
    one(
        "Create a file called b.md with the text Good morning!",
        "write_workspace_file",
        json!({"filename": "b.md", "content": "Good morning"}),
    );
    one("Read notes.txt, please", "read_workspace_file", json!({"path": "notes.txt"}));
    one("show me the docs/notes.md", "read_workspace_file", json!({"path": "docs/notes.md"}));
    one("delete notes.txt", "delete_workspace_file", json!({"path": "notes.txt"}));
    one(
        "write two plain words to notes.txt.",
        "write_workspace_file",
        json!({"filename": "notes.txt", "content": "two plain words"}),
    );
    one("find a block for e-mail", "find_block", json!({"query": "e-mail"}));
}

#[test]
fn any_tool_can_be_asked_for_by_name() {
    assert_eq!(
        ask("use the tool my_tool with {\"a\": {\"b\": \"}\"}}"),
        [("my_tool".into(), json!({"a": {"b": "}"}}))]
    );
    assert_eq!(ask("Call `my_tool_two`"), [("my_tool_two".into(), json!({}))]);
}

#[test]
fn servers_are_asked_for_their_tools() {
    let listed = [("run_mcp_tool".to_owned(), json!({"server_url": "https://mcp.example.org/mcp"}))];
    assert_eq!(ask("List the tools of https://mcp.example.org/mcp."), listed);
    assert_eq!(ask("Please list the tools of the server `https://mcp.example.org/mcp`"), listed);
    let called = json!({"server_url": "http://a.example:1/x", "tool_name": "echo", "tool_arguments": {"a": "}"}});
    assert_eq!(
        ask("Call the tool `echo` of http://a.example:1/x with {\"a\": \"}\"}"),
        [("run_mcp_tool".into(), called)]
    );
    assert_eq!(ask("list the tools of the trade"), []);
}

#[test]
fn several_wishes_are_met_side_by_side() {
    let names: Vec<String> = ask("What time is it, and what is 1+1?").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["get_current_time", "calculator"]);
}

#[test]
fn prose_is_no_wish() {
    for text in [
        "hello",
        "what is my name?",
        "what is 42?",
        "I run a bakery",
        "run the agent",
        "what did I say about https://example.org",
        "I use a pencil",
        "I read a lot",
        "write me a poem about version 1.5",
        "delete it.",
    ] {
        assert_eq!(ask(text), [], "{text}");
    }
}

#[test]
fn a_tool_that_is_not_there_is_missed() {
    assert_eq!(wishes("list my files", &[]).missing, ["list_workspace_files"]);
    assert_eq!(wishes("use the tool nope_x", &[]).missing, ["nope_x"]);
}
