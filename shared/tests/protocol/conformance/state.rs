//! What the servers hold, in the lines of [`super::rows`].

use std::fmt::Write as _;

use copilot_shared::chunk::{Frame, parse_frames};
use copilot_shared::id::TurnId as RealTurnId;
use copilot_shared::message::{Part, Role, text_of};
use sqlx::types::Json;

use super::real::Real;
use super::{names, rows, told};
use crate::model::chunk::Chunk;
use crate::model::database::Content;
use crate::model::{TurnId, Turns, UserId};

/// Its turn, its place, who says it and what.
type MessageRow = (RealTurnId, Option<i64>, Role, Json<Vec<Part>>);

impl Real {
    /// Every row, and the streams of some turns.
    pub async fn state(&mut self, of: Turns) -> String {
        let found: Vec<String> = sqlx::query_scalar(rows::TABLES).fetch_all(&mut self.connection).await.unwrap();
        let mut lines = outcomes_named(&found);
        for turn in self.messages().await {
            lines.push_str(&turn);
        }
        for turn in of {
            lines.push_str(&self.stream(turn).await);
            lines.push('\n');
        }
        self.named(lines)
    }

    /// The same text with the model's ids.
    fn named(&self, mut text: String) -> String {
        for (at, id) in self.turns.iter().enumerate() {
            text = text.replace(&id.to_string(), &format!("turn-{at}"));
        }
        for user in [UserId(0), UserId(1)] {
            text = text.replace(self.user_id(user).as_str(), &format!("{user:?}"));
        }
        for (at, id) in self.sessions.iter().enumerate() {
            text = text.replace(&id.to_string(), &format!("session-{at}"));
        }
        for (at, id) in self.workers.iter().enumerate() {
            text = text.replace(&id.to_string(), &format!("process-{at}"));
        }
        text
    }

    async fn messages(&mut self) -> Vec<String> {
        let messages: Vec<MessageRow> = sqlx::query_as(rows::MESSAGES).fetch_all(&mut self.connection).await.unwrap();
        let told = messages.into_iter().map(|(turn, sequence, role, parts)| {
            let content = match (role, parts.0.as_slice()) {
                (Role::User, parts) => Content::User(text_of(parts).parse().unwrap()),
                (Role::Tool, [Part::ToolResult { id, outcome, .. }]) => {
                    Content::Tool(names::call_of(id), names::outcome_of(outcome))
                }
                (_, parts) => Content::Assistant(names::said_of(parts)),
            };
            format!("message {turn} {} {}\n", sequence.unwrap_or(0), rows::content(&content))
        });
        told.collect()
    }

    async fn stream(&self, turn: TurnId) -> String {
        let id = self.turns[turn.at()];
        let meta = told::meta(self.streams.meta(id).await.unwrap());
        let mut line = format!("stream of {turn:?} {meta:?}");
        if let Some(meta) = meta {
            let stored = self.streams.read_after(id, meta.base.into()).await.unwrap();
            let chunks: Vec<Chunk> = stored
                .batches
                .iter()
                .flat_map(|batch| parse_frames(&batch.frames).unwrap())
                .filter_map(|frame| match frame {
                    Frame::Chunk(_, chunk) => Some(chunk),
                    Frame::Usage(_) => None,
                })
                .flat_map(|chunk| names::chunks_of(&chunk))
                .collect();
            let fold = self.streams.read_fold(id).await.unwrap().map(|fold| rows::fold(&told::model_fold(&fold)));
            write!(line, " {chunks:?} {}", fold.unwrap_or_default()).unwrap();
        }
        line
    }
}

/// Lines with the ledger's outcomes, which are JSON, in the model's words.
fn outcomes_named(lines: &[String]) -> String {
    let named = lines.iter().map(|line| match line.split_once('{') {
        Some((before, json)) => {
            let outcome = serde_json::from_str(&format!("{{{json}")).unwrap();
            format!("{before}{:?}\n", names::outcome_of(&outcome))
        }
        None => format!("{line}\n"),
    });
    named.collect()
}
