//! A server on a local port that remembers what it is asked, and answers as it is told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use poem::http::StatusCode;
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::{Endpoint, Request, Response, Server};
use serde_json::Value;
use tokio::task::JoinHandle;

/// What the witness does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Answers: a status, a content type and a body.
    Answer(u16, &'static str, String),
    /// Never answers.
    Hang,
}

impl Reply {
    /// An empty answer.
    pub fn status(status: u16) -> Self {
        Self::Answer(status, "text/plain", String::new())
    }
}

/// A request as the witness saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Where it went.
    pub path: String,
    /// Its body, if that is JSON.
    pub body: Value,
}

/// The server. It ends when this is dropped.
#[derive(Debug)]
pub struct Witness {
    /// Where it listens: `http://127.0.0.1:PORT`.
    pub url: String,
    script: Arc<Script>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Script {
    replies: Mutex<VecDeque<Reply>>,
    then: Reply,
    seen: Mutex<Vec<Seen>>,
}

impl Witness {
    /// Answers the first requests with `replies`, in order, and all later ones with `then`.
    pub async fn start(replies: Vec<Reply>, then: Reply) -> Self {
        let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await.expect("a free port");
        let local = acceptor.local_addr();
        let address: &SocketAddr = local.first().and_then(|address| address.as_socket_addr()).expect("an address");
        let url = format!("http://{address}");
        let script = Arc::new(Script { replies: Mutex::new(replies.into()), then, seen: Mutex::default() });
        let serving = Server::new_with_acceptor(acceptor).run(Stand(Arc::clone(&script)));
        let task = tokio::spawn(async move { serving.await.expect("the witness must serve") });
        Self { url, script, task }
    }

    /// What it was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.script.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Stand(Arc<Script>);

impl Endpoint for Stand {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let path = request.uri().path().to_owned();
        let text = request.take_body().into_string().await.unwrap_or_default();
        let body = serde_json::from_str(&text).unwrap_or_default();
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).push(Seen { path, body });
        let reply = self.0.replies.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        match reply.unwrap_or_else(|| self.0.then.clone()) {
            Reply::Answer(status, content_type, body) => {
                let status = StatusCode::from_u16(status).expect("a status");
                Ok(Response::builder().status(status).content_type(content_type).body(body))
            }
            Reply::Hang => std::future::pending().await,
        }
    }
}
