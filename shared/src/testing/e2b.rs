//! E2B on a local port: the API that makes sandboxes, and the `envd` of each of them, with real
//! processes and real files behind it, so that output, exit codes and kills are real. It is no
//! sandbox: what runs in it runs as the test itself.
//!
//! Its honesty is tried with the released SDK: `cargo run -p copilot-shared --features testing --example
//! e2b` serves it for other clients.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use poem::http::StatusCode;
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::{Endpoint, Request, Response, Server};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

mod api;
mod envd;
mod files;
mod machine;
mod process;

use machine::Machines;

/// The key that its API takes.
const KEY: &str = "e2b_0123456789abcdef";

/// What it does with one request.
#[derive(Debug, Clone, Copy)]
pub enum Trick {
    /// Does what is asked, and then answers as if it had not been there.
    LoseAnswer,
    /// Does nothing and refuses, with a status and the API's word for it.
    Refuse(u16, &'static str),
    /// Does what is asked, and takes its time to answer.
    Dawdle(Duration),
}

/// The server. It ends when this is dropped, with everything that was started in it.
#[derive(Debug)]
pub struct E2b {
    /// Where it listens: `http://127.0.0.1:PORT`.
    pub url: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    root: PathBuf,
    machines: Mutex<Machines>,
    tricks: Mutex<VecDeque<(&'static str, Trick)>>,
    seen: Mutex<Vec<String>>,
}

impl State {
    fn machines(&self) -> MutexGuard<'_, Machines> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl E2b {
    /// Listens on a free port.
    pub async fn start() -> Self {
        let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await.expect("a free port");
        let local = acceptor.local_addr();
        let address: &SocketAddr = local.first().and_then(|address| address.as_socket_addr()).expect("an address");
        let url = format!("http://{address}");
        let root = std::env::temp_dir().join(format!("copilot-e2b-{}", Uuid::new_v4()));
        let state =
            Arc::new(State { root, machines: Mutex::default(), tricks: Mutex::default(), seen: Mutex::default() });
        let serving = Server::new_with_acceptor(acceptor).run(Door(Arc::clone(&state)));
        let task = tokio::spawn(async move { serving.await.expect("E2B must serve") });
        Self { url, state, task }
    }

    /// What a client needs to know, in the variables that all of them read.
    pub fn environment(&self) -> [(&'static str, &str); 3] {
        [("E2B_API_KEY", KEY), ("E2B_API_URL", &self.url), ("E2B_SANDBOX_URL", &self.url)]
    }

    /// Plays a trick on the next request to this method and path: `POST /v2/sandboxes`. A `*` stands
    /// for the id of a sandbox.
    pub fn play(&self, on: &'static str, trick: Trick) {
        self.state.tricks.lock().unwrap_or_else(PoisonError::into_inner).push_back((on, trick));
    }

    /// How often this was asked for, with `*` for the id of a sandbox.
    pub fn asked(&self, method_and_path: &str) -> usize {
        let seen = self.state.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().filter(|seen| *seen == method_and_path).count()
    }

    /// The sandboxes that there are, oldest first.
    pub fn sandboxes(&self) -> Vec<String> {
        self.state.machines().all().map(|machine| machine.id.clone()).collect()
    }

    /// The seconds that a sandbox has left, if it runs.
    pub fn seconds_left(&self, id: &str) -> Option<u64> {
        self.state.machines().running(id).map(|machine| machine.seconds_left())
    }

    /// Kills a sandbox, as E2B does for reasons of its own.
    pub fn kill(&self, id: &str) {
        self.state.machines().kill(id);
    }

    /// Has a sandbox run out of its time.
    pub fn expire(&self, id: &str) {
        self.state.machines().expire(id);
    }
}

impl Drop for E2b {
    fn drop(&mut self) {
        self.task.abort();
        self.state.machines().kill_all();
        // Left to the machine's own cleaning if it fails.
        let _left = std::fs::remove_dir_all(&self.state.root);
    }
}

struct Door(Arc<State>);

/// A path whose sandbox's id is left out, and the id.
fn pattern(path: &str) -> (String, Option<String>) {
    let mut parts: Vec<&str> = path.split('/').collect();
    let place = parts.iter().position(|part| *part == "sandboxes").map(|place| place + 1);
    let id = place.and_then(|place| parts.get_mut(place)).map(|part| std::mem::replace(part, "*").to_owned());
    (parts.join("/"), id)
}

impl Endpoint for Door {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let (path, id) = pattern(request.uri().path());
        let what = format!("{} {path}", request.method());
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).push(what.clone());
        let trick = {
            let mut tricks = self.0.tricks.lock().unwrap_or_else(PoisonError::into_inner);
            let place = tricks.iter().position(|(on, _)| *on == what);
            place.and_then(|place| tricks.remove(place)).map(|(_, trick)| trick)
        };
        if let Some(Trick::Refuse(status, word)) = trick {
            return Ok(refusal(status, word));
        }
        let answer = match id {
            _ if path.starts_with("/sandboxes") || path.starts_with("/v2/sandboxes") => {
                api::answer(&self.0, &what, id.as_deref(), request).await
            }
            _ => envd::answer(&self.0, &what, request).await,
        };
        match trick {
            Some(Trick::LoseAnswer) => return Ok(refusal(502, "lost")),
            Some(Trick::Dawdle(time)) => tokio::time::sleep(time).await,
            Some(Trick::Refuse(..)) | None => {}
        }
        Ok(answer)
    }
}

fn json_answer(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).expect("a status");
    Response::builder().status(status).content_type("application/json").body(body.to_string())
}

fn refusal(status: u16, word: &str) -> Response {
    json_answer(status, &json!({"code": status, "message": format!("no: {word}"), "error_code": word}))
}

fn text_of<'a>(body: &'a Value, pointer: &str) -> Option<&'a str> {
    body.pointer(pointer).and_then(Value::as_str)
}
