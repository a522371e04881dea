//! What a call knows of where it comes from, and what it may use.

use std::sync::Arc;

use copilot_shared::id::{SessionId, ToolCallId, TurnId, UserId};
use copilot_shared::secret::SecretsKey;
use copilot_shared::store::{Fence, Store};
use copilot_shared::tool::ToolAnswer;
use copilot_shared::turn::Attempt;
use copilot_shared::workspace::Workspaces;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{ToolFailure, envelope};
use crate::cloud::{Cloud, Whose};
use crate::docs::Docs;
use crate::linear::Linear;
use crate::outbound::Outbound;
use crate::sandbox::Sandbox;

/// What every tool of the process may use.
#[derive(Debug, Clone)]
pub struct Resources {
    /// PostgreSQL.
    pub store: Store,
    /// Users' files.
    pub workspaces: Workspaces,
    /// The way to what a model names outside.
    pub outbound: Outbound,
    /// Where commands run on this machine.
    pub sandbox: Arc<Sandbox>,
    /// Where they run instead, if they do not run on this machine.
    pub cloud: Option<Cloud>,
    /// What the secrets of users are sealed with, if there are any.
    pub secrets_key: Option<SecretsKey>,
    /// What the docs tools know.
    pub docs: Arc<Docs>,
    /// The tracker of feature requests, if it is one outside.
    pub linear: Option<Linear>,
}

/// Where a call comes from.
#[derive(Debug, Clone)]
pub struct ToolContext {
    /// The turn that makes it.
    pub turn_id: TurnId,
    /// Which attempt at it.
    pub attempt: Attempt,
    /// The conversation.
    pub session_id: SessionId,
    /// Its owner, if it has one.
    pub user_id: Option<UserId>,
    /// The call. The same on every attempt, so that it can serve as an idempotency key.
    pub call_id: ToolCallId,
    /// Cancelled when the call is over, however it ended.
    pub stop: CancellationToken,
    /// What the tool may use.
    pub resources: Resources,
    /// Where it shows what it has so far.
    pub outlet: Outlet,
}

impl ToolContext {
    /// The owner, for tools that are only for those who are signed in.
    pub fn user(&self) -> Result<&UserId, ToolFailure> {
        self.user_id.as_ref().ok_or_else(|| ToolFailure::new("Nobody is signed in."))
    }

    /// What every write of the tool to PostgreSQL goes through: a worker that was taken over
    /// changes nothing any more.
    pub fn fence(&self) -> Fence {
        Fence { turn: self.turn_id, attempt: self.attempt }
    }

    /// In whose name a sandbox outside is used.
    pub fn whose(&self) -> Whose {
        Whose { session: self.session_id, fence: self.fence() }
    }

    /// The user's files, for whatever writes or deletes one: behind the same fence.
    pub fn workspaces(&self) -> Workspaces {
        self.resources.workspaces.on_behalf_of(self.fence())
    }

    /// An id for the one thing that a call makes, the same on every attempt, so that it is made
    /// once. Looks like a random one (version 4), which is all that some trackers take.
    pub fn id_of_the_made(&self) -> Uuid {
        let derived = Uuid::new_v5(&self.turn_id.0, self.call_id.as_str().as_bytes());
        uuid::Builder::from_random_bytes(derived.into_bytes()).into_uuid()
    }

    /// Shows what the tool has so far; a later answer takes its place. Shown to clients that are
    /// there, never to the model. Dropped while an earlier one is still on its way.
    pub fn show(&self, mut answer: ToolAnswer) {
        answer.session_id = Some(self.session_id);
        self.outlet.offer(Preliminary { call: self.call_id.clone(), answer });
    }
}

/// An answer that is not the last one.
#[derive(Debug)]
pub struct Preliminary {
    /// The call.
    pub call: ToolCallId,
    /// What there is so far.
    pub answer: ToolAnswer,
}

impl Preliminary {
    /// Its JSON text, within the bounds of every output.
    pub fn text(&self) -> String {
        envelope::capped(self.answer.to_json())
    }
}

/// Where calls show what they have so far.
#[derive(Debug, Clone)]
pub struct Outlet(mpsc::Sender<Preliminary>);

impl Outlet {
    /// An outlet and its other end.
    pub fn channel() -> (Self, mpsc::Receiver<Preliminary>) {
        let (sender, receiver) = mpsc::channel(16);
        (Self(sender), receiver)
    }

    fn offer(&self, preliminary: Preliminary) {
        if self.0.try_send(preliminary).is_err() {
            tracing::trace!("a preliminary answer was skipped: an earlier one is on its way, or the call is over");
        }
    }
}
