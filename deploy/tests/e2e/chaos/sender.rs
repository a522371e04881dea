//! Sending a message until somebody says what became of it.

use std::time::Duration;

use copilot_shared::id::TurnId;
use rand::Rng;
use rand::rngs::StdRng;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::arena::User;
use super::ledger::Submission;
use crate::client::{Event, Stream};

/// An answer that takes longer is given up, and the request is sent again.
const PATIENCE: Duration = Duration::from_secs(12);

/// What became of a message.
pub enum Sent {
    /// It is a turn, and perhaps its stream has begun.
    Accepted(TurnId, Option<Begun>),
    /// It was refused, and nothing was written.
    Refused,
    /// Nobody said anything until the time was over.
    Unknown,
}

/// A stream that the POST opened, with what came so far.
pub struct Begun {
    pub stream: Stream,
    pub events: Vec<Event>,
}

enum Answer {
    Accepted(TurnId),
    Refused,
    Again(Duration),
}

impl User {
    /// Opens a session.
    pub async fn open_session(&mut self, rng: &mut StdRng) -> String {
        loop {
            let request = self.request(rng, Method::POST, "/sessions").timeout(PATIENCE);
            if let Ok(answer) = request.send().await {
                let status = answer.status();
                if let Ok(body) = answer.json::<Value>().await
                    && let Some(id) = body["id"].as_str()
                {
                    self.bears(&body);
                    return id.to_owned();
                }
                self.expect_passing(status, "POST /sessions");
            }
            assert!(Instant::now() < self.chaos.settled_by(), "no session could be opened");
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Sends a message without following it, again and again until there is an answer.
    pub async fn send(&self, rng: &mut StdRng, submission: &Submission) -> Sent {
        loop {
            match self.send_once(rng, submission).await {
                Answer::Accepted(turn) => return Sent::Accepted(turn, None),
                Answer::Refused => return Sent::Refused,
                Answer::Again(pause) => sleep(pause).await,
            }
            if Instant::now() > self.chaos.settled_by() {
                return Sent::Unknown;
            }
        }
    }

    /// Sends a message with the request that opens the stream; falls back to [`Self::send`], with
    /// the same message id, if that breaks before the turn is known.
    pub async fn send_and_follow(&self, rng: &mut StdRng, submission: &Submission) -> Sent {
        let path = format!("/sessions/{}/stream", submission.session);
        if let Ok(answer) = self.request(rng, Method::POST, &path).json(&body(submission)).send().await
            && answer.status() == StatusCode::OK
        {
            let mut begun = Begun { stream: Stream::of(answer), events: Vec::new() };
            while let Some(Some(event)) = self.chaos.in_time(begun.stream.next()).await {
                let turn = event.id.map(|id| id.turn_id);
                begun.events.push(event);
                if let Some(turn) = turn {
                    begun.events.retain(|event| event.id.is_some());
                    return Sent::Accepted(turn, Some(begun));
                }
            }
        }
        self.send(rng, submission).await
    }

    async fn send_once(&self, rng: &mut StdRng, submission: &Submission) -> Answer {
        let path = format!("/sessions/{}/messages", submission.session);
        let request = self.request(rng, Method::POST, &path).json(&body(submission)).timeout(PATIENCE);
        let Ok(answer) = request.send().await else { return Answer::Again(Duration::from_millis(100)) };
        let status = answer.status();
        match status {
            StatusCode::ACCEPTED => match answer.json::<Value>().await {
                Ok(body) => Answer::Accepted(body["turn_id"].as_str().unwrap().parse().unwrap()),
                Err(_) => Answer::Again(Duration::ZERO),
            },
            StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS => Answer::Refused,
            _ => {
                self.expect_passing(status, "POST …/messages");
                Answer::Again(Duration::from_millis(rng.random_range(100..500)))
            }
        }
    }

    /// The record of a turn, if it can be had for the moment.
    pub async fn look_at(&self, rng: &mut StdRng, session: &str, turn: TurnId) -> Option<Value> {
        let path = format!("/sessions/{session}/turns/{turn}");
        let answer = self.request(rng, Method::GET, &path).timeout(PATIENCE).send().await.ok()?;
        let status = answer.status();
        if status != StatusCode::OK {
            self.expect_passing(status, "GET …/turns/{id}");
            return None;
        }
        answer.json().await.ok()
    }

    /// Replaces a waiting message. True if it was, false if it no longer waits, nothing if nobody says.
    pub async fn edit(&self, rng: &mut StdRng, session: &str, turn: TurnId, message: &str) -> Option<bool> {
        let path = format!("/sessions/{session}/queue/{turn}");
        let request = self.request(rng, Method::PATCH, &path).json(&json!({ "message": message })).timeout(PATIENCE);
        let status = request.send().await.ok()?.status();
        match status {
            StatusCode::OK => Some(true),
            StatusCode::NOT_FOUND => Some(false),
            _ => {
                self.expect_passing(status, "PATCH …/queue/{id}");
                None
            }
        }
    }

    /// Drops a waiting turn. True if the answer says so.
    pub async fn drop_waiting(&self, rng: &mut StdRng, session: &str, turn: TurnId) -> bool {
        let path = format!("/sessions/{session}/queue/{turn}");
        let Ok(answer) = self.request(rng, Method::DELETE, &path).timeout(PATIENCE).send().await else { return false };
        let status = answer.status();
        if !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_FOUND) {
            self.expect_passing(status, "DELETE …/queue/{id}");
        }
        status == StatusCode::NO_CONTENT
    }

    /// Stops what runs in the session. The answer, if there was one.
    pub async fn stop(&self, rng: &mut StdRng, session: &str) -> Option<Value> {
        let path = format!("/sessions/{session}/cancel");
        let answer = self.request(rng, Method::POST, &path).timeout(PATIENCE).send().await.ok()?;
        let status = answer.status();
        if status != StatusCode::OK {
            self.expect_passing(status, "POST …/cancel");
            return None;
        }
        answer.json().await.ok()
    }

    /// While a server is away 503 is an answer; a mistake of ours never is.
    pub fn expect_passing(&self, status: StatusCode, what: &str) {
        if status != StatusCode::SERVICE_UNAVAILABLE {
            self.chaos.ledger.violation(format!("{what} answered {status}"));
        }
    }
}

fn body(submission: &Submission) -> Value {
    json!({
        "message": submission.script.message,
        "message_id": submission.message_id.to_string(),
        "on_busy": submission.on_busy,
    })
}
