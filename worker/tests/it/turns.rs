//! Whole turns: a worker process, real servers, and a model that does as it is told.

use std::process::Stdio;
use std::time::Duration;

use copilot_shared::id::{FileId, MessageId, SessionId, ToolCallId, TurnId, UserId};
use copilot_shared::message::{HistoryMessage, Part, Speaker, ToolOutcome};
use copilot_shared::session::Caller;
use copilot_shared::store::{NewTurn, OnBusy, Store, Submitted};
use copilot_shared::testing::{Services, eventually};
use copilot_shared::turn::Turn;
use copilot_shared::workspace::{File, FilePath, Target, Workspaces};
use copilot_worker::model::config::Provider;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::provider::{Seen, Server, Step, end, events, piece};

/// A worker, the model that it asks, and a conversation of Ann's.
pub(crate) struct Scene {
    pub(crate) store: Store,
    pub(crate) files: Workspaces,
    pub(crate) session: SessionId,
    server: Server,
    ann: Caller,
    _worker: Child,
    /// Where they live. Dropped last.
    pub(crate) services: Services,
}

pub(crate) fn ann() -> UserId {
    UserId::parse("ann").unwrap()
}

impl Scene {
    /// A worker whose model gives these answers, one a call.
    pub(crate) async fn start(provider: Provider, answers: Vec<Vec<Step>>, more: &[(&str, &str)]) -> Self {
        let services = Services::isolated().await;
        let server = Server::start(answers).await;
        let files = services.workspaces(1 << 30);
        let provider_name = match provider {
            Provider::Openai => "openai",
            Provider::Anthropic => "anthropic",
        };
        // A process of its own: metrics and signals are the process's.
        let worker = Command::new(env!("CARGO_BIN_EXE_copilot-worker"))
            .env_clear()
            .envs(services.environment())
            .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".into()))
            .env("WORKER_OPS_LISTEN", "127.0.0.1:0")
            .env("CHAT_TITLE_MODEL", "off")
            .env("CHAT_MODEL", "scripted")
            .env("CHAT_PROVIDER", provider_name)
            .env("CHAT_BASE_URL", server.base_url(provider))
            .env("CHAT_API_KEY", "key")
            .envs(more.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (store, ann) = (services.store(), Caller::User(ann()));
        let session = store.create_session(SessionId::random(), &ann).await.unwrap().id;
        Self { store, files, session, server, ann, _worker: worker, services }
    }

    /// Submits a message with files.
    pub(crate) async fn submit(&self, says: &str, files: &[File]) -> Turn {
        let mut parts = vec![Part::Text { id: None, text: says.to_owned() }];
        parts.extend(files.iter().map(|file| Part::File {
            id: file.id,
            name: file.name.clone(),
            mime_type: file.mime_type.clone(),
            size_bytes: file.size_bytes,
        }));
        let (id, message_id) = (TurnId::generate(), MessageId::generate());
        let new = NewTurn {
            id,
            message_id,
            parts,
            on_busy: OnBusy::Enqueue,
            ui_id: None,
            speaker: Speaker::User,
            idempotency: None,
        };
        match self.store.submit(self.session, &self.ann, &new).await.unwrap() {
            Submitted::Ready(turn) => {
                self.services.publisher().publish_turn(turn.id).await.unwrap();
                turn
            }
            other => panic!("{other:?}"),
        }
    }

    /// The turn when it has ended.
    pub(crate) async fn ended(&self, turn: &Turn) -> Turn {
        eventually("the turn ends", Duration::from_secs(30), || async {
            let row = self.store.find_turn(turn.session_id, turn.id).await.unwrap();
            row.filter(|row| row.status.is_terminal())
        })
        .await
    }

    /// Submits a message and gives back what its turn came to.
    pub(crate) async fn turn(&self, says: &str, files: &[File]) -> (Turn, Vec<HistoryMessage>) {
        let turn = self.submit(says, files).await;
        let ended = self.ended(&turn).await;
        (ended, self.store.turn_messages(turn.id).await.unwrap())
    }

    /// What the model was asked so far.
    pub(crate) fn asked(&self) -> Vec<Seen> {
        self.server.seen()
    }

    /// A file of Ann's.
    pub(crate) async fn file(&self, path: &str, content: impl Into<bytes::Bytes>) -> File {
        let target = Target::at(FilePath::within(Some(self.session), path).unwrap());
        self.files.write(&ann(), target, content.into()).await.unwrap()
    }
}

/// An answer in words.
pub(crate) fn says(text: &str) -> Vec<Step> {
    let delta = json!({"choices": [{"index": 0, "delta": {"content": text}}]});
    closed(&[delta, json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})])
}

/// An answer that calls tools, all in one step.
pub(crate) fn calls(calls: &[(&str, Value)]) -> Vec<Step> {
    let calls: Vec<Value> = calls
        .iter()
        .enumerate()
        .map(|(index, (name, arguments))| {
            let function = json!({"name": name, "arguments": arguments.to_string()});
            json!({"index": index, "id": format!("c{index}"), "type": "function", "function": function})
        })
        .collect();
    let delta = json!({"choices": [{"index": 0, "delta": {"tool_calls": calls}}]});
    closed(&[delta, json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})])
}

fn closed(data: &[Value]) -> Vec<Step> {
    let mut steps = events(data);
    steps.extend([piece("data: [DONE]\n\n"), end()]);
    steps
}

/// The outcomes of a turn's calls, in the model's order, as JSON.
pub(crate) fn outcomes(history: &[HistoryMessage]) -> Vec<Result<Value, Value>> {
    let parts = || history.iter().flat_map(|message| &message.parts);
    let outcome_of = |call: &ToolCallId| {
        parts().find_map(|part| match part {
            Part::ToolResult { id, outcome, .. } if id == call => Some(outcome),
            _ => None,
        })
    };
    let results = parts().filter_map(|part| match part {
        Part::ToolCall { id, .. } => Some(outcome_of(id).expect("every call has an outcome")),
        _ => None,
    });
    let json = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
    results
        .map(|outcome| match outcome {
            ToolOutcome::Output(output) => Ok(json(output.as_str().unwrap())),
            ToolOutcome::Error(text) => Err(json(text)),
        })
        .collect()
}

/// The id in an answer about a file.
pub(crate) fn file_id(answer: &Value) -> FileId {
    answer["file_id"].as_str().unwrap().parse().unwrap()
}
