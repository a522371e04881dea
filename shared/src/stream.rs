//! Redis: the live chunks of turns.
//!
//! A turn has three keys in one cluster slot: its *meta* (attempt, last sequence number, closed),
//! its *chunks* (a Redis stream whose entries are batches of ready-made SSE frames, the entry id
//! being the batch's last sequence number), and its *snapshot* (the fold after some chunk, so
//! that a late client need not read every delta). Each batch is also published to a channel of
//! the same name: readers subscribe, read what is stored, and splice by sequence number.

use std::time::Duration;

use fred::prelude::*;

use crate::id::TurnId;

mod batch;
mod reader;
mod snapshot;
mod writer;

pub use batch::{Batch, BatchError};
pub use reader::{Meta, Stored};
pub use writer::{Append, Appended};

/// Redis could not be asked, or holds what nobody can read.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The server cannot be reached for the moment; the same call may work later.
    #[error("the stream server is not available")]
    Unavailable(#[source] fred::error::Error),
    /// A mistake of ours, or of another version.
    #[error("the stream server refused a command")]
    Broken(#[source] fred::error::Error),
    /// An entry that is no batch.
    #[error("a stored batch cannot be read")]
    Batch(#[from] BatchError),
}

impl From<fred::error::Error> for StreamError {
    fn from(error: fred::error::Error) -> Self {
        use fred::error::ErrorKind;
        match error.kind() {
            ErrorKind::IO
            | ErrorKind::Timeout
            | ErrorKind::Canceled
            | ErrorKind::Backpressure
            | ErrorKind::Cluster
            | ErrorKind::Tls => Self::Unavailable(error),
            // LOADING, READONLY, MASTERDOWN and the like: the server will come round.
            ErrorKind::Unknown if !error.details().starts_with("ERR") => Self::Unavailable(error),
            ErrorKind::Unknown
            | ErrorKind::Config
            | ErrorKind::Auth
            | ErrorKind::Routing
            | ErrorKind::InvalidCommand
            | ErrorKind::InvalidArgument
            | ErrorKind::Url
            | ErrorKind::Protocol
            | ErrorKind::NotFound
            | ErrorKind::Parse
            | ErrorKind::Sentinel => Self::Broken(error),
        }
    }
}

/// What the streams are kept by.
#[derive(Debug, Clone)]
pub struct StreamSettings {
    /// `redis://…`, `rediss://…` or `redis-cluster://…`.
    pub url: String,
    /// What every key begins with, so that deployments can share a server.
    pub prefix: String,
    /// How long an ended turn stays replayable.
    pub ttl: Duration,
    /// Connections for commands.
    pub connections: usize,
}

/// The handle to Redis. Commands share a few pipelined connections; none of them ever blocks.
#[derive(Clone)]
pub struct Streams {
    pool: Pool,
    config: Config,
    settings: StreamSettings,
    append: fred::types::scripts::Script,
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams").field("prefix", &self.settings.prefix).finish_non_exhaustive()
    }
}

impl Streams {
    /// Prepares the client and begins to connect; it goes on trying for ever.
    pub fn connect(settings: StreamSettings) -> Result<Self, StreamError> {
        let mut config = Config::from_url(&settings.url)?;
        // Otherwise a process that starts while the server is away gives up for good.
        config.fail_fast = false;
        let connection = ConnectionConfig {
            connection_timeout: Duration::from_secs(3),
            internal_command_timeout: Duration::from_secs(5),
            max_command_attempts: 2,
            tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
            ..ConnectionConfig::default()
        };
        let performance =
            PerformanceConfig { default_command_timeout: Duration::from_secs(5), ..PerformanceConfig::default() };
        let pool = Builder::from_config(config.clone())
            .with_connection_config(|c| *c = connection)
            .with_performance_config(|p| *p = performance)
            .set_policy(reconnect_for_ever())
            .build_pool(settings.connections)?;
        // The handle of the connection task is not needed: the pool reconnects until it is dropped.
        drop(pool.connect());
        let append = fred::types::scripts::Script::from_lua(include_str!("stream/append.lua"));
        Ok(Self { pool, config, settings, append })
    }

    /// A client of its own for subscriptions: a subscribed connection takes no other commands.
    pub fn subscriber(&self) -> Result<fred::clients::SubscriberClient, StreamError> {
        // In RESP3 a subscribed connection answers commands in order, so that a PING tells that the
        // subscriptions before it stand (Redis documentation, "RESP3", push types).
        let config = Config { version: fred::types::RespVersion::RESP3, ..self.config.clone() };
        let client = Builder::from_config(config)
            .with_connection_config(|c| {
                c.connection_timeout = Duration::from_secs(3);
                c.tcp = TcpConfig { nodelay: Some(true), ..TcpConfig::default() };
            })
            .with_performance_config(|p| p.broadcast_channel_capacity = 4_096)
            .set_policy(reconnect_for_ever())
            .build_subscriber_client()?;
        Ok(client)
    }

    /// Asks the server for a sign of life.
    pub async fn ping(&self) -> Result<(), StreamError> {
        let _pong: String = self.pool.next().ping(None).await?;
        Ok(())
    }

    /// Writes and reads through every layer and leaves no key behind.
    pub async fn probe(&self) -> Result<(), StreamError> {
        let key = format!("{}health-check:{}", self.settings.prefix, uuid::Uuid::new_v4());
        let client = self.pool.next();
        let _set: () = client.set(&key, "1", Some(Expiration::EX(5)), None, false).await?;
        let _value: Option<String> = client.get(&key).await?;
        let _deleted: i64 = client.del(&key).await?;
        Ok(())
    }

    /// Closes every connection.
    pub async fn close(&self) {
        if let Err(error) = self.pool.quit().await {
            tracing::debug!(%error, "redis connections did not close in good order");
        }
    }

    /// The channel on which a turn's batches are published.
    pub fn channel(&self, turn: TurnId) -> String {
        self.key(turn, "chunks")
    }

    /// The turn that a channel is of.
    pub fn turn_of_channel(&self, channel: &str) -> Option<TurnId> {
        channel.rsplit_once("turn:{")?.1.strip_suffix("}:chunks")?.parse().ok()
    }

    /// How long an ended turn stays replayable.
    pub fn ttl(&self) -> Duration {
        self.settings.ttl
    }

    /// The connections for commands, the prefix of keys, and whether the server is a cluster.
    pub(crate) fn connections(&self) -> (Pool, String, bool) {
        (self.pool.clone(), self.settings.prefix.clone(), self.config.server.is_clustered())
    }

    fn key(&self, turn: TurnId, what: &str) -> String {
        format!("{}turn:{{{turn}}}:{what}", self.settings.prefix)
    }

    fn meta_key(&self, turn: TurnId) -> String {
        self.key(turn, "meta")
    }

    fn chunks_key(&self, turn: TurnId) -> String {
        self.key(turn, "chunks")
    }

    fn snapshot_key(&self, turn: TurnId) -> String {
        self.key(turn, "snapshot")
    }
}

/// 50 ms to 2 s between attempts, without end.
fn reconnect_for_ever() -> ReconnectPolicy {
    ReconnectPolicy::new_exponential(0, 50, 2_000, 2)
}
