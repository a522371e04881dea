//! A corner of the real servers for one test: a database, a key prefix and queue names of its own.
//!
//! `DATABASE_URL`, `REDIS_URL` and `RABBITMQ_URL` name the servers; `deploy/test` starts them.
//! Where they are missing a test fails: a skipped one would look like a passed one.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test that cannot have its servers must fail"
)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use sqlx::{Connection, Executor, PgConnection};
use uuid::Uuid;

use crate::blobs::Blobs;
use crate::queue::{Broker, Publisher, Topology};
use crate::store::{Store, StoreSettings};
use crate::stream::{StreamSettings, Streams};
use crate::windows::Windows;
use crate::workspace::{WorkspaceLimits, Workspaces};

pub mod e2b;
mod template;
mod witness;

pub use witness::{Reply, Seen, Witness};

const SETTINGS: StoreSettings =
    StoreSettings { lease: Duration::from_secs(2), max_running: 0, max_in_flight: 0, connections: 8 };

/// The servers, and the names that only this test uses.
#[derive(Debug)]
pub struct Services {
    /// The server's own database, for what must be done from outside.
    admin_url: String,
    database: String,
    /// `DATABASE_URL` of this test.
    pub database_url: String,
    /// `REDIS_URL`.
    pub redis_url: String,
    /// `RABBITMQ_URL`.
    pub rabbitmq_url: String,
    /// `REDIS_PREFIX` of this test.
    pub redis_prefix: String,
    /// `RABBITMQ_PREFIX` of this test.
    pub rabbitmq_prefix: String,
    /// `WORKSPACE_DIR` of this test.
    pub workspace_dir: PathBuf,
    /// `SANDBOX_DIR` of this test.
    pub sandbox_dir: PathBuf,
}

/// Where the servers are.
#[derive(Debug, Clone)]
pub struct Servers {
    /// `DATABASE_URL`.
    pub database_url: String,
    /// `REDIS_URL`.
    pub redis_url: String,
    /// `RABBITMQ_URL`.
    pub rabbitmq_url: String,
}

impl Servers {
    /// Those that the environment names.
    #[must_use]
    pub fn from_env() -> Self {
        let server = |variable: &str| {
            std::env::var(variable)
                .unwrap_or_else(|_| panic!("{variable} is not set; run deploy/test, or name a server"))
        };
        Self {
            database_url: server("DATABASE_URL"),
            redis_url: server("REDIS_URL"),
            rabbitmq_url: server("RABBITMQ_URL"),
        }
    }
}

impl Services {
    /// Makes the corner, with a migrated database, on the servers that the environment names.
    pub async fn isolated() -> Self {
        Self::isolated_on(Servers::from_env()).await
    }

    /// The same on these servers.
    pub async fn isolated_on(servers: Servers) -> Self {
        let admin_url = servers.database_url;
        let name = format!("t{}", Uuid::new_v4().simple());
        let (server_url, _) = admin_url.rsplit_once('/').expect("DATABASE_URL names no database");
        let services = Self {
            database_url: format!("{server_url}/{name}"),
            database: name.clone(),
            admin_url: admin_url.clone(),
            redis_url: servers.redis_url,
            rabbitmq_url: servers.rabbitmq_url,
            redis_prefix: format!("{name}:"),
            workspace_dir: std::env::temp_dir().join(format!("copilot-{name}")),
            sandbox_dir: std::env::temp_dir().join(format!("copilot-{name}-sandbox")),
            rabbitmq_prefix: name,
        };
        template::copy_as(&services.database, &services.admin_url, SETTINGS).await;
        services
    }

    /// A store with short leases and no caps.
    pub fn store(&self) -> Store {
        self.store_with(SETTINGS)
    }

    /// A store by other settings.
    pub fn store_with(&self, settings: StoreSettings) -> Store {
        Store::new(&self.database_url, settings).expect("DATABASE_URL is an address")
    }

    /// The streams.
    pub fn streams(&self) -> Streams {
        Streams::connect(StreamSettings {
            url: self.redis_url.clone(),
            prefix: self.redis_prefix.clone(),
            ttl: Duration::from_mins(1),
            connections: 2,
        })
        .expect("REDIS_URL is an address")
    }

    /// The workspaces, of so many bytes each.
    pub fn workspaces(&self, quota_bytes: i64) -> Workspaces {
        let blobs = Blobs::directory(&self.workspace_dir).expect("the test's directory can be made");
        Workspaces::new(self.store(), blobs, WorkspaceLimits { quota_bytes, max_file_bytes: 8 << 20 })
    }

    /// The usage windows.
    pub fn windows(&self) -> Windows {
        Windows::over(&self.streams())
    }

    /// Host and port of Redis.
    pub fn redis_address(&self) -> &str {
        let (before, _database) = self.redis_url.rsplit_once('/').expect("REDIS_URL names a database");
        before.rsplit_once(['@', '/']).expect("REDIS_URL is an address").1
    }

    /// `REDIS_URL` with another host and port: of something that stands before Redis.
    pub fn redis_url_by(&self, address: &str) -> String {
        self.redis_url.replace(self.redis_address(), address)
    }

    /// A client of this test's Redis, to look at it or to break it from outside.
    pub async fn redis(&self) -> fred::clients::Client {
        use fred::interfaces::ClientLike;
        let config = fred::types::config::Config::from_url(&self.redis_url).expect("REDIS_URL is an address");
        let client = fred::types::Builder::from_config(config).build().expect("a client");
        client.init().await.expect("Redis cannot be reached");
        client
    }

    /// The broker.
    pub fn broker(&self) -> Broker {
        Broker::new(&self.rabbitmq_url, Topology::new(&self.rabbitmq_prefix), "test")
    }

    /// A publisher.
    pub fn publisher(&self) -> Publisher {
        Publisher::new(self.broker())
    }

    /// The environment of a process that is to live in this corner.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("DATABASE_URL", self.database_url.clone()),
            ("REDIS_URL", self.redis_url.clone()),
            ("RABBITMQ_URL", self.rabbitmq_url.clone()),
            ("REDIS_PREFIX", self.redis_prefix.clone()),
            ("RABBITMQ_PREFIX", self.rabbitmq_prefix.clone()),
            ("WORKSPACE_DIR", self.workspace_dir.to_string_lossy().into_owned()),
            ("SANDBOX_DIR", self.sandbox_dir.to_string_lossy().into_owned()),
        ]
    }

    /// Runs a statement in the test's database, to look at it or to break it from outside.
    pub async fn sql(&self, statement: &str) {
        let mut connection = PgConnection::connect(&self.database_url).await.expect("PostgreSQL cannot be reached");
        connection.execute(sqlx::AssertSqlSafe(statement.to_owned())).await.expect("the statement must run");
    }

    /// Asks the test's database for a number.
    pub async fn count(&self, query: &str) -> i64 {
        let mut connection = PgConnection::connect(&self.database_url).await.expect("PostgreSQL cannot be reached");
        sqlx::query_scalar(sqlx::AssertSqlSafe(query.to_owned()))
            .fetch_one(&mut connection)
            .await
            .expect("the query must answer a number")
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        for directory in [&self.workspace_dir, &self.sandbox_dir] {
            if directory.exists()
                && let Err(error) = std::fs::remove_dir_all(directory)
            {
                tracing::warn!(%error, "a test's files were left behind");
            }
        }
        let (url, database, broker) = (self.admin_url.clone(), self.database.clone(), self.broker());
        // The test's runtime is on its way out, so the cleaning has its own.
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut admin = PgConnection::connect(&url).await.map_err(std::io::Error::other)?;
                admin
                    .execute(sqlx::AssertSqlSafe(format!("DROP DATABASE {database} WITH (FORCE)")))
                    .await
                    .map_err(std::io::Error::other)?;
                broker.delete_all().await.map_err(std::io::Error::other)
            })
        });
        match cleaning.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a test's corner was left behind"),
            Err(_) => tracing::warn!("a test's corner was left behind"),
        }
    }
}

/// Asks again and again until the answer is there; fails after `patience`.
pub async fn eventually<T, F>(what: &str, patience: Duration, ask: impl Fn() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(began.elapsed() < patience, "waited {patience:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
