//! PostgreSQL: the truth. Every SQL text of the system is below this module.
//!
//! Locks are taken in one order, so that no two transactions wait for each other: the user's
//! advisory lock, a running turn's row, its session's row, the rows of waiting turns, messages.
//! What tools write comes behind the turn's row, which they share; a user's folders have an advisory
//! lock of their own, before it, as a user's files have their workspace's row.
//! Whoever decides what may run next (submit, finish, cancel) holds the session's row, and the
//! user's lock where a cap per user is set.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgTransaction};
use sqlx::{PgPool, Postgres};

use crate::id::UserId;

mod admin;
mod attempts;
mod audit;
mod cancels;
mod cloud_sandboxes;
mod credits;
mod dead_letters;
mod feature_requests;
mod fence;
mod folders;
mod limits;
mod mcp_tokens;
mod messages;
mod outbox;
mod queue;
mod reconcile;
mod resets;
mod resubmit;
mod rows;
mod secrets;
mod sessions;
mod steering;
mod steps;
mod submit;
mod summaries;
mod todos;
mod tool_calls;
mod transcript;
mod turns;
mod understanding;
mod usage;
mod workers;
mod workspace;

pub use admin::{AdminTurn, Requeue, TurnFilter};
pub use attempts::{Claim, Claimed, Fenced, Renewal};
pub use cancels::{CancelRequest, Dropped, Seized};
pub use cloud_sandboxes::{CloudSandbox, DueCloudSandbox};
pub use credits::{GrantError, Recorded, SpendError};
pub use dead_letters::{DeadLetterSummary, KeptDeadLetter};
pub use feature_requests::{NewFeatureRequest, RequestedFeature};
pub use fence::Fence;
pub use folders::{Folder, FolderChange, FolderError, NewFolder};
pub use limits::LimitOverride;
pub use mcp_tokens::McpServer;
pub use messages::{MessagePage, StoredMessage};
pub use queue::QueuedMessage;
pub use resets::{ChargeError, NewReset, PaidReset, RefundError, Refunded, ResetStatus};
pub use resubmit::{Again, Resubmitted, Seen};
pub use sessions::{ClaimSessionError, SessionSummary};
pub use steps::{Finished, StepCommit};
pub use submit::{Idempotency, NewTurn, OnBusy, SubmitError, Submitted};
pub use tool_calls::PendingCall;
pub use transcript::{Asked, TranscriptPage, TurnTranscript};
pub use turns::ActiveTurn;
pub use understanding::Suggesting;
pub use usage::UnsettledStep;
pub use workers::WorkerLock;
pub use workspace::{LooseBlob, PlaceError, Placed};

pub(crate) static MIGRATOR: sqlx::migrate::Migrator =
    // Migrations only go forward, and a deploy may go back: the version before then finds steps
    // that it does not know, and has nothing to do.
    sqlx::migrate::Migrator { ignore_missing: true, ..sqlx::migrate!("../migrations") };

/// PostgreSQL could not be asked, or refused.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The server cannot be reached for the moment; the same call may work later.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// A mistake of ours, or a row that makes no sense.
    #[error("the database refused a statement")]
    Broken(#[source] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the database could not be migrated")]
    Migrate(#[source] sqlx::migrate::MigrateError),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let code =
            error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default().into_owned();
        // 08 connection, 57P shutdown, 53 out of resources, 40 rollback (PostgreSQL, appendix A).
        let passing = ["08", "57P", "53", "40"].iter().any(|class| code.starts_with(class));
        let transport = matches!(
            error,
            sqlx::Error::Io(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
        );
        if passing || transport { Self::Unavailable(error) } else { Self::Broken(error) }
    }
}

impl StoreError {
    /// The same call may work later. It may also have worked: an answer can be lost after the commit.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Did the statement break this constraint?
    pub fn breaks(&self, constraint: &str) -> bool {
        match self {
            Self::Broken(error) => error.as_database_error().and_then(|e| e.constraint()) == Some(constraint),
            Self::Unavailable(_) | Self::Migrate(_) => false,
        }
    }
}

/// What the store decides by.
#[derive(Debug, Clone, Copy)]
pub struct StoreSettings {
    /// Lease of a running turn.
    pub lease: Duration,
    /// Turns of one user that may run at once; 0 for no cap.
    pub max_running: i64,
    /// Turns of one user that may be in flight; 0 for no cap.
    pub max_in_flight: i64,
    /// Connections of this process.
    pub connections: u32,
}

/// The handle to PostgreSQL.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
    options: PgConnectOptions,
    settings: StoreSettings,
}

/// How long the publisher that saved a turn has to get it confirmed before a dispatcher takes over.
const DISPATCH_GRACE: Duration = Duration::from_secs(2);

impl Store {
    /// Prepares the pool; connections are made when they are needed.
    pub fn new(url: &str, settings: StoreSettings) -> Result<Self, StoreError> {
        let options: PgConnectOptions = url.parse::<PgConnectOptions>()?.application_name("copilot");
        let pool = PgPoolOptions::new()
            .max_connections(settings.connections)
            .acquire_timeout(Duration::from_secs(5))
            // Checking each connection before use costs a round trip; a broken one shows itself.
            .test_before_acquire(false)
            .connect_lazy_with(options.clone());
        Ok(Self { pool, options, settings })
    }

    /// Brings the schema up to date. Safe to run from several processes at once.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        MIGRATOR.run(&self.pool).await.map_err(StoreError::Migrate)
    }

    /// Asks the server for a sign of life.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Is the schema at least as new as this program's?
    pub async fn is_migrated(&self) -> Result<bool, StoreError> {
        let newest = MIGRATOR.iter().map(|migration| migration.version).max();
        let applied: Option<i64> =
            sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success").fetch_one(&self.pool).await?;
        Ok(applied >= newest)
    }

    /// Writes and reads through every layer and leaves no row behind.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        let user = format!("health-check-{}", uuid::Uuid::new_v4());
        sqlx::query("INSERT INTO users (id) VALUES ($1)").bind(&user).execute(&mut *tx).await?;
        sqlx::query("SELECT id FROM users WHERE id = $1").bind(&user).fetch_one(&mut *tx).await?;
        tx.rollback().await?;
        Ok(())
    }

    /// What the store decides by.
    pub fn settings(&self) -> &StoreSettings {
        &self.settings
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn begin_for(&self, user: Option<&UserId>) -> Result<PgTransaction<'static>, StoreError> {
        let mut tx = self.pool.begin().await?;
        if let Some(user) = user
            && self.has_caps()
        {
            sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('copilot:user:' || $1, 0))")
                .bind(user)
                .execute(&mut *tx)
                .await?;
        }
        Ok(tx)
    }

    fn has_caps(&self) -> bool {
        self.settings.max_running > 0 || self.settings.max_in_flight > 0
    }
}

/// An interval as PostgreSQL takes it.
fn interval(duration: Duration) -> sqlx::postgres::types::PgInterval {
    sqlx::postgres::types::PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX),
    }
}

type Tx<'a> = &'a mut sqlx::Transaction<'static, Postgres>;
