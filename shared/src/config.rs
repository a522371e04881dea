//! Settings that the API and the workers share: names, defaults and meanings of the environment
//! (`spec/contract.md`, Environment).

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use lapin::uri::AMQPUri;

use crate::analytics::{Analytics, Delivery, Environment, Pace, PostHog, PostHogError};
use crate::clock::Clock;
use crate::credit::{Amount, Cents};
use crate::flags::{FlagFile, FlagFileError, Flags, WrittenFlags};
use crate::ledger::{Ledger, Mode};
use crate::limits::LimitBook;
use crate::meter::{FailPolicy, Meter, MeterSettings};
use crate::queue::{Broker, Topology};
use crate::store::{Store, StoreError, StoreSettings};
use crate::stream::{StreamError, StreamSettings, Streams};
use crate::usage::limits::TokenLimits;
use crate::usage::weight::HEAVIEST;
use crate::windows::Windows;

/// Where the servers are.
#[derive(Clone, Args)]
pub struct ServersConfig {
    /// PostgreSQL
    #[arg(long, env, hide_env_values = true, default_value = "postgres://postgres@127.0.0.1:5432/copilot")]
    pub database_url: String,
    /// Redis; `rediss://` for TLS, `redis-cluster://h1:p1,h2:p2` for a cluster
    #[arg(long, env, hide_env_values = true, default_value = "redis://127.0.0.1:6379/0")]
    pub redis_url: String,
    /// RabbitMQ; several nodes comma separated
    #[arg(long, env, hide_env_values = true, default_value = "amqp://guest:guest@127.0.0.1:5672/%2f")]
    pub rabbitmq_url: String,
    /// Connections to PostgreSQL of this process
    #[arg(long, env, hide_env_values = true, default_value_t = 16, value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub database_connections: u32,
    /// Connections to Redis for commands of this process
    #[arg(long, env, hide_env_values = true, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub redis_connections: u16,
    /// What every Redis key begins with, so that deployments can share a server
    #[arg(long, env, hide_env_values = true, default_value = "copilot:")]
    pub redis_prefix: String,
    /// What the names of exchanges and queues begin with
    #[arg(long, env, hide_env_values = true, default_value = "copilot")]
    pub rabbitmq_prefix: String,
}

impl std::fmt::Debug for ServersConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The addresses hold passwords.
        f.debug_struct("ServersConfig").finish_non_exhaustive()
    }
}

/// How turns are run and kept.
#[derive(Debug, Clone, Args)]
pub struct TurnConfig {
    /// Seconds that an ended turn stays replayable; a running one never expires
    #[arg(long, env, hide_env_values = true, default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..))]
    pub chat_stream_ttl: u64,
    /// Turns of one user that run at once; more wait; 0 for no cap
    #[arg(long, env, hide_env_values = true, default_value_t = 5, value_parser = clap::value_parser!(i64).range(0..))]
    pub max_running_turns_per_user: i64,
    /// Turns of one user in flight, or of a session without an owner, the running ones included; more
    /// are refused; 0 for no cap
    #[arg(long, env, hide_env_values = true, default_value_t = 15, value_parser = clap::value_parser!(i64).range(0..))]
    pub max_in_flight_turns_per_user: i64,
    /// Seconds that an accepted turn may wait for a worker before it fails; 0 for ever
    #[arg(long, env, hide_env_values = true, default_value_t = 3600)]
    pub submit_max_queued_seconds: u64,
    /// Lease of a running turn, in seconds
    #[arg(long, env, hide_env_values = true, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub turn_lease_seconds: u64,
    /// Seconds that SIGTERM waits: for running turns before they are handed over, for open
    /// streams before they are cut
    #[arg(long, env, hide_env_values = true, default_value_t = 30)]
    pub shutdown_grace_seconds: u64,
}

/// How much users may use.
#[derive(Debug, Clone, Args)]
pub struct UsageConfig {
    /// Weighted tokens that a user may use in a UTC day; 0 for no limit
    #[arg(long, env, hide_env_values = true, default_value_t = 2_500_000, value_parser = tokens(0))]
    pub chat_daily_token_limit: i64,
    /// Weighted tokens that a user may use in an ISO week; 0 for no limit
    #[arg(long, env, hide_env_values = true, default_value_t = 12_500_000, value_parser = tokens(0))]
    pub chat_weekly_token_limit: i64,
    /// Weighted tokens that an accepted turn reserves, beside those of its message, until it has
    /// used them or ended; bounds what turns at once can use beyond a limit
    #[arg(long, env, hide_env_values = true, default_value_t = 2_000, value_parser = tokens(1))]
    pub chat_turn_token_estimate: i64,
    /// What happens while the usage counters cannot be read: `closed` refuses, `open` lets pass
    #[arg(long, env, hide_env_values = true, value_enum, default_value_t = FailPolicy::Closed)]
    pub rate_limit_fail: FailPolicy,
    /// Where feature flags come from
    #[command(flatten)]
    pub flags: FlagConfig,
}

/// Where feature flags come from; `copilot-daily-token-limit` and `copilot-weekly-token-limit` go
/// before the configured limits.
#[derive(Clone, Args)]
pub struct FlagConfig {
    /// Feature flags as JSON: `{"defaults": {FLAG: VALUE}, "users": {USER: {FLAG: VALUE}}}`
    #[arg(long, env, hide_env_values = true, default_value = "{}")]
    pub feature_flags: WrittenFlags,
    /// A file with the same, instead; a change of it is seen within seconds
    #[arg(long, env, hide_env_values = true)]
    pub feature_flags_file: Option<PathBuf>,
    /// The SDK key of LaunchDarkly, whose flags are used instead; needs a binary with the feature
    /// `launchdarkly`, as the images have it
    #[arg(long, env, hide_env_values = true)]
    launch_darkly_sdk_key: Option<String>,
    /// A relay of LaunchDarkly, instead of its own servers
    #[arg(long, env, hide_env_values = true)]
    pub launch_darkly_relay_url: Option<String>,
}

impl std::fmt::Debug for FlagConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is a secret.
        f.debug_struct("FlagConfig").field("feature_flags_file", &self.feature_flags_file).finish_non_exhaustive()
    }
}

/// Feature flags that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FlagsError {
    /// The file.
    #[error("FEATURE_FLAGS_FILE")]
    File(#[from] FlagFileError),
    /// The client of LaunchDarkly.
    #[cfg(feature = "launchdarkly")]
    #[error("LAUNCH_DARKLY_SDK_KEY")]
    LaunchDarkly(#[from] crate::flags::launchdarkly::LaunchDarklyError),
    /// This binary knows no LaunchDarkly.
    #[error("LAUNCH_DARKLY_SDK_KEY is set, and this binary was built without the feature `launchdarkly`")]
    WithoutLaunchDarkly,
}

impl FlagConfig {
    /// The flags.
    pub fn flags(&self) -> Result<Flags, FlagsError> {
        if let Some(key) = self.launch_darkly_sdk_key.as_deref().filter(|key| !key.is_empty()) {
            return self.launch_darkly(key);
        }
        Ok(match &self.feature_flags_file {
            Some(path) => Flags::of(FlagFile::open(path)?),
            None => Flags::of(self.feature_flags.clone()),
        })
    }

    #[cfg(feature = "launchdarkly")]
    fn launch_darkly(&self, key: &str) -> Result<Flags, FlagsError> {
        let relay = self.launch_darkly_relay_url.as_deref();
        Ok(Flags::of(crate::flags::launchdarkly::LaunchDarkly::connect(key, relay)?))
    }

    #[cfg(not(feature = "launchdarkly"))]
    #[expect(clippy::unused_self, reason = "the other build asks for the relay")]
    fn launch_darkly(&self, _key: &str) -> Result<Flags, FlagsError> {
        Err(FlagsError::WithoutLaunchDarkly)
    }
}

/// A number of tokens, in the range in which every part of the system counts exactly.
fn tokens(least: i64) -> impl clap::builder::TypedValueParser<Value = i64> {
    clap::value_parser!(i64).range(least..=HEAVIEST)
}

impl UsageConfig {
    /// The meter over these servers.
    pub fn meter(&self, store: &Store, streams: &Streams) -> Result<Meter, FlagsError> {
        let configured = TokenLimits { daily: self.chat_daily_token_limit, weekly: self.chat_weekly_token_limit };
        let limits = LimitBook::new(store.clone(), self.flags.flags()?, configured);
        let settings = MeterSettings { fail: self.rate_limit_fail, estimate: self.chat_turn_token_estimate };
        Ok(Meter::new(Windows::over(streams), limits, Clock::system(), settings))
    }
}

/// What users have and spend.
#[derive(Debug, Clone, Args)]
pub struct CreditConfig {
    /// Users have credits, in cents, and spend them; otherwise nothing costs anything
    #[arg(long, env, hide_env_values = true, action = ArgAction::Set, default_value = "false", value_parser = BoolishValueParser::new())]
    pub enable_credit: bool,
    /// What each month (UTC) fills a user's credits up to, in cents; 0 for no refill
    #[arg(long, env, hide_env_values = true, default_value_t = 1500, value_parser = clap::value_parser!(i64).range(0..=Amount::MAX))]
    pub num_user_credits_refill: i64,
}

/// Who is told what happens.
#[derive(Clone, Args)]
pub struct AnalyticsConfig {
    /// Where this deployment runs, as analytics events say
    #[arg(long, env, hide_env_values = true, value_enum, default_value_t = Environment::Local)]
    pub app_env: Environment,
    /// The key of the PostHog project that is told what happens, without any text of messages; only
    /// the log (level debug) if unset
    #[arg(long, env, hide_env_values = true)]
    pub posthog_api_key: Option<String>,
    /// Where PostHog is
    #[arg(long, env, hide_env_values = true, default_value = "https://eu.i.posthog.com")]
    pub posthog_host: String,
}

impl std::fmt::Debug for AnalyticsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the key.
        f.debug_struct("AnalyticsConfig").field("app_env", &self.app_env).finish_non_exhaustive()
    }
}

impl AnalyticsConfig {
    /// Begins to tell. Runs in the background until the delivery is closed.
    pub fn start(&self) -> Result<(Analytics, Delivery), PostHogError> {
        let key = self.posthog_api_key.as_deref().map(str::trim).filter(|key| !key.is_empty());
        let Some(key) = key else { return Ok((Analytics::logged(), Delivery::none())) };
        Analytics::posted(PostHog {
            host: self.posthog_host.parse().map_err(|_| PostHogError::Host)?,
            api_key: key.to_owned(),
            environment: self.app_env,
            pace: Pace::default(),
        })
    }
}

impl CreditConfig {
    /// The credits of this deployment.
    pub fn ledger(&self, store: Store) -> Ledger {
        let enabled = Mode::Enabled { refill: Cents(self.num_user_credits_refill) };
        Ledger::new(store, if self.enable_credit { enabled } else { Mode::Disabled })
    }
}

impl TurnConfig {
    /// How long an accepted turn may wait for a worker.
    pub fn longest_wait(&self) -> Option<Duration> {
        (self.submit_max_queued_seconds > 0).then(|| Duration::from_secs(self.submit_max_queued_seconds))
    }

    /// How long SIGTERM waits.
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.shutdown_grace_seconds)
    }

    /// The lease of a running turn.
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.turn_lease_seconds)
    }
}

fn has_scheme(url: &str, schemes: &[&str]) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| schemes.contains(&scheme))
}

/// A server's address is none. It is not shown: it may hold a password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// PostgreSQL's.
    #[error("DATABASE_URL is no address of PostgreSQL, such as postgres://user@host:5432/copilot")]
    Postgres,
    /// Redis'.
    #[error("REDIS_URL is no address of Redis, such as redis://host:6379/0 or redis-cluster://h1:6379,h2:6379")]
    Redis,
    /// RabbitMQ's.
    #[error(
        "RABBITMQ_URL is no address of RabbitMQ, such as amqp://user:password@host:5672/%2f; several are comma separated"
    )]
    RabbitMq,
}

impl ServersConfig {
    /// Are the addresses any? To be asked first: a process that starts with a wrong one looks healthy
    /// and does nothing.
    pub fn check(&self) -> Result<(), AddressError> {
        if !has_scheme(&self.database_url, &["postgres", "postgresql"]) {
            return Err(AddressError::Postgres);
        }
        let redis = ["redis", "rediss", "redis-cluster", "rediss-cluster", "redis-sentinel", "rediss-sentinel"];
        if !has_scheme(&self.redis_url, &redis) {
            return Err(AddressError::Redis);
        }
        let is_broker = |url: &str| has_scheme(url, &["amqp", "amqps"]) && url.parse::<AMQPUri>().is_ok();
        if !self.rabbitmq_url.split(',').map(str::trim).all(is_broker) {
            return Err(AddressError::RabbitMq);
        }
        Ok(())
    }

    /// The handle to PostgreSQL.
    pub fn store(&self, turns: &TurnConfig) -> Result<Store, StoreError> {
        let settings = StoreSettings {
            lease: turns.lease(),
            max_running: turns.max_running_turns_per_user,
            max_in_flight: turns.max_in_flight_turns_per_user,
            connections: self.database_connections,
        };
        Store::new(&self.database_url, settings)
    }

    /// The handle to Redis.
    pub fn streams(&self, turns: &TurnConfig) -> Result<Streams, StreamError> {
        Streams::connect(StreamSettings {
            url: self.redis_url.clone(),
            prefix: self.redis_prefix.clone(),
            ttl: Duration::from_secs(turns.chat_stream_ttl),
            connections: usize::from(self.redis_connections),
        })
    }

    /// The broker, as `name` in its lists.
    pub fn broker(&self, name: &str) -> Broker {
        Broker::new(&self.rabbitmq_url, Topology::new(&self.rabbitmq_prefix), name)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        servers: ServersConfig,
    }

    fn check(option: &str, url: &str) -> Result<(), AddressError> {
        Cli::try_parse_from(["copilot", option, url]).unwrap().servers.check()
    }

    #[test]
    fn addresses_of_something_else_are_refused_by_the_name_of_their_variable() {
        for (option, error, wrong) in [
            ("--database-url", AddressError::Postgres, ["nope", "http://x", ""]),
            ("--redis-url", AddressError::Redis, ["nope", "http://x", ""]),
            ("--rabbitmq-url", AddressError::RabbitMq, ["nope", "http://x", "amqp://a:5672, nope"]),
        ] {
            for url in wrong {
                assert_eq!(check(option, url).as_ref(), Err(&error), "{option} {url}");
            }
        }
        for (option, right) in [
            ("--database-url", "postgresql://user:pass@host/db?sslmode=require"),
            ("--redis-url", "redis-cluster://h1:1,h2:2"),
            ("--rabbitmq-url", "amqp://a:b@h1:5672/%2f, amqps://a:b@h2/vhost"),
        ] {
            assert_eq!(check(option, right), Ok(()), "{right}");
        }
    }
}
