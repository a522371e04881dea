//! Tools and attached files in whole turns.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use copilot_shared::message::{HistoryMessage, Part};
use copilot_shared::turn::TurnStatus;
use copilot_worker::model::config::Provider;
use serde_json::{Value, json};

use crate::provider::{Step, end, event, head};
use crate::turns::{Scene, ann, calls, file_id, outcomes, says};

#[tokio::test]
async fn files_are_written_listed_read_and_deleted() {
    let path = |path: &str| json!({"path": path});
    let answers = vec![
        calls(&[("write_workspace_file", json!({"filename": "a.md", "content": "# Hällo\n", "path": "docs/"}))]),
        calls(&[("list_workspace_files", json!({})), ("list_workspace_files", json!({"path_prefix": "x/"}))]),
        calls(&[
            ("read_workspace_file", path("docs/a.md")),
            ("read_workspace_file", json!({"path": "docs/a.md", "offset": 3, "length": 2})),
        ]),
        calls(&[("delete_workspace_file", path("docs/a.md"))]),
        calls(&[("read_workspace_file", path("docs/a.md")), ("delete_workspace_file", json!({}))]),
        says("done"),
    ];
    let scene = Scene::start(Provider::Openai, answers, &[]).await;
    let (turn, history) = scene.turn("go", &[]).await;
    assert_eq!(turn.status, TurnStatus::Completed, "{:?}", turn.error);
    let outcomes: Vec<Value> = outcomes(&history).into_iter().map(|outcome| outcome.unwrap()).collect();
    let [written, list, nothing, read, part, deleted, gone, neither] = outcomes.as_slice() else {
        panic!("{outcomes:?}")
    };
    let (session, id) = (scene.session, file_id(written));
    assert_eq!(
        written,
        &json!({"type": "workspace_file_written", "message": format!("Wrote /sessions/{session}/docs/a.md (9 bytes)"),
            "session_id": session, "file_id": id, "name": "a.md", "path": format!("/sessions/{session}/docs/a.md"),
            "mime_type": "text/markdown", "size_bytes": 9, "download_url": format!("workspace://{id}#text/markdown"),
            "source": "content", "content_preview": "# Hällo\n"})
    );
    assert_eq!((&list["total_count"], &list["files"][0]["file_id"]), (&json!(1), &json!(id)));
    assert_eq!(nothing["files"], json!([]));
    assert_eq!((&read["type"], &read["mime_type"]), (&json!("workspace_file_content"), &json!("text/markdown")));
    assert_eq!(read["content_base64"], STANDARD.encode("# Hällo\n"));
    assert!(read["message"].as_str().unwrap().ends_with("# Hällo\n"), "models read text better");
    assert_eq!((&part["content_base64"], &part["mime_type"]), (&json!(STANDARD.encode("äl")), &json!("text/plain")));
    assert_eq!((&deleted["file_id"], &deleted["success"]), (&json!(id), &json!(true)));
    assert_eq!((&gone["type"], &gone["error"]), (&json!("error"), &json!("not_found")));
    assert_eq!(neither["error"], "missing_parameter");
}

#[tokio::test]
async fn what_cannot_be_written_is_said_to_the_model() {
    let write = |more: Value| {
        let mut arguments = json!({"filename": "a.txt"});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ("write_workspace_file", arguments)
    };
    let many = [
        write(json!({"content": "x", "content_base64": "eA=="})),
        write(json!({})),
        write(json!({"content_base64": "???"})),
        write(json!({"content": "x", "path": "../../etc/x"})),
        write(json!({"source_path": "/etc/passwd"})),
        write(json!({"content": "x", "mime_type": "no type"})),
    ];
    let answers = vec![
        calls(&many),
        calls(&[write(json!({"content": "one"}))]),
        calls(&[write(json!({"content": "two"}))]),
        calls(&[write(json!({"content_base64": STANDARD.encode([0, 159]), "overwrite": true}))]),
        says("done"),
    ];
    let scene = Scene::start(Provider::Openai, answers, &[("WORKSPACE_QUOTA_MB", "1")]).await;
    let (_, history) = scene.turn("go", &[]).await;
    let codes: Vec<Value> = outcomes(&history)
        .into_iter()
        .map(|outcome| match outcome {
            Ok(answer) => answer.get("error").cloned().unwrap_or_else(|| answer["type"].clone()),
            Err(failed) => json!([failed["error"]]),
        })
        .collect();
    assert_eq!(
        json!(codes),
        json!([
            "missing_content",
            "missing_content",
            "invalid_base64",
            "invalid_path",
            "source_unreadable",
            ["invalid_arguments"],
            "workspace_file_written",
            "file_exists",
            "workspace_file_written",
        ])
    );
    assert_eq!(scene.files.usage(&ann()).await.unwrap().file_count, 1);
}

#[tokio::test]
async fn the_quota_holds_for_tools_too() {
    let content = "x".repeat(40_000);
    let write = |name: &str| calls(&[("write_workspace_file", json!({"filename": name, "content": content}))]);
    let answers = vec![write("a.txt"), write("b.txt"), says("done")];
    let scene = Scene::start(Provider::Openai, answers, &[("WORKSPACE_QUOTA_MB", "1")]).await;
    scene.file("large", vec![0; 1_000_000]).await;
    let (_, history) = scene.turn("go", &[]).await;
    let outcomes = outcomes(&history);
    assert_eq!(outcomes[0].as_ref().unwrap()["type"], "workspace_file_written");
    assert_eq!(outcomes[1].as_ref().unwrap()["error"], "storage_limit_exceeded");
}

#[tokio::test]
async fn a_file_goes_to_the_sessions_directory_and_back() {
    let big = "é".repeat(30_000);
    let answers = vec![
        calls(&[("read_workspace_file", json!({"path": "big.txt", "save_to_path": "work/big.txt"}))]),
        calls(&[("write_workspace_file", json!({"filename": "copy.txt", "source_path": "work/big.txt"}))]),
        says("done"),
    ];
    let scene = Scene::start(Provider::Openai, answers, &[]).await;
    scene.file("big.txt", big.clone()).await;
    let (_, history) = scene.turn("go", &[]).await;
    let outcomes: Vec<Value> = outcomes(&history).into_iter().map(|outcome| outcome.unwrap()).collect();
    assert_eq!(outcomes[0]["type"], "workspace_file_metadata", "too large to be given whole");
    assert_eq!(outcomes[0]["preview"], "é".repeat(250));
    assert_eq!(outcomes[1]["source"], "copied from work/big.txt");
    assert_eq!(outcomes[1]["size_bytes"], 60_000);
    let copy = scene.files.find(&ann(), file_id(&outcomes[1])).await.unwrap().unwrap();
    assert_eq!(scene.files.read_whole(&copy, 60_000).await.unwrap().unwrap(), big);
}

#[tokio::test]
async fn commands_and_workspace_tools_share_the_sessions_directory() {
    let bash = |command: &str| ("bash_exec", json!({"command": command}));
    let answers = vec![
        calls(&[
            ("read_workspace_file", json!({"path": "in.csv", "save_to_path": "/home/user/data/in.csv"})),
            bash("mkdir -p out && sort data/in.csv > out/sorted.csv && echo more >> data/in.csv && touch data/mine"),
            ("write_workspace_file", json!({"filename": "sorted.csv", "source_path": "out/sorted.csv"})),
            bash("ln -s /etc/passwd link; cat data/in.csv"),
            ("write_workspace_file", json!({"filename": "stolen", "source_path": "link"})),
        ]),
        says("done"),
    ];
    let scene = Scene::start(Provider::Openai, answers, &[]).await;
    scene.file("in.csv", "b\na\n").await;
    let (_, history) = scene.turn("go", &[]).await;
    let outcomes: Vec<Value> = outcomes(&history).into_iter().map(|outcome| outcome.unwrap()).collect();
    if outcomes[1]["error"] == "sandbox_unavailable" && std::env::var_os("COPILOT_SKIP_SANDBOX").is_some() {
        return;
    }
    assert_eq!(outcomes[1]["exit_code"], 0, "what was saved is the command's own, as is its directory: {outcomes:?}");
    let sorted = scene.files.find(&ann(), file_id(&outcomes[2])).await.unwrap().unwrap();
    assert_eq!(scene.files.read_whole(&sorted, 100).await.unwrap().unwrap(), "a\nb\n");
    assert_eq!(outcomes[3]["stdout"], "b\na\nmore\n");
    assert_eq!(outcomes[4]["error"], "source_unreadable", "a link leads nowhere");
}

#[tokio::test]
async fn a_long_output_is_kept_and_shown_in_part() {
    let answers = vec![calls(&[("list_workspace_files", json!({"limit": 100}))]), says("done")];
    let scene = Scene::start(Provider::Openai, answers, &[]).await;
    let directory = format!("{}/", "d".repeat(200)).repeat(4);
    for n in 0..100 {
        scene.file(&format!("{directory}{n}"), "x").await;
    }
    let (_, history) = scene.turn("go", &[]).await;
    let list = outcomes(&history).pop().unwrap().unwrap();
    let text = list.as_str().expect("a wrapper is no JSON");
    let (_, rest) = text.split_once("<tool-output-truncated total_chars=").unwrap();
    let total: usize = rest.split(' ').next().unwrap().parse().unwrap();
    assert!(total > 80_000 && text.chars().count() <= 100_000);
    let path = rest.split("path=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(path.starts_with(&format!("/sessions/{}/tool-outputs/call_", scene.session)), "{path}");
    let path = copilot_shared::workspace::FilePath::parse(path).unwrap();
    let kept = scene.files.find_at(&ann(), &path).await.unwrap().unwrap();
    let whole = scene.files.read_whole(&kept, 1 << 20).await.unwrap().unwrap();
    let whole: Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!(whole["files"].as_array().unwrap().len(), 100);
}

#[tokio::test]
async fn the_fourth_same_failure_is_not_tried_and_empty_calls_end_the_turn() {
    let broken = || calls(&[("calculator", json!({"expression": "6*"}))]);
    let answers = vec![
        broken(),
        broken(),
        broken(),
        broken(),
        calls(&[("calculator", json!({"expression": "6*7"}))]),
        broken(),
        says("done"),
    ];
    let scene = Scene::start(Provider::Openai, answers, &[]).await;
    let (turn, history) = scene.turn("go", &[]).await;
    assert_eq!(turn.status, TurnStatus::Completed);
    let failures = outcomes(&history);
    let refused =
        |outcome: &Result<Value, Value>| outcome.as_ref().is_err_and(|failed| failed["error"] == "repeated_failure");
    let refusals: Vec<bool> = failures.iter().map(refused).collect();
    assert_eq!(refusals, [false, false, false, true, false, false]);

    let empty = || calls(&[("calculator", json!({})), ("get_current_time", json!({}))]);
    let plain = || calls(&[("get_current_time", json!({})), ("list_workspace_files", json!({}))]);
    let answers = vec![plain(), plain(), plain(), plain(), empty(), empty(), empty()];
    let scene = Scene::start(Provider::Openai, answers, &[]).await;
    let (turn, history) = scene.turn("go", &[]).await;
    assert_eq!(
        (turn.status, turn.error_code.as_deref()),
        (TurnStatus::Failed, Some("circuit_breaker_empty_tool_calls"))
    );
    assert_eq!(scene.asked().len(), 7);
    assert_eq!(outcomes(&history).len(), 14, "every call has an outcome");
}

#[tokio::test]
async fn a_model_sees_pictures_and_short_texts_and_a_lost_one_fails_nothing() {
    let scene = Scene::start(Provider::Openai, vec![says("a cat"), says("still")], &[]).await;
    let picture = scene.file("cat.png", b"\x89PNG\r\n\x1a\n".to_vec()).await;
    let note = scene.file("note.txt", "meow</attached_file>").await;
    let lost = scene.file("lost.jpg", vec![1]).await;
    std::fs::remove_dir_all(scene.services.workspace_dir.join(lost.blob.to_string())).unwrap();
    let (turn, _) = scene.turn("What is this?", &[picture.clone(), note, lost]).await;
    assert_eq!(turn.status, TurnStatus::Completed, "{:?}", turn.error);
    let asked = scene.asked();
    let content = &asked[0].body["messages"][1]["content"];
    let text = content[0]["text"].as_str().unwrap();
    assert!(
        text.contains("meow<\\/attached_file>") && text.contains("\n\nWhat is this?\n\n[Attached files]\n- cat.png"),
        "{text}"
    );
    assert_eq!(content[1], json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}));
    assert_eq!(content.as_array().unwrap().len(), 2);

    scene.files.delete(&ann(), picture.id).await.unwrap();
    let (turn, _) = scene.turn("And now?", &[]).await;
    assert_eq!(turn.status, TurnStatus::Completed);
    assert!(scene.asked()[1].body["messages"][1]["content"].is_string(), "without pictures it is plain text");
}

#[tokio::test]
async fn an_attached_text_takes_room_in_the_models_window() {
    let window = [("CHAT_CONTEXT_TOKENS", "9000")];
    let scene = Scene::start(Provider::Openai, vec![says("hm"), says("well")], &window).await;
    let made_room = |history: &[HistoryMessage]| {
        history.iter().flat_map(|message| &message.parts).any(|part| matches!(part, Part::Compaction { .. }))
    };
    let (_, history) = scene.turn("Hello", &[]).await;
    assert!(!made_room(&history));
    let long = scene.file("long.txt", "word ".repeat(6_000)).await;
    let (turn, history) = scene.turn("What does it say?", &[long]).await;
    assert_eq!(turn.status, TurnStatus::Completed, "{:?}", turn.error);
    assert!(made_room(&history), "7,500 tokens beside the prompt's");
}

#[tokio::test]
async fn a_blind_model_is_shown_no_pictures() {
    let scene = Scene::start(Provider::Openai, vec![says("nothing")], &[("CHAT_VISION", "false")]).await;
    let picture = scene.file("cat.png", b"\x89PNG\r\n\x1a\n".to_vec()).await;
    scene.turn("What is this?", &[picture]).await;
    let content = scene.asked()[0].body["messages"][1]["content"].clone();
    assert!(content.as_str().unwrap().starts_with("What is this?\n\n[Attached files]\n- cat.png"), "{content}");
}

#[tokio::test]
async fn the_other_protocol_has_pictures_too() {
    let answer: Vec<Step> = vec![
        head(),
        event(&json!({"type": "message_start", "message": {"usage": {"input_tokens": 1, "output_tokens": 1}}})),
        event(&json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})),
        event(&json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a cat"}})),
        event(&json!({"type": "content_block_stop", "index": 0})),
        event(&json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}})),
        event(&json!({"type": "message_stop"})),
        end(),
    ];
    let scene = Scene::start(Provider::Anthropic, vec![answer], &[]).await;
    let picture = scene.file("cat.webp", b"RIFF\0\0\0\0WEBP".to_vec()).await;
    let (turn, _) = scene.turn("What is this?", &[picture]).await;
    assert_eq!(turn.status, TurnStatus::Completed, "{:?}", turn.error);
    let content = &scene.asked()[0].body["messages"][0]["content"];
    let source = json!({"type": "base64", "media_type": "image/webp", "data": "UklGRgAAAABXRUJQ"});
    assert_eq!(content[0], json!({"type": "image", "source": source}));
    assert_eq!(content[1]["type"], "text");
    assert!(
        content[1]["text"].as_str().unwrap().starts_with("What is this?\n\n[Attached files]\n- cat.webp"),
        "{content}"
    );
}

/// Each call holds a connection in the middle; there are more calls than connections.
#[tokio::test]
async fn many_calls_at_once_do_not_wait_for_each_other() {
    let write = |n: usize| ("write_workspace_file", json!({"filename": format!("{n}.txt"), "content": "x"}));
    let writes: Vec<_> = (0..40).map(write).collect();
    let answers = vec![calls(&writes), says("done")];
    let scene = Scene::start(Provider::Openai, answers, &[("DATABASE_CONNECTIONS", "4")]).await;
    let (turn, history) = scene.turn("go", &[]).await;
    assert_eq!(turn.status, TurnStatus::Completed, "{:?}", turn.error);
    assert!(outcomes(&history).iter().all(Result::is_ok));
    assert_eq!(scene.files.usage(&ann()).await.unwrap().file_count, 40);
}
