//! Files over HTTP: upload, list, ranges, deletion, quota (`usage-tools.md` §5.3).

use std::time::Duration;

use bytes::Bytes;
use copilot_shared::testing::eventually;
use futures_util::stream;
use poem::http::StatusCode;
use poem::{Body, Response};
use serde_json::{Value, json};

use crate::harness::{Answer, Api, Settings};

pub(crate) const BOUNDARY: &str = "cut-here";

/// A form as browsers send it.
pub(crate) fn form(name: &str, content: &[u8]) -> Vec<u8> {
    let mut body = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nskipped\r\n--{BOUNDARY}\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: application/pdf\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(content);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    body
}

pub(crate) async fn upload(api: &Api, user: &str, query: &str, name: &str, content: &[u8]) -> Answer {
    api.ask("POST", format!("/api/workspace/files/upload{query}"))
        .by(user)
        .header("content-type", &format!("multipart/form-data; boundary={BOUNDARY}"))
        .raw(form(name, content))
        .send()
        .await
}

async fn download(api: &Api, user: &str, id: &str, headers: &[(&str, &str)]) -> Response {
    let mut ask = api.get(format!("/api/workspace/files/{id}/download")).by(user);
    for (name, value) in headers {
        ask = ask.header(name, value);
    }
    ask.response().await
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
}

async fn bytes(response: Response) -> Bytes {
    response.into_body().into_bytes().await.unwrap()
}

#[tokio::test]
async fn a_file_goes_up_is_listed_comes_down_and_is_deleted() {
    let api = Api::start().await;
    let content = "äöü\n".repeat(100_000);
    let session = api.session("ann").await;
    let session = session.rsplit('/').next().unwrap();
    let uploaded =
        upload(&api, "ann", &format!("?session_id={session}"), "C:\\x\\nötes.txt", content.as_bytes()).await.ok();
    let id = uploaded["file_id"].as_str().unwrap();
    assert_eq!(
        uploaded,
        json!({"file_id": id, "name": "nötes.txt", "path": format!("/sessions/{session}/nötes.txt"),
            "mime_type": "text/plain", "size_bytes": content.len()})
    );
    upload(&api, "ann", "", "other.zzzz", b"1").await.ok();

    let all = api.get("/api/workspace/files?limit=1").by("ann").send().await.ok();
    assert_eq!((&all["total"], &all["files"][0]["name"]), (&json!(2), &json!("other.zzzz")));
    assert_eq!(all["files"][0]["mime_type"], "application/pdf", "the name tells nothing, so the form does");
    let own = api.get(format!("/api/workspace/files?session_id={session}")).by("ann").send().await.ok();
    assert_eq!((&own["total"], &own["files"][0]["file_id"]), (&json!(1), &json!(id)));

    let response = download(&api, "ann", id, &[("accept-encoding", "gzip")]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "content-disposition"), "attachment; filename*=UTF-8''n%C3%B6tes.txt");
    assert_eq!(header(&response, "content-type"), "text/plain");
    assert_eq!(header(&response, "x-content-type-options"), "nosniff");
    assert_eq!(header(&response, "content-length"), content.len().to_string());
    assert_eq!(bytes(response).await, content.as_bytes());

    let gone = api.ask("DELETE", format!("/api/workspace/files/{id}")).by("ann").send().await.ok();
    assert_eq!(gone, json!({"deleted": true}));
    api.ask("DELETE", format!("/api/workspace/files/{id}")).by("ann").send().await.refused(404, "file_not_found");
    assert_eq!(download(&api, "ann", id, &[]).await.status(), StatusCode::NOT_FOUND);
    let usage = api.get("/api/workspace/storage/usage").by("ann").send().await.ok();
    assert_eq!(usage, json!({"used_bytes": 1, "limit_bytes": 1 << 30, "used_percent": 0.0, "file_count": 1}));
}

#[tokio::test]
async fn another_users_file_is_nobodys() {
    let api = Api::start().await;
    let id = upload(&api, "ann", "", "a.txt", b"secret").await.ok()["file_id"].as_str().unwrap().to_owned();
    let ask = |method: &'static str, path: String| api.ask(method, path).by("eve").send();
    let (deletion, loading) = (format!("/api/workspace/files/{id}"), format!("/api/workspace/files/{id}/download"));
    let nothing = ask("GET", loading.clone()).await;
    nothing.refused(404, "workspace_not_found");
    assert_eq!(nothing.body["detail"], "Workspace not found");
    upload(&api, "eve", "", "b.txt", b"own").await.ok();
    for (method, path) in [("GET", loading), ("DELETE", deletion)] {
        let refused = ask(method, path).await;
        refused.refused(404, "file_not_found");
        assert_eq!(refused.body["detail"], "File not found");
    }
    ask("GET", "/api/workspace/files/no-uuid/download".into()).await.refused(404, "file_not_found");
    assert_eq!(ask("GET", "/api/workspace/files".into()).await.ok()["total"], 1);
    let foreign = api.session("ann").await;
    let foreign = format!("?session_id={}", foreign.rsplit('/').next().unwrap());
    upload(&api, "eve", &foreign, "c.txt", b"x").await.refused(404, "session_not_found");
}

#[tokio::test]
async fn ranges_are_served_as_the_standard_says() {
    let api = Api::start().await;
    let id = upload(&api, "ann", "", "a.json", b"[0,1,2,3,4]").await.ok()["file_id"].as_str().unwrap().to_owned();
    let whole = download(&api, "ann", &id, &[]).await;
    assert_eq!(header(&whole, "accept-ranges"), "bytes");
    let tag = header(&whole, "etag").to_owned();
    for (range, place, content) in [
        ("bytes=1-3", "bytes 1-3/11", "0,1"),
        ("bytes=-2", "bytes 9-10/11", "4]"),
        ("bytes=8-99", "bytes 8-10/11", ",4]"),
    ] {
        let part = download(&api, "ann", &id, &[("range", range), ("accept-encoding", "gzip")]).await;
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(header(&part, "content-range"), place);
        assert_eq!(header(&part, "content-length"), content.len().to_string());
        assert_eq!(bytes(part).await, content);
    }
    let beyond = download(&api, "ann", &id, &[("range", "bytes=11-")]).await;
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(header(&beyond, "content-range"), "bytes */11");
    let body: Value = serde_json::from_slice(&bytes(beyond).await).unwrap();
    assert_eq!(body["code"], "range_not_satisfiable");
    for (range, condition) in [("bytes=0-1,3-4", tag.as_str()), ("bytes=0-1", "\"another\"")] {
        let whole = download(&api, "ann", &id, &[("range", range), ("if-range", condition)]).await;
        assert_eq!(whole.status(), StatusCode::OK, "{range}");
        assert_eq!(bytes(whole).await.len(), 11);
    }
    let part = download(&api, "ann", &id, &[("range", "bytes=0-1"), ("if-range", &tag)]).await;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
}

#[tokio::test]
async fn too_much_is_413_and_leaves_nothing_behind() {
    let api = Api::start_with(Settings { quota_bytes: Some(1000), ..Settings::default() }).await;
    upload(&api, "ann", "", "a", &[0; 900]).await.ok();
    let full = upload(&api, "ann", "", "b", &[0; 101]).await;
    full.refused(413, "storage_limit_exceeded");
    let detail =
        json!({"message": "Storage limit exceeded", "used_bytes": 900, "limit_bytes": 1000, "used_percent": 90.0});
    assert_eq!(full.body["detail"], detail);
    let large = upload(&api, "bob", "", "c", &vec![0; (8 << 20) + 1]).await;
    assert_eq!(large.status, 413);
    assert_eq!(api.get("/api/workspace/storage/usage").by("ann").send().await.ok()["used_percent"], 90.0);
    eventually("refused bytes are gone", Duration::from_secs(10), || async {
        (api.services.count("SELECT count(*) FROM loose_blobs").await == 0).then_some(())
    })
    .await;
    assert_eq!(api.services.count("SELECT count(*) FROM workspace_files").await, 1);
}

#[tokio::test]
async fn a_file_that_is_too_large_is_refused_with_its_bound() {
    let api = Api::start().await;
    let large = upload(&api, "ann", "", "c", &vec![0; (8 << 20) + 1]).await;
    large.refused(413, "file_too_large");
    assert_eq!(large.body["detail"], "File exceeds maximum size of 8 MB");
}

#[tokio::test]
async fn two_uploads_at_once_cannot_both_have_the_last_bytes() {
    let api = Api::start_with(Settings { quota_bytes: Some(1000), ..Settings::default() }).await;
    let uploads = ["a", "b", "c"].map(|name| {
        let api = &api;
        async move { upload(api, "ann", "", name, &[0; 600]).await }
    });
    let [a, b, c] = uploads;
    let (a, b, c) = tokio::join!(a, b, c);
    let statuses = [a.status.as_u16(), b.status.as_u16(), c.status.as_u16()];
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 413).count(), 2, "{statuses:?}");
    assert_eq!(api.get("/api/workspace/storage/usage").by("ann").send().await.ok()["used_bytes"], 600);
}

#[tokio::test]
async fn a_taken_path_is_409_unless_it_is_to_be_replaced() {
    let api = Api::start().await;
    let first = upload(&api, "ann", "", "a.txt", b"one").await.ok();
    let taken = upload(&api, "ann", "", "a.txt", b"two").await;
    taken.refused(409, "file_exists");
    assert_eq!(taken.body["detail"], "File already exists at path: /a.txt");
    let second = upload(&api, "ann", "?overwrite=true", "a.txt", b"two").await.ok();
    assert_ne!(first["file_id"], second["file_id"]);
    let content = bytes(download(&api, "ann", second["file_id"].as_str().unwrap(), &[]).await).await;
    assert_eq!(content, "two");
}

#[tokio::test]
async fn what_is_no_form_with_a_file_is_refused() {
    let api = Api::start().await;
    let post = || api.ask("POST", "/api/workspace/files/upload").by("ann");
    post().json(&json!({})).send().await.refused(415, "unsupported_media_type");
    post().header("content-type", "multipart/form-data").raw("x").send().await.refused(400, "invalid_multipart");
    let multipart = format!("multipart/form-data; boundary={BOUNDARY}");
    let empty = post().header("content-type", &multipart).raw(format!("--{BOUNDARY}--\r\n")).send().await;
    empty.refused(422, "validation_error");
    assert_eq!(empty.body["detail"][0]["loc"], json!(["body", "file"]));
    let mut cut = form("a.txt", &[7; 10_000]);
    cut.truncate(5_000);
    post().header("content-type", &multipart).raw(cut).send().await.refused(400, "invalid_multipart");
    assert_eq!(api.services.count("SELECT count(*) FROM workspace_files").await, 0);
}

/// The client is gone in the middle, and with it the request.
#[tokio::test]
async fn an_upload_that_is_dropped_leaves_nothing_behind() {
    let api = Api::start().await;
    let mut begun = form("a.bin", &vec![1; 6 << 20]);
    begun.truncate(6 << 20);
    let pieces = stream::iter([Ok::<_, std::io::Error>(Bytes::from(begun))]);
    let endless = futures_util::StreamExt::chain(pieces, stream::pending());
    let multipart = format!("multipart/form-data; boundary={BOUNDARY}");
    let hanging = api
        .ask("POST", "/api/workspace/files/upload")
        .by("ann")
        .header("content-type", &multipart)
        .streamed(Body::from_bytes_stream(endless));
    let begun = tokio::time::timeout(Duration::from_secs(2), hanging.response());
    assert!(begun.await.is_err(), "it waits for more");
    eventually("its bytes are gone", Duration::from_secs(10), || async {
        (api.services.count("SELECT count(*) FROM loose_blobs").await == 0).then_some(())
    })
    .await;
}
