//! Files that belong to messages: named by their ids, or brought along in the AI SDK's form
//! (`usage-tools.md` §5.4).

use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Answer, Api, Settings};

/// `hello` as a data URL.
const HELLO: &str = "data:text/plain;base64,aGVsbG8=";

fn ui(text: &str, files: &[(&str, &str)], message_id: Uuid) -> Value {
    let mut parts = vec![json!({"type": "text", "text": text})];
    parts.extend(
        files
            .iter()
            .map(|(name, url)| json!({"type": "file", "mediaType": "text/plain", "filename": name, "url": url})),
    );
    json!({"id": "x", "messages": [{"role": "user", "parts": parts}], "trigger": "submit-message", "message_id": message_id})
}

async fn submit(api: &Api, session: &str, body: &Value) -> Answer {
    api.ask("POST", format!("{session}/messages")).by("ann").json(body).send().await
}

async fn said(api: &Api, session: &str) -> Vec<String> {
    let detail = api.get(session).by("ann").send().await.ok();
    let messages = detail["messages"].as_array().unwrap().iter();
    messages.map(|message| message["content"].as_str().unwrap().to_owned()).collect()
}

async fn files(api: &Api) -> Value {
    api.get("/api/workspace/files").by("ann").send().await.ok()
}

#[tokio::test]
async fn a_part_of_type_file_becomes_an_upload_once_however_often_it_is_sent() {
    let api = Api::start().await;
    let session = api.session("ann").await;
    let body = ui("Look", &[("a.txt", HELLO), ("b.txt", "data:;base64,eA==")], Uuid::new_v4());
    let first = submit(&api, &session, &body).await.ok();
    let again = submit(&api, &session, &body).await.ok();
    assert_eq!(first["turn_id"], again["turn_id"]);
    let list = files(&api).await;
    assert_eq!(list["total"], 2);
    let (b, a) = (&list["files"][0], &list["files"][1]);
    assert_eq!((&a["name"], &a["mime_type"], &a["size_bytes"]), (&json!("a.txt"), &json!("text/plain"), &json!(5)));
    assert!(a["path"].as_str().unwrap().starts_with("/sessions/"));
    let told = format!(
        "Look\n\n[Attached files]\n- a.txt (text/plain, 0.0 KB), file_id={}\n- b.txt (text/plain, 0.0 KB), file_id={}\n\
         Use read_workspace_file with the file_id to access file contents.",
        a["file_id"].as_str().unwrap(),
        b["file_id"].as_str().unwrap()
    );
    assert_eq!(said(&api, &session).await, [told]);

    let other = ui(
        "Look",
        &[("a.txt", "data:text/plain;base64,eA=="), ("b.txt", "data:;base64,eA==")],
        body["message_id"].as_str().unwrap().parse().unwrap(),
    );
    submit(&api, &session, &other).await.refused(422, "idempotency_conflict");
    assert_eq!(files(&api).await["total"], 2, "what came with a refused message is gone");
}

/// Of those who come at once one makes the file, and not always the one that is accepted.
#[tokio::test]
async fn what_is_sent_many_times_at_once_keeps_the_file_that_its_message_names() {
    let api = Api::start().await;
    for round in 0..5 {
        let session = api.session("ann").await;
        let body = ui("Look", &[("a.txt", HELLO), ("a.txt", HELLO)], Uuid::new_v4());
        let answers = join_all((0..8).map(|_| submit(&api, &session, &body))).await;
        for answer in answers {
            answer.ok();
        }
        let detail = api.get(&session).by("ann").send().await.ok();
        let named = detail["messages"][0]["files"].as_array().unwrap();
        assert_eq!(named.len(), 2, "{detail}");
        for file in named {
            let path = format!("/api/workspace/files/{}/download", file["file_id"].as_str().unwrap());
            assert_eq!(api.get(path).by("ann").send().await.status, 200, "round {round}: {file}");
        }
        assert_eq!(files(&api).await["total"], round + 1);
    }
}

#[tokio::test]
async fn files_of_one_name_stand_side_by_side_and_the_same_one_is_kept_once() {
    let api = Api::start().await;
    let session = api.session("ann").await;
    for (text, url) in [("one", HELLO), ("two", HELLO), ("three", "data:;base64,eA=="), ("four", "data:;base64,eA==")] {
        submit(&api, &session, &ui(text, &[("a.txt", url)], Uuid::new_v4())).await.ok();
    }
    let list = files(&api).await;
    assert_eq!(list["total"], 2);
    let mut names: Vec<String> =
        (0..2).map(|n| list["files"][n]["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["a-2d711642.txt", "a.txt"]);
}

#[tokio::test]
async fn a_message_may_be_nothing_but_files() {
    let api = Api::start().await;
    let session = api.session("ann").await;
    submit(&api, &session, &ui("", &[("", HELLO)], Uuid::new_v4())).await.ok();
    assert!(said(&api, &session).await[0].starts_with("[Attached files]\n- file.txt (text/plain, 0.0 KB), file_id="));
    submit(&api, &session, &ui("", &[], Uuid::new_v4())).await.refused(422, "validation_error");

    submit(&api, &session, &ui("", &[("b.txt", HELLO)], Uuid::new_v4())).await.ok();
    let queue = api.get(format!("{session}/queue")).by("ann").send().await.ok();
    let waiting = &queue["queue"][0];
    assert_eq!((&waiting["message"], &waiting["files"][0]["name"]), (&json!(""), &json!("b.txt")), "{queue}");
}

#[tokio::test]
async fn other_urls_and_callers_without_a_workspace_are_refused() {
    let api = Api::start_with(Settings { anonymous: true, ..Settings::default() }).await;
    let session = api.session("ann").await;
    for url in ["https://example.org/a.png", "data:text/plain,hello", "data:text/plain;base64,???", ""] {
        let refused = submit(&api, &session, &ui("x", &[("a.txt", url)], Uuid::new_v4())).await;
        refused.refused(422, "unsupported_part");
    }
    let nobody = api.ask("POST", "/api/chat/sessions").send().await.ok();
    let (id, token) = (nobody["id"].as_str().unwrap(), nobody["claim_token"].as_str().unwrap());
    let anonymous = |body: Value| {
        api.ask("POST", format!("/api/chat/sessions/{id}/messages")).header("X-Claim-Token", token).json(&body).send()
    };
    anonymous(ui("x", &[("a.txt", HELLO)], Uuid::new_v4())).await.refused(422, "unsupported_part");
    anonymous(json!({"message": "x", "file_ids": [Uuid::new_v4()]})).await.ok();
    assert_eq!(api.services.count("SELECT count(*) FROM workspaces").await, 0);
}

#[tokio::test]
async fn what_waits_names_its_files() {
    let api = Api::start().await;
    let session = api.session("ann").await;
    submit(&api, &session, &ui("first", &[], Uuid::new_v4())).await.ok();
    submit(&api, &session, &ui("Look", &[("a.txt", HELLO)], Uuid::new_v4())).await.ok();
    let queue = api.get(format!("{session}/queue")).by("ann").send().await.ok();
    let (waiting, file) = (&queue["queue"][0], &queue["queue"][0]["files"][0]);
    assert_eq!(waiting["message"], "Look");
    assert_eq!(
        (&file["name"], &file["mime_type"], &file["size_bytes"]),
        (&json!("a.txt"), &json!("text/plain"), &json!(5))
    );
    assert_eq!(file["file_id"], files(&api).await["files"][0]["file_id"]);
    let url = file["download_url"].as_str().unwrap();
    assert_eq!(api.ask("GET", url).by("ann").send().await.status, 200);
}

#[tokio::test]
async fn ids_of_nobody_and_of_others_are_left_out() {
    let api = Api::start().await;
    let (mine, theirs) = (api.session("ann").await, api.session("eve").await);
    submit(&api, &mine, &ui("x", &[("a.txt", HELLO)], Uuid::new_v4())).await.ok();
    let id = files(&api).await["files"][0]["file_id"].clone();
    let body = json!({"message": "Mine?", "file_ids": [id, Uuid::new_v4(), "../../etc/passwd", ""]});
    api.ask("POST", format!("{theirs}/messages")).by("eve").json(&body).send().await.ok();
    let detail = api.get(&theirs).by("eve").send().await.ok();
    assert_eq!(detail["messages"][0]["content"], "Mine?");
    let named =
        ui("again", &[("ignored", &format!("workspace://{}#text/plain", id.as_str().unwrap()))], Uuid::new_v4());
    let other = api.session("ann").await;
    submit(&api, &other, &named).await.ok();
    assert!(said(&api, &other).await[0].contains("- a.txt (text/plain, 0.0 KB)"));
    assert_eq!(files(&api).await["total"], 1);
}

#[tokio::test]
async fn a_message_that_is_written_anew_keeps_the_files_that_the_history_shows() {
    let api = Api::start().await;
    let session = api.session("ann").await;
    submit(&api, &session, &ui("Look", &[("a.txt", HELLO)], Uuid::new_v4())).await.ok();
    let turns = api.get(format!("{session}/turns")).by("ann").send().await.ok();
    api.answer(turns["turns"][0]["id"].as_str().unwrap().parse().unwrap(), "I see").await;

    let shown = api.get(format!("{session}?format=ui")).by("ann").send().await.ok();
    let question = &shown[0];
    let id = files(&api).await["files"][0]["file_id"].as_str().unwrap().to_owned();
    let url = format!("/api/workspace/files/{id}/download");
    assert_eq!(
        question["parts"],
        json!([
            {"type": "text", "text": "Look"},
            {"type": "file", "mediaType": "text/plain", "filename": "a.txt", "url": url},
        ]),
        "what the model is told of the file is not what the user wrote"
    );
    let loaded = api.get(&url).by("ann").send().await;
    assert_eq!(loaded.status, 200);

    // The id of the client's own making is unknown here: what it says is compared.
    let mut again = question.clone();
    again["id"] = json!("unknown");
    let body = json!({"id": "x", "messages": [again], "trigger": "regenerate-message"});
    submit(&api, &session, &body).await.ok();
    let running = api.get(&session).by("ann").send().await.ok()["active_stream"]["turn_id"].clone();
    api.answer(running.as_str().unwrap().parse().unwrap(), "I still see").await;

    let mut edited = question.clone();
    edited["parts"][0]["text"] = json!("Look again");
    let body = json!({"id": "x", "messages": [edited], "trigger": "submit-message", "messageId": question["id"]});
    submit(&api, &session, &body).await.ok();
    let detail = api.get(&session).by("ann").send().await.ok();
    let messages = detail["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 1, "{detail}");
    assert!(messages[0]["content"].as_str().unwrap().starts_with("Look again\n\n[Attached files]\n- a.txt"));
    assert_eq!(messages[0]["files"][0]["file_id"], json!(id));
    assert_eq!(files(&api).await["total"], 1);
    let kept = "SELECT count(*) FROM messages WHERE superseded_at IS NOT NULL AND parts @> '[{\"type\": \"file\"}]'";
    assert_eq!(api.services.count(kept).await, 1, "what was taken back keeps its files");
}

#[tokio::test]
async fn a_message_of_files_that_are_nobodys_is_blank() {
    let api = Api::start().await;
    let session = api.session("ann").await;
    let url = format!("workspace://{}", Uuid::new_v4());
    submit(&api, &session, &ui("", &[("a.txt", &url)], Uuid::new_v4())).await.refused(422, "validation_error");
}
