//! One Copilot in a corner of the servers: API and worker processes that a test may kill.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use copilot_shared::testing::{Services, eventually};
use futures_util::future::join_all;
use tokio::process::{Child, Command};

/// A running process of ours. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Where it can be asked how it is.
    pub ops: SocketAddr,
}

/// How long a process may take until it is ready while nothing is broken.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// What the tokens of tests are signed with.
pub const KEY: &str = "a-secret-of-the-tests-that-is-long-enough";

/// API and worker processes in one corner of the servers.
pub struct System {
    /// The API processes.
    pub apis: Vec<(Process, SocketAddr)>,
    /// The worker processes.
    pub workers: Vec<Process>,
    /// Where they live. Dropped last.
    pub services: Services,
}

impl System {
    /// Starts so many of each.
    pub async fn start(apis: usize, workers: usize) -> Self {
        Self::start_with(apis, workers, &[]).await
    }

    /// Starts so many of each, with further settings for all.
    pub async fn start_with(apis: usize, workers: usize, environment: &[(&str, &str)]) -> Self {
        Self::start_in(Services::isolated().await, apis, workers, environment).await
    }

    /// Starts so many of each in a corner that is already there.
    pub async fn start_in(services: Services, apis: usize, workers: usize, environment: &[(&str, &str)]) -> Self {
        let apis = join_all((0..apis).map(|_| Process::api(&services, environment))).await;
        let workers = join_all((0..workers).map(|_| Process::worker(&services, environment))).await;
        Self { apis, workers, services }
    }

    /// A user's client of the `n`-th API.
    pub fn client(&self, n: usize, user: &str) -> crate::client::Client {
        crate::client::Client::new(self.apis[n % self.apis.len()].1, user)
    }
}

impl System {
    /// An admin's client of the first API.
    pub fn admin(&self) -> crate::client::Client {
        crate::client::Client::admin(self.apis[0].1)
    }
}

/// The binary of the next process. In the middle of a deploy (`COPILOT_OTHER_BIN_DIR`) every second
/// one is of the other version.
fn binary(name: &str) -> PathBuf {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    let is_other = STARTED.fetch_add(1, Ordering::Relaxed) % 2 == 1;
    let other = std::env::var_os("COPILOT_OTHER_BIN_DIR").filter(|_| is_other);
    let directory = other.or_else(|| std::env::var_os("COPILOT_BIN_DIR")).map_or_else(
        || {
            // target/debug/deps/e2e-… → target/debug
            let own = std::env::current_exe().expect("a test has a path");
            own.ancestors().nth(2).expect("a test lies in deps").to_owned()
        },
        PathBuf::from,
    );
    let path = directory.join(name);
    assert!(path.exists(), "{} is not built: cargo build --workspace --bins", path.display());
    path
}

/// Where a process says what went wrong: a file of its own below `E2E_LOG_DIR`, else the terminal.
fn log_of(name: &str, ops: SocketAddr) -> Stdio {
    let Some(directory) = std::env::var_os("E2E_LOG_DIR") else { return Stdio::inherit() };
    let file = PathBuf::from(directory).join(format!("{name}-{}.log", ops.port()));
    std::fs::File::create(file).expect("E2E_LOG_DIR can be written to").into()
}

/// A port that was free a moment ago.
fn free_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

impl Process {
    /// Starts a worker and waits until it is ready.
    pub async fn worker(services: &Services, environment: &[(&str, &str)]) -> Self {
        let process = Self::start_worker(services, environment);
        process.ready(READY_WITHIN).await;
        process
    }

    /// Starts a worker.
    pub fn start_worker(services: &Services, environment: &[(&str, &str)]) -> Self {
        let ops = free_port();
        Self::spawn("copilot-worker", services, environment, &[("WORKER_OPS_LISTEN", ops.to_string())], ops)
    }

    /// Starts an API and waits until it is ready. Returns where it serves, too.
    pub async fn api(services: &Services, environment: &[(&str, &str)]) -> (Self, SocketAddr) {
        let (process, listen) = Self::start_api(services, environment);
        process.ready(READY_WITHIN).await;
        (process, listen)
    }

    /// Starts an API. Returns where it will serve, too.
    pub fn start_api(services: &Services, environment: &[(&str, &str)]) -> (Self, SocketAddr) {
        let (ops, listen) = (free_port(), free_port());
        let own = [
            ("API_OPS_LISTEN", ops.to_string()),
            ("API_LISTEN", listen.to_string()),
            ("JWT_VERIFY_KEY", KEY.to_owned()),
        ];
        (Self::spawn("copilot-api", services, environment, &own, ops), listen)
    }

    fn spawn(
        name: &str,
        services: &Services,
        environment: &[(&str, &str)],
        own: &[(&str, String)],
        ops: SocketAddr,
    ) -> Self {
        let mut command = Command::new(binary(name));
        command
            .env_clear()
            .envs(services.environment())
            .env("TURN_LEASE_SECONDS", "2")
            .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".into()))
            .envs(own.iter().map(|(name, value)| (*name, value.as_str())))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_of(name, ops))
            .kill_on_drop(true);
        Self { child: command.spawn().expect("the binary starts"), ops }
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&self, patience: Duration) {
        let url = format!("http://{}/health/ready", self.ops);
        let client = http();
        let began = Instant::now();
        loop {
            let state = match client.get(&url).send().await {
                Ok(answer) if answer.status().is_success() => return,
                Ok(answer) => answer.text().await.unwrap_or_else(|error| error.to_string()),
                Err(error) => format!("{error:?}"),
            };
            assert!(began.elapsed() < patience, "process {:?} is not ready: {state}", self.child.id());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks it how it is until it names this part as down.
    pub async fn down(&self, part: &str) {
        let url = format!("http://{}/health/ready", self.ops);
        let client = http();
        eventually(&format!("the process says that {part} is down"), Duration::from_secs(5), || async {
            let answer: serde_json::Value = client.get(&url).send().await.ok()?.json().await.ok()?;
            answer["down"].as_array()?.iter().any(|down| down == part).then_some(())
        })
        .await;
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.child.id().and_then(|pid| i32::try_from(pid).ok()).expect("the process runs")
    }

    /// Sends a signal by its name, as `kill` does.
    pub fn signal(&self, name: &str) {
        let done = std::process::Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(done.expect("kill runs").success());
    }

    /// Kills it as a power cut would.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("the process dies");
    }

    /// Asks it to end, and returns whether it did so cleanly.
    pub async fn terminate(mut self) -> bool {
        self.signal("TERM");
        let ended = tokio::time::timeout(Duration::from_mins(1), self.child.wait()).await;
        ended.expect("the process ends").expect("its status is known").success()
    }
}

/// A client for tests.
pub fn http() -> reqwest::Client {
    // Every test calls this; the first one sets the provider.
    let _set_before = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client")
}
