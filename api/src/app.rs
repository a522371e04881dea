//! The use cases, one a file, each with the ways in which it can fail. No HTTP here.

use copilot_shared::analytics::Analytics;
use copilot_shared::id::TurnId;
use copilot_shared::ledger::Ledger;
use copilot_shared::payment::Payments;
use copilot_shared::queue::Publisher;
use copilot_shared::seal::SealError;
use copilot_shared::session::Session;
use copilot_shared::store::{Store, StoreError};
use copilot_shared::stream::{StreamError, Streams};
use copilot_shared::workspace::Workspaces;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::auth::Place;
use crate::relay::Relay;

pub mod administer_limits;
pub mod administer_turns;
pub mod attachments;
pub mod buy_credits;
pub mod cancel_turn;
pub mod check_health;
pub mod claim_session;
pub mod create_session;
pub mod dead_letters;
pub mod delete_session;
pub mod edit_queue;
pub mod files;
pub mod grant_credits;
pub mod impersonate;
pub mod publication;
pub mod read_credits;
pub mod read_session;
pub mod read_usage;
pub mod regenerate_turn;
pub mod reset_usage;
pub mod resume_turn;
pub mod submit_turn;
pub mod understand_user;
pub mod uploads;

use publication::Publications;
use read_usage::Usage;
use uploads::Slots;

/// What the use cases work with.
pub struct App {
    store: Store,
    streams: Streams,
    publisher: Publisher,
    relay: Relay,
    ledger: Ledger,
    payments: Payments,
    workspaces: Workspaces,
    uploads: Slots,
    analytics: Analytics,
    usage: Usage,
    publications: Publications,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What the use cases stand on.
pub struct Foundations {
    /// PostgreSQL.
    pub store: Store,
    /// Redis.
    pub streams: Streams,
    /// RabbitMQ.
    pub publisher: Publisher,
    /// The way of the chunks to the viewers.
    pub relay: Relay,
    /// Credits.
    pub ledger: Ledger,
    /// Who takes money for them.
    pub payments: Payments,
    /// Users' files.
    pub workspaces: Workspaces,
    /// Who is told what happens.
    pub analytics: Analytics,
    /// What users use, and may use.
    pub usage: Usage,
}

/// A session was not to be had.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// It is unknown, or somebody else's.
    #[error("no such session")]
    NotFound(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A use case that stops turns failed.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The turn could not be ended or sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The stream server failed.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl App {
    /// The use cases. Their tasks are `tasks` and end after `stop`.
    pub fn new(foundations: Foundations, stop: CancellationToken, tasks: TaskTracker) -> Self {
        let Foundations { store, streams, publisher, relay, ledger, payments, workspaces, analytics, usage } =
            foundations;
        let publications = Publications::start(&store, &publisher, &stop, &tasks);
        Self {
            store,
            streams,
            publisher,
            relay,
            ledger,
            payments,
            workspaces,
            uploads: Slots::default(),
            analytics,
            usage,
            publications,
            stop,
            tasks,
        }
    }

    /// The caller's session. The one place where it is decided who may see what.
    pub async fn owned_session(&self, place: &Place) -> Result<Session, SessionError> {
        let found = self.store.find_session(place.session, &place.caller).await?;
        found.ok_or_else(|| SessionError::NotFound(place.session.to_string()))
    }

    /// Publishes turns that may run now, in the background: their outbox entries are there already.
    fn publish_soon(&self, turns: impl IntoIterator<Item = TurnId>) {
        for turn in turns {
            self.tasks.spawn(self.publications.clone().publish(turn).in_current_span());
        }
    }

    /// Where the rows are.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// A token that is cancelled when the process stops.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }
}
