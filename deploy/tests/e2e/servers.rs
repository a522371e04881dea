//! Servers that may be killed, through `deploy/services`: one that a test started for itself, or
//! those that `deploy/chaos` started for its run.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use copilot_shared::testing::Servers;

/// One of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    Redis,
    RabbitMq,
    Postgres,
}

impl Server {
    /// Its name for `deploy/services`.
    const fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::RabbitMq => "rabbitmq",
            Self::Postgres => "postgres",
        }
    }

    const fn variable(self) -> &'static str {
        match self {
            Self::Redis => "REDIS_URL",
            Self::RabbitMq => "RABBITMQ_URL",
            Self::Postgres => "DATABASE_URL",
        }
    }
}

/// How a server goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// `kill -9`; PostgreSQL's immediate shutdown.
    Crash,
    /// An orderly shutdown.
    Stop,
}

/// What a server has when it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    Kept,
    Lost,
}

/// The private servers of one data directory of `deploy/services`.
#[derive(Debug, Clone)]
pub struct PrivateServers {
    directory: PathBuf,
}

impl PrivateServers {
    /// Those of the run that this test is part of, if it may kill them: `CHAOS_SERVERS`.
    pub fn of_the_run() -> Option<Self> {
        std::env::var_os("CHAOS_SERVERS").map(|directory| Self { directory: directory.into() })
    }

    /// Takes a server away.
    pub async fn kill(&self, server: Server, death: Death) {
        let verb = if death == Death::Crash { "crash" } else { "stop" };
        self.control(&[verb, server.name()]).await;
    }

    /// Brings it back, and returns when it answers.
    pub async fn revive(&self, server: Server, stored: Stored) {
        let mut arguments = vec!["start", server.name()];
        if stored == Stored::Lost {
            arguments.push("--empty");
        }
        self.control(&arguments).await;
    }

    async fn control(&self, arguments: &[&str]) {
        let mut command = services(&self.directory, arguments);
        let done = tokio::task::spawn_blocking(move || command.status()).await.expect("the call returns");
        assert!(done.expect("deploy/services runs").success(), "deploy/services {arguments:?} fails");
    }
}

/// A server of this test alone, among the others that the environment names. Dropping it ends it.
#[derive(Debug)]
pub struct OwnServer {
    server: Server,
    private: PrivateServers,
    /// Where it and the others are.
    pub servers: Servers,
    /// Held while it lives: another run of this test in this clone waits.
    _only_one: File,
}

impl OwnServer {
    /// Starts it, unless `E2E_WITHOUT_OUTAGES` says that this machine cannot have servers of one's own.
    pub async fn start(server: Server) -> Option<Self> {
        if std::env::var_os("E2E_WITHOUT_OUTAGES").is_some() {
            return None;
        }
        let directory = root().join(".data").join(format!("outage-{}", server.name()));
        std::fs::create_dir_all(&directory).expect("the clone can be written to");
        let started = tokio::task::spawn_blocking(move || {
            let only_one = File::create(directory.join("lock")).expect("the directory can be written to");
            only_one.lock().expect("a file can be locked");
            // What a run that was killed has left.
            for verb in ["down", "up"] {
                let done = services(&directory, &[verb]).env_remove(server.variable()).status();
                assert!(done.expect("deploy/services runs").success(), "deploy/services {verb} fails");
            }
            (PrivateServers { directory }, only_one)
        });
        let (private, only_one) = started.await.expect("the server starts");
        let mut servers = Servers::from_env();
        let url = private.url(server);
        match server {
            Server::Redis => servers.redis_url = url,
            Server::RabbitMq => servers.rabbitmq_url = url,
            Server::Postgres => servers.database_url = url,
        }
        Some(Self { server, private, servers, _only_one: only_one })
    }

    pub async fn kill(&self, death: Death) {
        self.private.kill(self.server, death).await;
    }

    pub async fn revive(&self, stored: Stored) {
        self.private.revive(self.server, stored).await;
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let done = services(&self.private.directory, &["down"]).status();
        assert!(done.is_ok_and(|status| status.success()) || std::thread::panicking(), "deploy/services down fails");
    }
}

impl PrivateServers {
    fn url(&self, server: Server) -> String {
        let output = services(&self.directory, &["env"]).stdout(Stdio::piped()).output().expect("deploy/services runs");
        let text = String::from_utf8(output.stdout).expect("URLs are text");
        let value = text.lines().find_map(|line| line.strip_prefix(&format!("export {}=", server.variable())));
        value.expect("the server has a URL").to_owned()
    }
}

fn services(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(root().join("deploy/services"));
    command.args(arguments).arg("--throwaway").arg("--dir").arg(directory).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the clone")
}
