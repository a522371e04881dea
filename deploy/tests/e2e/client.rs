//! A user, as a program: REST, and event streams read frame by frame.

use std::net::SocketAddr;
use std::time::Duration;

use copilot_shared::chunk::{Chunk, Frame};
use copilot_shared::cursor::Cursor;
use copilot_shared::fold::Fold;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use jsonwebtoken::{EncodingKey, Header};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::system::{KEY, http};

/// One user's connection to one API.
#[derive(Clone)]
pub struct Client {
    base: String,
    http: reqwest::Client,
    token: String,
}

pub fn token(user: &str) -> String {
    let claims = json!({"sub": user, "aud": "authenticated"});
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(KEY.as_bytes())).unwrap()
}

impl Client {
    pub fn new(address: SocketAddr, user: &str) -> Self {
        Self { base: format!("http://{address}/api/chat"), http: http(), token: token(user) }
    }

    /// An admin's connection to the admins' routes.
    pub fn admin(address: SocketAddr) -> Self {
        let claims = json!({"sub": "root", "aud": "authenticated", "role": "admin"});
        let token =
            jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(KEY.as_bytes())).unwrap();
        Self { base: format!("http://{address}/api/copilot/admin"), http: http(), token }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    pub async fn get(&self, path: &str) -> Value {
        let answer = self.request(Method::GET, path).send().await.unwrap();
        assert!(answer.status().is_success(), "GET {path}: {}", answer.status());
        answer.json().await.unwrap()
    }

    pub async fn session(&self) -> String {
        let answer = self.request(Method::POST, "/sessions").send().await.unwrap();
        answer.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
    }

    /// Sends a message and follows the answer.
    pub async fn send(&self, session: &str, message: &str) -> Stream {
        let request =
            self.request(Method::POST, &format!("/sessions/{session}/stream")).json(&json!({"message": message}));
        Stream::open(request).await.unwrap()
    }

    /// Sends a message without following the answer; returns the turn.
    pub async fn submit(&self, session: &str, message: &str) -> Value {
        let request =
            self.request(Method::POST, &format!("/sessions/{session}/messages")).json(&json!({"message": message}));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        answer.json().await.unwrap()
    }

    /// Follows what is in flight, perhaps behind a cursor.
    pub async fn resume(&self, session: &str, cursor: Option<&str>) -> Result<Stream, StatusCode> {
        let mut request = self.request(Method::GET, &format!("/sessions/{session}/stream"));
        if let Some(cursor) = cursor {
            request = request.header("Last-Event-ID", cursor);
        }
        Stream::open(request).await
    }

    /// Replays one turn, perhaps behind a cursor.
    pub async fn replay(&self, session: &str, turn: &str, cursor: Option<&str>) -> Result<Stream, StatusCode> {
        let query = cursor.map(|cursor| format!("?after={cursor}")).unwrap_or_default();
        Stream::open(self.request(Method::GET, &format!("/sessions/{session}/turns/{turn}/stream{query}"))).await
    }

    pub async fn cancel(&self, session: &str) -> Value {
        let answer = self.request(Method::POST, &format!("/sessions/{session}/cancel")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json().await.unwrap()
    }

    pub async fn turn(&self, session: &str, turn: &str) -> Value {
        self.get(&format!("/sessions/{session}/turns/{turn}")).await
    }
}

/// An event as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: Option<Cursor>,
    pub data: String,
}

impl Event {
    pub fn chunk(&self) -> Chunk {
        serde_json::from_str(&self.data).unwrap()
    }
}

/// An event stream that is being read.
pub struct Stream {
    bytes: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    buffer: Vec<u8>,
    /// Comments that came, without their colon.
    pub comments: Vec<String>,
}

impl Stream {
    pub async fn open(request: RequestBuilder) -> Result<Self, StatusCode> {
        let answer = request.send().await.unwrap();
        if answer.status() != StatusCode::OK {
            return Err(answer.status());
        }
        Ok(Self::of(answer))
    }

    /// The stream of an answer that is one.
    pub fn of(answer: Response) -> Self {
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert_eq!(answer.headers()["x-vercel-ai-ui-message-stream"], "v1");
        assert_eq!(answer.headers()["cache-control"], "no-cache");
        assert_eq!(answer.headers()["x-accel-buffering"], "no");
        Self { bytes: Box::pin(answer.bytes_stream()), buffer: Vec::new(), comments: Vec::new() }
    }

    /// The next event; `None` when the response ended, in good order or not.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.buffered() {
                return Some(event);
            }
            let read = tokio::time::timeout(Duration::from_secs(30), self.bytes.next()).await;
            match read.expect("something comes within 30 s, a heartbeat at least") {
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(error)) => {
                    self.comments.push(format!("broken: {error:?}"));
                    return None;
                }
                None => return None,
            }
        }
    }

    fn buffered(&mut self) -> Option<Event> {
        loop {
            let end = self.buffer.windows(2).position(|pair| pair == b"\n\n")?;
            let block = String::from_utf8(self.buffer.drain(..end + 2).collect()).unwrap();
            let mut event = Event { id: None, data: String::new() };
            for line in block.lines() {
                if let Some(id) = line.strip_prefix("id: ") {
                    event.id = Some(id.parse().unwrap());
                } else if let Some(data) = line.strip_prefix("data: ") {
                    data.clone_into(&mut event.data);
                } else if let Some(comment) = line.strip_prefix(": ") {
                    self.comments.push(comment.to_owned());
                } else {
                    assert!(line.is_empty() || line.starts_with("retry: "), "unexpected line {line:?}");
                }
            }
            if !event.data.is_empty() {
                return Some(event);
            }
        }
    }

    /// Everything up to the end. The last event of a complete turn is `[DONE]`, which is left out.
    pub async fn rest(mut self) -> Rest {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            if event.data == "[DONE]" {
                assert_eq!(self.next().await, None, "nothing follows [DONE]");
                return Rest { events, done: true, comments: self.comments };
            }
            events.push(event);
        }
        Rest { events, done: false, comments: self.comments }
    }

    /// Reads until an event of this type came.
    pub async fn until(&mut self, kind: &str) -> Event {
        let kind = format!("\"type\":\"{kind}\"");
        loop {
            let event = self.next().await.expect("the event comes before the end");
            if event.data.contains(&kind) {
                return event;
            }
        }
    }
}

/// What a client had read when its stream ended.
#[derive(Debug, Clone)]
pub struct Rest {
    pub events: Vec<Event>,
    /// It ended with `[DONE]`.
    pub done: bool,
    /// The comments between, and how the connection broke if it did.
    pub comments: Vec<String>,
}

impl Rest {
    pub fn sequences(&self) -> Vec<u64> {
        self.events.iter().filter_map(|event| event.id.map(|id| id.sequence)).collect()
    }

    pub fn chunks(&self) -> Vec<Chunk> {
        self.events.iter().map(Event::chunk).collect()
    }

    pub fn turn(&self) -> String {
        self.events.iter().find_map(|event| event.id).expect("an event with an id").turn_id.to_string()
    }

    /// The message that a client has.
    pub fn message(&self) -> Vec<Frame> {
        message_of(self.chunks())
    }

    pub fn text(&self) -> String {
        text_of(&self.chunks())
    }
}

/// The message that a client folds from chunks, in one canonical form.
pub fn message_of(chunks: Vec<Chunk>) -> Vec<Frame> {
    let mut fold = Fold::default();
    for chunk in chunks {
        fold.apply(chunk);
    }
    fold.replay()
}

pub fn text_of(chunks: &[Chunk]) -> String {
    chunks
        .iter()
        .filter_map(|chunk| match chunk {
            Chunk::TextDelta { delta, .. } => Some(delta.as_str()),
            _ => None,
        })
        .collect()
}
