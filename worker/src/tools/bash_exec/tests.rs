//! What the tool says to what it does not run. What it runs is tried in `sandbox` and end to end.

use copilot_shared::message::ToolOutcome;
use serde_json::{Value, json};

use super::super::{Toolbox, tests};
use super::*;

async fn answer(user: Option<&str>, arguments: Value) -> Value {
    let toolbox = Toolbox::default().with(BashExec).unwrap();
    let context = tests::context(user);
    let end = toolbox.call("bash_exec", context.clone(), arguments).await;
    let ToolOutcome::Output(Value::String(text)) = end.outcome(&context).await else { panic!("it answers") };
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn commands_that_are_none_are_refused() {
    for (command, code) in [
        ("", "empty_command"),
        (" \n", "empty_command"),
        ("echo \0", "invalid_command"),
        (&"é".repeat(60_000), "command_too_long"),
    ] {
        assert_eq!(answer(Some("ann"), json!({"command": command})).await["error"], code);
    }
    assert_eq!(answer(None, json!({"command": "id"})).await["type"], "need_login");
}

#[test]
fn every_ending_is_data() {
    let said = || Said { stdout: "out".into(), stderr: "err".into() };
    let data = |ending| serde_json::to_value(ended(said(), ending, 7)).unwrap();
    let failed = data(Ending::Exited(2));
    assert_eq!(
        (&failed["type"], &failed["exit_code"], &failed["timed_out"]),
        (&json!("bash_exec"), &json!(2), &json!(false))
    );
    let late = data(Ending::TimedOut);
    assert_eq!((&late["exit_code"], &late["timed_out"], &late["stdout"]), (&json!(-1), &json!(true), &json!("out")));
    let full = data(Ending::Full(Excess::Bytes));
    assert_eq!(full["exit_code"], 137);
    assert!(full["stderr"].as_str().unwrap().starts_with("err\nThe command was killed"));
}
