//! What a request works with, and the use cases, one a file.

use std::sync::Arc;
use std::time::Duration;

use copilot_shared::id::{SessionId, TurnId};
use copilot_shared::queue::Publisher;
use copilot_shared::session::{Caller, Session};
use copilot_shared::store::Store;
use copilot_shared::stream::Streams;
use tokio::sync::mpsc;

use crate::problem::Problem;
use crate::relay::Relay;
use crate::token::Verifier;

pub mod cancel_turn;
pub mod check_health;
pub mod delete_session;
pub mod resume_turn;
pub mod submit_turn;

/// What the API decides by.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Sessions without a token.
    pub allow_anonymous: bool,
    /// How long an ended turn stays replayable.
    pub stream_ttl: Duration,
}

/// The handles that a request needs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    /// PostgreSQL.
    pub store: Store,
    /// Redis.
    pub streams: Streams,
    /// RabbitMQ.
    pub publisher: Publisher,
    /// From streams to viewers.
    pub relay: Relay,
    /// Who calls.
    pub verifier: Arc<Verifier>,
    /// What the API decides by.
    pub settings: Settings,
    /// Turns whose publication was confirmed, to be noted together.
    pub published: mpsc::Sender<TurnId>,
}

impl App {
    /// The caller's own session. The one place where ownership is checked; everything about a
    /// session asks here first.
    pub async fn owned_session(&self, caller: &Caller, id: &str) -> Result<Session, Problem> {
        // An id of another form names no session.
        let parsed: SessionId = id.parse().map_err(|_| Problem::no_session(id))?;
        self.store.find_session(parsed, caller).await?.ok_or_else(|| Problem::no_session(id))
    }

    /// Publishes turns that may run now; what fails is left to the reconciler.
    pub async fn publish(&self, turns: &[TurnId]) {
        for &turn in turns {
            match self.publisher.publish_turn(turn).await {
                Ok(()) => self.note_published(turn),
                Err(error) => {
                    tracing::warn!(turn.id = %turn, error = &error as &dyn std::error::Error, "a turn could not be published; the reconciler will");
                    self.note_unpublished(turn).await;
                }
            }
        }
    }

    fn note_published(&self, turn: TurnId) {
        if self.published.try_send(turn).is_err() {
            // It is then published once more, unless it was claimed meanwhile: harmless.
            tracing::debug!(turn.id = %turn, "a publication was not noted");
        }
    }

    async fn note_unpublished(&self, turn: TurnId) {
        if let Err(error) = self.store.note_unpublished(&[turn]).await {
            tracing::warn!(turn.id = %turn, error = &error as &dyn std::error::Error, "an unpublished turn was not noted; it is due in a moment all the same");
        }
    }
}
