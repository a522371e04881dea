//! A model provider on a local socket that does as it is told, mischief included.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use copilot_shared::message::{HistoryMessage, Part, Role};
use copilot_worker::model::config::{ApiKey, ModelConfig, Provider};
use copilot_worker::model::retry::RetryPolicy;
use copilot_worker::model::{Model, ModelError, ModelEvent, ModelRequest};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

pub(crate) const KEY: &str = "key-of-the-test";
pub(crate) type Outcome = Result<ModelEvent, ModelError>;

/// One thing that the provider does with a connection.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Writes.
    Send(Vec<u8>),
    /// Writes each byte in a segment of its own.
    Trickle(Vec<u8>),
    /// Says nothing until the client is gone.
    Stall,
    /// Closes the connection.
    Close,
}

/// A request as the provider saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Value,
}

/// The provider: answers the n-th request with the n-th reply.
pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<State>,
    gone: mpsc::UnboundedReceiver<()>,
}

struct State {
    replies: Mutex<VecDeque<Vec<Step>>>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    gone: mpsc::UnboundedSender<()>,
}

impl Server {
    pub(crate) async fn start(replies: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, gone) = mpsc::unbounded_channel();
        let state = Arc::new(State {
            replies: Mutex::new(replies.into()),
            seen: Mutex::new(Vec::new()),
            connections: AtomicUsize::new(0),
            gone: sender,
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(socket, Arc::clone(&shared)));
            }
        });
        Self { address, state, gone }
    }

    /// A model that asks this provider, with quick retries.
    pub(crate) fn model(&self, provider: Provider) -> Arc<dyn Model> {
        connect(&config(provider, self.base_url(provider)))
    }

    /// A model that takes a short silence for the end and asks only once.
    pub(crate) fn impatient_model(&self, provider: Provider) -> Arc<dyn Model> {
        let mut config = config(provider, self.base_url(provider));
        config.silence = Duration::from_millis(100);
        config.retry.attempts = 1;
        connect(&config)
    }

    pub(crate) fn base_url(&self, provider: Provider) -> String {
        match provider {
            Provider::Openai => format!("http://{}/v1", self.address),
            Provider::Anthropic => format!("http://{}", self.address),
        }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Resolves when the client of a stalled reply is gone.
    pub(crate) async fn client_is_gone(&mut self) {
        tokio::time::timeout(Duration::from_secs(10), self.gone.recv()).await.unwrap().unwrap();
    }
}

/// The settings for a provider at an address, with quick retries.
pub(crate) fn config(provider: Provider, base_url: String) -> ModelConfig {
    ModelConfig {
        provider,
        base_url: Some(base_url),
        api_key: ApiKey::resolve(provider, |name| (name == "CHAT_API_KEY").then(|| KEY.to_owned())),
        retry: RetryPolicy { base: Duration::from_millis(1), ..RetryPolicy::default() },
        ..ModelConfig::default()
    }
}

/// What every client needs, once.
pub(crate) fn tls() {
    static TLS: Once = Once::new();
    TLS.call_once(|| rustls::crypto::ring::default_provider().install_default().unwrap());
}

/// The model behind the settings.
pub(crate) fn connect(config: &ModelConfig) -> Arc<dyn Model> {
    tls();
    config.connect("some-model").unwrap()
}

async fn serve(mut socket: TcpStream, state: Arc<State>) {
    socket.set_nodelay(true).unwrap();
    let mut buffer = Vec::new();
    while let Some(seen) = read_request(&mut socket, &mut buffer).await {
        state.seen.lock().unwrap().push(seen);
        let reply = state.replies.lock().unwrap().pop_front().expect("no reply is left");
        for step in reply {
            match step {
                Step::Send(bytes) => drop(socket.write_all(&bytes).await),
                Step::Trickle(bytes) => {
                    for byte in bytes {
                        socket.write_all(&[byte]).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                }
                Step::Stall => {
                    assert_eq!(socket.read_buf(&mut buffer).await.unwrap_or(0), 0, "the client spoke out of turn");
                    state.gone.send(()).unwrap();
                }
                Step::Close => return,
            }
        }
    }
}

async fn read_request(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).unwrap().to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let whole = end + 4 + length.parse::<usize>().unwrap();
            if buffer.len() >= whole {
                let body = serde_json::from_slice(&buffer[end + 4..whole]).unwrap();
                buffer.drain(..whole);
                return Some(Seen { head, body });
            }
        }
        if socket.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// A whole answer with a status.
pub(crate) fn status(status: u16, headers: &str, body: &str) -> Vec<Step> {
    let length = body.len();
    vec![Step::Send(format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n{body}").into_bytes())]
}

/// The beginning of a streamed answer.
pub(crate) fn head() -> Step {
    Step::Send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_vec())
}

/// A piece of a streamed answer.
pub(crate) fn piece(text: &str) -> Step {
    Step::Send(format!("{:x}\r\n{text}\r\n", text.len()).into_bytes())
}

/// The end of a streamed answer; the connection can be used again.
pub(crate) fn end() -> Step {
    Step::Send(b"0\r\n\r\n".to_vec())
}

/// An event with this data.
pub(crate) fn event(data: &Value) -> Step {
    piece(&format!("data: {data}\n\n"))
}

/// A streamed answer of these events that ends as it should.
pub(crate) fn events(data: &[Value]) -> Vec<Step> {
    let mut steps = vec![head()];
    steps.extend(data.iter().map(event));
    steps
}

/// A question with nothing around it.
pub(crate) fn question(text: &str) -> ModelRequest {
    let part = Part::Text { id: None, text: text.into() };
    ModelRequest {
        model: "some-model".into(),
        system: "Be brief.".into(),
        messages: vec![HistoryMessage { role: Role::User, parts: vec![part] }],
        files: std::sync::Arc::default(),
        tools: Vec::new().into(),
        max_output_tokens: None,
        user: None,
    }
}

/// All that a model says to a question.
pub(crate) async fn ask(model: &Arc<dyn Model>) -> Vec<Outcome> {
    let answer = model.stream(question("hi")).collect();
    tokio::time::timeout(Duration::from_secs(20), answer).await.expect("the model hangs")
}

/// The only event, which must be an error.
pub(crate) fn failure(outcomes: &[Outcome]) -> &ModelError {
    match outcomes {
        [Err(error)] => error,
        other => panic!("not just an error: {other:?}"),
    }
}
