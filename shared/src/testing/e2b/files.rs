//! Files of sandboxes.

use std::io::ErrorKind;
use std::path::Path;

use poem::{Request, Response};
use serde_json::{Value, json};

use super::api::percent_decoded;
use super::envd::problem;
use super::{State, json_answer, text_of};

pub(super) async fn answer(state: &State, id: &str, mut request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let path = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("path="))
        .map(|path| percent_decoded(&path.replace('+', " ")));
    let Some(path) = path else { return problem(400, "invalid_argument", "no path") };
    let Some(place) = state.machines().running(id).map(|machine| machine.place(&path)) else {
        return problem(502, "unavailable", "The sandbox was not found");
    };
    if request.method() == poem::http::Method::GET {
        return read(&place);
    }
    let content_type = request.content_type().unwrap_or_default().to_owned();
    let Ok(body) = request.take_body().into_bytes().await else { return problem(500, "internal", "cut") };
    let content = match content_type.split_once("boundary=") {
        Some((_, boundary)) => match part(&body, boundary.trim_matches('"')) {
            Some(content) => content,
            None => return problem(400, "invalid_argument", "no part"),
        },
        None => &body,
    };
    if let Some(above) = place.parent() {
        std::fs::create_dir_all(above).expect("the directories of a sandbox");
    }
    match std::fs::write(&place, content) {
        Ok(()) => json_answer(200, &json!([{"path": path, "name": path.rsplit('/').next(), "type": "file"}])),
        Err(error) => problem(400, "invalid_argument", &error.to_string()),
    }
}

fn read(place: &Path) -> Response {
    if place.is_dir() {
        return json_answer(400, &json!({"code": 400, "message": "path is a directory"}));
    }
    match std::fs::read(place) {
        Ok(content) => Response::builder().content_type("application/octet-stream").body(content),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            json_answer(404, &json!({"code": 404, "message": "path does not exist"}))
        }
        Err(error) => json_answer(500, &json!({"code": 500, "message": error.to_string()})),
    }
}

/// The content of the only part of a form.
fn part<'a>(body: &'a [u8], boundary: &str) -> Option<&'a [u8]> {
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|window| window == what);
    let begin = find(body, b"\r\n\r\n")? + 4;
    let rest = body.get(begin..)?;
    rest.get(..find(rest, format!("\r\n--{boundary}").as_bytes())?)
}

pub(super) fn rename(state: &State, id: &str, body: &Value) -> Response {
    let mut machines = state.machines();
    let Some(machine) = machines.running(id) else { return problem(502, "unavailable", "The sandbox was not found") };
    let [from, to] =
        ["/source", "/destination"].map(|pointer| machine.place(text_of(body, pointer).unwrap_or_default()));
    if let Some(above) = to.parent() {
        std::fs::create_dir_all(above).expect("the directories of a sandbox");
    }
    match std::fs::rename(from, to) {
        Ok(()) => json_answer(200, &json!({"entry": {"path": text_of(body, "/destination")}})),
        Err(error) if error.kind() == ErrorKind::NotFound => problem(404, "not_found", "source file not found"),
        Err(error) => problem(500, "internal", &error.to_string()),
    }
}

pub(super) fn remove(state: &State, id: &str, body: &Value) -> Response {
    let mut machines = state.machines();
    let Some(machine) = machines.running(id) else { return problem(502, "unavailable", "The sandbox was not found") };
    let place = machine.place(text_of(body, "/path").unwrap_or_default());
    // As `rm -rf`.
    let _absent = if place.is_dir() { std::fs::remove_dir_all(&place) } else { std::fs::remove_file(&place) };
    json_answer(200, &json!({}))
}
