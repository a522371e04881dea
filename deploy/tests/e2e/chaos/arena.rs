//! The system under test: processes that come and go, behind networks that break.

use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use copilot_shared::testing::Services;
use futures_util::future::join_all;
use rand::Rng;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tokio::sync::Mutex;

use super::Chaos;
use super::proxy::ChaosProxy;
use crate::client::token;
use crate::servers::PrivateServers;
use crate::system::{Process, http};

/// How many of each there are while nothing is broken.
const APIS: usize = 2;
const WORKERS: usize = 3;

/// A process is ready when every server is there at once, which can take a while.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// Notes each start of a tool call, since the ledger only keeps the last one.
const NOTE_STARTS: &str = "DO $$ BEGIN \
    CREATE TABLE chaos_starts (turn_id uuid, call_id text, name text, before text, attempt integer); \
    CREATE FUNCTION chaos_note_start() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN \
        INSERT INTO chaos_starts VALUES (NEW.turn_id, NEW.id, NEW.name, OLD.status::text, NEW.attempt); RETURN NEW; END $f$; \
    CREATE TRIGGER chaos_starts AFTER UPDATE ON tool_calls FOR EACH ROW WHEN (NEW.status = 'started') \
        EXECUTE FUNCTION chaos_note_start(); END $$";

/// The networks before the three servers.
pub struct Networks {
    pub redis: ChaosProxy,
    pub rabbitmq: ChaosProxy,
    pub postgres: ChaosProxy,
}

/// APIs and workers in one corner of the servers, reached through [`Networks`].
pub struct Arena {
    pub networks: Networks,
    pub workers: Mutex<Vec<Process>>,
    pub apis: Mutex<Vec<(Process, SocketAddr)>>,
    /// Where the living APIs serve, for clients.
    addresses: RwLock<Vec<SocketAddr>>,
    environment: Vec<(&'static str, String)>,
    http: reqwest::Client,
    /// Set if the servers are this run's own, and may be killed; one at a time.
    pub private: Option<Mutex<PrivateServers>>,
    /// The servers themselves, for the judge. Dropped last.
    pub services: Services,
}

impl Arena {
    pub async fn start() -> Self {
        let services = Services::isolated().await;
        services.sql(NOTE_STARTS).await;
        let (redis, redis_url) = ChaosProxy::before(&services.redis_url, 6379).await;
        let (rabbitmq, rabbitmq_url) = ChaosProxy::before(&services.rabbitmq_url, 5672).await;
        let (postgres, database_url) = ChaosProxy::before(&services.database_url, 5432).await;
        let environment = vec![
            ("REDIS_URL", redis_url),
            ("RABBITMQ_URL", rabbitmq_url),
            ("DATABASE_URL", database_url),
            // Few slots, so that a frozen worker holds back some messages and not all.
            ("WORKER_CONCURRENCY", "16".to_owned()),
            ("SHUTDOWN_GRACE_SECONDS", "1".to_owned()),
            ("ALLOW_ANONYMOUS_SESSIONS", "true".to_owned()),
            // Never reached, and counted all the same.
            ("CHAT_DAILY_TOKEN_LIMIT", "1000000000000".to_owned()),
            ("CHAT_WEEKLY_TOKEN_LIMIT", "1000000000000".to_owned()),
        ];
        let arena = Self {
            networks: Networks { redis, rabbitmq, postgres },
            workers: Mutex::default(),
            apis: Mutex::default(),
            addresses: RwLock::default(),
            environment,
            http: http(),
            private: PrivateServers::of_the_run().map(Mutex::new),
            services,
        };
        let apis = async { join_all((0..APIS).map(|_| arena.add_api())).await };
        let workers = async { join_all((0..WORKERS).map(|_| arena.add_worker())).await };
        tokio::join!(apis, workers);
        arena
    }

    pub async fn add_api(&self) {
        let (process, address) = Process::start_api(&self.services, &self.environment());
        process.ready(READY_WITHIN).await;
        self.apis.lock().await.push((process, address));
        self.addresses.write().unwrap().push(address);
    }

    pub async fn add_worker(&self) {
        let process = Process::start_worker(&self.services, &self.environment());
        process.ready(READY_WITHIN).await;
        self.workers.lock().await.push(process);
    }

    /// Takes one of the workers out of the pool; what happens to it is the caller's decision.
    pub async fn take_worker(&self, which: usize) -> Option<Process> {
        let mut workers = self.workers.lock().await;
        let count = workers.len();
        (count > 0).then(|| workers.swap_remove(which % count))
    }

    /// Takes an API out of the pool, unless it is the last one. Clients go elsewhere from now on.
    pub async fn take_api(&self, which: usize) -> Option<Process> {
        let mut apis = self.apis.lock().await;
        if apis.len() < 2 {
            return None;
        }
        let count = apis.len();
        let (process, address) = apis.swap_remove(which % count);
        self.addresses.write().unwrap().retain(|known| *known != address);
        Some(process)
    }

    /// A user's request to one of the living APIs.
    pub fn request(&self, rng: &mut impl Rng, method: Method, path: &str, who: &Who) -> RequestBuilder {
        let addresses = self.addresses.read().unwrap();
        let address = addresses[rng.random_range(0..addresses.len())];
        let request = self.http.request(method, format!("http://{address}/api/chat{path}"));
        match who {
            Who::User(name) => request.bearer_auth(token(name)),
            Who::Nobody(None) => request,
            Who::Nobody(Some(claim)) => request.header("X-Claim-Token", claim),
        }
    }

    fn environment(&self) -> Vec<(&str, &str)> {
        self.environment.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }
}

/// Who asks.
#[derive(Debug, Clone)]
pub enum Who {
    User(String),
    /// Whoever bears the token of a session without an owner, once there is one.
    Nobody(Option<String>),
}

/// One user, as a client that goes to another API for each request.
#[derive(Clone)]
pub struct User {
    pub chaos: Arc<Chaos>,
    who: Who,
}

impl User {
    pub fn new(chaos: &Arc<Chaos>, name: &str) -> Self {
        let who = if name == "nobody" { Who::Nobody(None) } else { Who::User(name.to_owned()) };
        Self { chaos: Arc::clone(chaos), who }
    }

    /// A session was opened: what its bearer needs from now on.
    pub fn bears(&mut self, session: &Value) {
        if let Who::Nobody(claim) = &mut self.who {
            *claim = session["claim_token"].as_str().map(ToOwned::to_owned);
        }
    }

    /// A request to one of the living APIs.
    pub fn request(&self, rng: &mut impl Rng, method: Method, path: &str) -> RequestBuilder {
        self.chaos.arena.request(rng, method, path, &self.who)
    }
}
