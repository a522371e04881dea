//! `envd` of every sandbox, told apart by a header: processes over Connect, and files.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use poem::{Body, Request, Response};
use serde_json::{Value, json};

use super::process::{self, Launch, Process};
use super::{State, files, json_answer, text_of};

pub(super) async fn answer(state: &State, what: &str, mut request: Request) -> Response {
    let header = |name: &str| request.header(name).map(str::to_owned);
    let (id, token) = (header("E2b-Sandbox-Id").unwrap_or_default(), header("X-Access-Token"));
    let Some(expected) = state.machines().running(&id).map(|machine| machine.token.clone()) else {
        // This is said by what stands before it.
        let message = "The sandbox was not found";
        return json_answer(502, &json!({"sandboxId": id, "message": message, "code": 502}));
    };
    if what == "GET /health" {
        return Response::builder().status(poem::http::StatusCode::NO_CONTENT).finish();
    }
    if token.as_ref() != Some(&expected) {
        return problem(401, "unauthenticated", "unauthorized access");
    }
    match what {
        "POST /process.Process/Start" => start(state, &id, request).await,
        "GET /files" | "POST /files" => files::answer(state, &id, request).await,
        _ => {
            let text = request.take_body().into_string().await.unwrap_or_default();
            let body: Value = serde_json::from_str(&text).unwrap_or_default();
            match what {
                "POST /process.Process/SendInput" => input(state, &id, &body),
                "POST /process.Process/SendSignal" => signal(state, &id, &body),
                "POST /process.Process/List" => list(state, &id),
                "POST /filesystem.Filesystem/Move" => files::rename(state, &id, &body),
                "POST /filesystem.Filesystem/Remove" => files::remove(state, &id, &body),
                _ => problem(404, "unimplemented", "no such procedure"),
            }
        }
    }
}

/// A refusal, as Connect has it.
pub(super) fn problem(status: u16, code: &str, message: &str) -> Response {
    json_answer(status, &json!({"code": code, "message": message}))
}

async fn start(state: &State, id: &str, mut request: Request) -> Response {
    let number = |name: &str| request.header(name).and_then(|text| text.parse::<u64>().ok());
    let (timeout, keepalive) = (number("Connect-Timeout-Ms"), number("Keepalive-Ping-Interval").unwrap_or(90));
    let user = request.header("Authorization").map(str::to_owned);
    let body = request.take_body().into_bytes().await.unwrap_or_default();
    let Some(body) = enveloped(&body) else { return problem(400, "invalid_argument", "no message") };
    if user.as_deref() != Some("Basic dXNlcjo=") && user.is_some() {
        return last_frame_only("unauthenticated", "there is only one user");
    }
    let text = |pointer: &str| text_of(&body, pointer).unwrap_or_default().to_owned();
    let arguments = body.pointer("/process/args").and_then(Value::as_array).cloned().unwrap_or_default();
    let environment = body.pointer("/process/envs").and_then(Value::as_object).cloned().unwrap_or_default();
    let as_text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let launch = Launch {
        program: text("/process/cmd"),
        arguments: arguments.iter().map(as_text).collect(),
        environment: environment.iter().map(|(name, value)| (name.clone(), as_text(value))).collect(),
        has_input: body.get("stdin") != Some(&Value::Bool(false)),
        timeout: timeout.filter(|timeout| *timeout > 0).map(Duration::from_millis),
        keepalive: Duration::from_secs(keepalive),
    };
    let mut machines = state.machines();
    let Some(machine) = machines.running(id) else { return last_frame_only("unavailable", "gone") };
    let cwd = machine.place(&text("/process/cwd"));
    match process::start(launch, &machine.id, &machine.home(), &cwd) {
        Ok((process, events)) => {
            machine.processes.insert(process.pid, process);
            let gone = machine.gone.clone().cancelled_owned();
            let frames = events.stream().map(|event| Ok::<_, std::io::Error>(frame(0, &json!({"event": event}))));
            let last = futures_util::stream::once(async { Ok(frame(2, &json!({}))) });
            Response::builder()
                .content_type("application/connect+json")
                .body(Body::from_bytes_stream(frames.chain(last).take_until(gone)))
        }
        Err(error) => last_frame_only("invalid_argument", &error.to_string()),
    }
}

/// Streams refuse in their last frame.
fn last_frame_only(code: &str, message: &str) -> Response {
    let last = frame(2, &json!({"error": {"code": code, "message": message}}));
    Response::builder().content_type("application/connect+json").body(last)
}

fn frame(flags: u8, body: &Value) -> Bytes {
    let body = body.to_string();
    let length = u32::try_from(body.len()).expect("a short message");
    [&[flags], length.to_be_bytes().as_slice(), body.as_bytes()].concat().into()
}

fn enveloped(mut bytes: &[u8]) -> Option<Value> {
    let (_flags, length) = (bytes.try_get_u8().ok()?, bytes.try_get_u32().ok()?);
    serde_json::from_slice(bytes.get(..usize::try_from(length).ok()?)?).ok()
}

fn with_process<T>(state: &State, id: &str, body: &Value, work: impl FnOnce(&mut Process) -> T) -> Option<T> {
    let pid = body.pointer("/process/pid").and_then(Value::as_u64)?;
    state.machines().running(id)?.processes.get_mut(&pid).filter(|process| process.is_running()).map(work)
}

fn no_process() -> Response {
    problem(404, "not_found", "process not found")
}

fn input(state: &State, id: &str, body: &Value) -> Response {
    let words = text_of(body, "/input/stdin").and_then(|words| STANDARD.decode(words).ok()).unwrap_or_default();
    match with_process(state, id, body, |process| process.tell(words)) {
        Some(true) => json_answer(200, &json!({})),
        Some(false) => problem(500, "internal", "stdin not enabled or closed"),
        None => no_process(),
    }
}

fn signal(state: &State, id: &str, body: &Value) -> Response {
    let signal = match body.get("signal") {
        Some(Value::String(name)) if name == "SIGNAL_SIGTERM" => "TERM",
        Some(Value::Number(number)) if number.as_u64() == Some(15) => "TERM",
        _ => "KILL",
    };
    match with_process(state, id, body, |process| process.signal(signal)) {
        Some(()) => json_answer(200, &json!({})),
        None => no_process(),
    }
}

fn list(state: &State, id: &str) -> Response {
    let mut machines = state.machines();
    let processes = machines.running(id).into_iter().flat_map(|machine| machine.processes.values());
    let running: Vec<Value> = processes.filter(|process| process.is_running()).map(Process::listed).collect();
    json_answer(200, &json!({"processes": running}))
}
