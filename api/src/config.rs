//! Settings of the API, from the environment or the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Parser, Subcommand};
use copilot_shared::config::{AnalyticsConfig, CreditConfig, ServersConfig, TurnConfig, UsageConfig};
use copilot_shared::telemetry::LogConfig;
use copilot_shared::workspace::WorkspaceConfig;

use crate::app::read_usage::ResetTerms;
use crate::auth::jwks::{ClientError, JwksAddress, JwksAddressError, KeyRing, Transport};
use crate::auth::{DEVELOPMENT_KEY, Gate, KeyError, SignAlgorithm, UserRole};

/// REST and SSE of Copilot: accepts turns and relays their chunks.
#[derive(Debug, Parser)]
#[command(name = "copilot-api", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; `serve` if nothing is said
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    serve: ServeConfig,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve (the default)
    Serve(Box<ServeConfig>),
    /// Bring the database's schema up to date
    Migrate(MigrateConfig),
    /// Print the OpenAPI document; needs no server
    Openapi,
    /// Print a token, signed with the shared secret
    Token(TokenConfig),
}

/// What `serve` needs.
#[derive(Debug, Clone, Args)]
pub struct ServeConfig {
    /// Where REST, event streams, docs and playground are served
    #[arg(long, env, hide_env_values = true, default_value = "127.0.0.1:8080")]
    pub api_listen: SocketAddr,
    /// Where `/health/live`, `/health/ready` and `/metrics` are served; port 0 picks a free one
    #[arg(long, env, hide_env_values = true, default_value = "127.0.0.1:9080")]
    pub api_ops_listen: SocketAddr,
    /// Seconds that a client may read nothing of an answer before its connection is closed
    #[arg(long, env, hide_env_values = true, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub api_unread_seconds: u64,
    /// Origins whose pages may call the API, comma separated; none if empty
    #[arg(long, env, hide_env_values = true, value_delimiter = ',', default_value = "")]
    pub api_cors_origins: Vec<String>,
    /// Where the built playground is; without one the API serves all the rest
    #[arg(long, env, hide_env_values = true, default_value = "api/web/dist")]
    pub api_web_dir: PathBuf,
    /// Sessions without a token, held by whoever has their claim token
    #[arg(long, env, hide_env_values = true, action = ArgAction::Set, default_value = "false", value_parser = BoolishValueParser::new())]
    pub allow_anonymous_sessions: bool,
    /// How tokens are verified.
    #[command(flatten)]
    pub tokens: KeyConfig,
    /// Where the servers are.
    #[command(flatten)]
    pub servers: ServersConfig,
    /// How turns are run and kept.
    #[command(flatten)]
    pub turns: TurnConfig,
    /// How much users may use.
    #[command(flatten)]
    pub usage: UsageConfig,
    /// On what terms users may have their day reset.
    #[command(flatten)]
    pub reset: ResetConfig,
    /// What users have and spend.
    #[command(flatten)]
    pub credits: CreditConfig,
    /// Users' files.
    #[command(flatten)]
    pub workspace: WorkspaceConfig,
    /// Who is told what happens.
    #[command(flatten)]
    pub analytics: AnalyticsConfig,
    /// How the process logs.
    #[command(flatten)]
    pub logs: LogConfig,
}

/// On what terms users may have their day reset.
#[derive(Debug, Clone, Args)]
pub struct ResetConfig {
    /// Cents that a reset of a user's daily window costs; 0 if there are none to be had
    #[arg(long, env, hide_env_values = true, default_value_t = 500, value_parser = clap::value_parser!(i64).range(0..=1_000_000_000))]
    pub chat_rate_limit_reset_cost: i64,
    /// Resets that a user may have in a UTC day; 0 for any number
    #[arg(long, env, hide_env_values = true, default_value_t = 5, value_parser = clap::value_parser!(i64).range(0..=1_000_000))]
    pub chat_max_daily_resets: i64,
}

impl ResetConfig {
    /// The terms.
    pub fn terms(&self) -> ResetTerms {
        ResetTerms { cost: self.chat_rate_limit_reset_cost, most: self.chat_max_daily_resets }
    }
}

/// What `migrate` needs.
#[derive(Debug, Clone, Args)]
pub struct MigrateConfig {
    /// Where the servers are.
    #[command(flatten)]
    pub servers: ServersConfig,
    /// How turns are run and kept.
    #[command(flatten)]
    pub turns: TurnConfig,
    /// How the process logs.
    #[command(flatten)]
    pub logs: LogConfig,
}

/// How tokens are verified.
#[derive(Clone, Args)]
pub struct KeyConfig {
    /// The shared secret (HS256), or the public key in PEM; a development key that everybody knows
    /// if unset, with which `serve` listens on loopback only; optional with `JWT_JWKS_URL`
    #[arg(long, env, hide_env_values = true)]
    pub jwt_verify_key: Option<String>,
    /// How tokens are signed
    #[arg(long, env, hide_env_values = true, value_enum, default_value = "HS256")]
    pub jwt_sign_algorithm: SignAlgorithm,
    /// Where a provider publishes its public keys (JWKS): tokens are verified with the one that
    /// their `kid` names, by the key's own algorithm, never HS*
    #[arg(long, env, hide_env_values = true)]
    pub jwt_jwks_url: Option<String>,
    /// Seconds until the keys of `JWT_JWKS_URL` are read again; an unknown `kid` makes it sooner
    #[arg(long, env, hide_env_values = true, default_value_t = 600, value_parser = clap::value_parser!(u64).range(10..=86_400))]
    pub jwt_jwks_max_age: u64,
    /// Plain HTTP for `JWT_JWKS_URL` to other hosts than this machine
    #[arg(long, env, hide_env_values = true, action = ArgAction::Set, default_value = "false", value_parser = BoolishValueParser::new())]
    pub jwks_allow_insecure_transport: bool,
}

/// What `token` needs.
#[derive(Debug, Clone, Args)]
pub struct TokenConfig {
    /// The user's id
    #[arg(long)]
    pub user: String,
    /// What the user may do
    #[arg(long, value_enum, default_value = "user")]
    pub role: UserRole,
    /// For how many seconds the token is valid
    #[arg(long, default_value_t = 86_400, value_parser = clap::value_parser!(u64).range(1..))]
    pub ttl: u64,
    /// The key.
    #[command(flatten)]
    pub tokens: KeyConfig,
}

/// Settings that make no sense together.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The key is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The keys cannot be read from there.
    #[error(transparent)]
    Jwks(#[from] JwksAddressError),
    /// The keys cannot be read at all.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Everybody could make tokens.
    #[error("JWT_VERIFY_KEY is not set, and API_LISTEN={0} is not a loopback address: set a secret key")]
    DevelopmentKeyInTheOpen(SocketAddr),
    /// It is no origin.
    #[error("API_CORS_ORIGINS: {0:?} is no origin; one looks like https://example.org")]
    Origin(String),
}

impl std::fmt::Debug for KeyConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is a secret.
        f.debug_struct("KeyConfig").field("jwt_sign_algorithm", &self.jwt_sign_algorithm).finish_non_exhaustive()
    }
}

impl KeyConfig {
    /// The key that verifies, and with HS256 signs; none if a provider's keys are all there is.
    pub fn key(&self) -> Option<&str> {
        let otherwise = || self.jwks_url().is_none().then_some(DEVELOPMENT_KEY);
        self.jwt_verify_key.as_deref().or_else(otherwise)
    }

    /// Is the key one that everybody knows?
    pub fn is_development(&self) -> bool {
        self.jwt_sign_algorithm == SignAlgorithm::Hs256 && self.key() == Some(DEVELOPMENT_KEY)
    }

    fn jwks_url(&self) -> Option<&str> {
        self.jwt_jwks_url.as_deref().map(str::trim).filter(|url| !url.is_empty())
    }

    fn key_ring(&self) -> Result<Option<KeyRing>, ConfigError> {
        let Some(url) = self.jwks_url() else { return Ok(None) };
        let transport = if self.jwks_allow_insecure_transport { Transport::AlsoPlain } else { Transport::Secure };
        let oldest = Duration::from_secs(self.jwt_jwks_max_age);
        Ok(Some(KeyRing::new(JwksAddress::parse(url, transport)?, oldest)?))
    }
}

impl ServeConfig {
    /// The gate, unless everybody could open it.
    pub fn gate(&self) -> Result<Gate, ConfigError> {
        let (tokens, anonymous) = (&self.tokens, self.allow_anonymous_sessions);
        if tokens.is_development() && !self.api_listen.ip().is_loopback() {
            return Err(ConfigError::DevelopmentKeyInTheOpen(self.api_listen));
        }
        let algorithm = tokens.jwt_sign_algorithm;
        if algorithm == SignAlgorithm::Hs256 && tokens.key().is_some_and(|key| key.len() < 32) {
            tracing::warn!("JWT_VERIFY_KEY is shorter than 32 bytes and can be guessed");
        }
        Ok(match (tokens.key_ring()?, tokens.key()) {
            (None, key) => Gate::new(algorithm, key.unwrap_or_default(), anonymous)?,
            (Some(ring), None) => Gate::of_ring(ring, anonymous),
            (Some(ring), Some(key)) => Gate::of_ring(ring, anonymous).with_key(algorithm, key)?,
        })
    }

    /// The origins whose pages may call the API.
    pub fn origins(&self) -> Result<Vec<String>, ConfigError> {
        let wanted = self.api_cors_origins.iter().map(|origin| origin.trim()).filter(|origin| !origin.is_empty());
        wanted.map(|origin| parse_origin(origin).ok_or_else(|| ConfigError::Origin(origin.into()))).collect()
    }
}

/// As browsers send it: a scheme, a host and perhaps a port, without a path.
fn parse_origin(text: &str) -> Option<String> {
    let origin = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
    let (scheme, authority) = origin.split_once("://")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._[]:+".contains(c);
    let fits = !scheme.is_empty() && !authority.is_empty() && origin.chars().all(|c| plain(c) || c == '/');
    (fits && !authority.contains('/')).then_some(origin)
}

impl Cli {
    /// The command, `serve` being the default.
    pub fn into_command(self) -> Command {
        self.command.unwrap_or_else(|| Command::Serve(Box::new(self.serve)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(arguments: &[&str]) -> ServeConfig {
        let cli = Cli::try_parse_from(std::iter::once("copilot-api").chain(arguments.iter().copied())).unwrap();
        let Command::Serve(config) = cli.into_command() else { panic!("serve is the default") };
        *config
    }

    #[test]
    fn serve_is_the_default_and_everything_has_one() {
        let config = serve(&[]);
        assert!(config.tokens.is_development());
        assert!(config.gate().is_ok());
        assert!(config.origins().unwrap().is_empty());
    }

    #[test]
    fn the_development_key_stays_on_loopback() {
        let open = serve(&["--api-listen", "0.0.0.0:8080"]);
        assert!(matches!(open.gate(), Err(ConfigError::DevelopmentKeyInTheOpen(_))));
        let key = "a key that only this deployment knows";
        assert!(serve(&["--api-listen", "0.0.0.0:8080", "--jwt-verify-key", key]).gate().is_ok());
        assert!(matches!(
            serve(&["--api-listen", "0.0.0.0:8080", "--jwt-verify-key", DEVELOPMENT_KEY]).gate(),
            Err(ConfigError::DevelopmentKeyInTheOpen(_))
        ));
    }

    #[test]
    fn a_providers_keys_need_no_key_of_ours_and_the_development_key_does_not_open_beside_them() {
        let url = ["--jwt-jwks-url", "https://id.example/jwks", "--api-listen", "0.0.0.0:8080"];
        let config = serve(&url);
        assert!(!config.tokens.is_development());
        assert_eq!(config.tokens.key(), None);
        assert!(config.gate().unwrap().key_ring().is_some());
        let known = [&url[..], &["--jwt-verify-key", DEVELOPMENT_KEY]].concat();
        assert!(matches!(serve(&known).gate(), Err(ConfigError::DevelopmentKeyInTheOpen(_))));
        let plain = ["--jwt-jwks-url", "http://id.example/jwks"];
        assert!(matches!(serve(&plain).gate(), Err(ConfigError::Jwks(_))));
        let allowed = [&plain[..], &["--jwks-allow-insecure-transport", "true"]].concat();
        assert!(serve(&allowed).gate().is_ok());
        assert!(serve(&["--jwt-jwks-url", ""]).tokens.is_development());
    }

    #[test]
    fn a_bad_value_is_refused_with_the_variables_name() {
        for (option, value, name) in [
            ("--api-listen", "nowhere", "API_LISTEN"),
            ("--allow-anonymous-sessions", "perhaps", "ALLOW_ANONYMOUS_SESSIONS"),
            ("--jwt-sign-algorithm", "none", "JWT_SIGN_ALGORITHM"),
            ("--chat-stream-ttl", "0", "CHAT_STREAM_TTL"),
            ("--chat-daily-token-limit", "-1", "CHAT_DAILY_TOKEN_LIMIT"),
            ("--chat-weekly-token-limit", "9000000000000000000", "CHAT_WEEKLY_TOKEN_LIMIT"),
            ("--rate-limit-fail", "perhaps", "RATE_LIMIT_FAIL"),
            ("--feature-flags", "{\"default\": {}}", "FEATURE_FLAGS"),
            ("--num-user-credits-refill", "-1", "NUM_USER_CREDITS_REFILL"),
        ] {
            let error = Cli::try_parse_from(["copilot-api", &format!("{option}={value}")]).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        assert!(serve(&["--jwt-verify-key", ""]).gate().unwrap_err().to_string().contains("JWT_VERIFY_KEY"));
    }

    #[test]
    fn origins_are_origins() {
        let config = serve(&["--api-cors-origins", "https://A.example, http://localhost:3000/"]);
        assert_eq!(config.origins().unwrap(), ["https://a.example", "http://localhost:3000"]);
        for bad in ["example.org", "*", "https://", "https://a/b", "https://a b"] {
            assert!(serve(&["--api-cors-origins", bad]).origins().is_err(), "{bad}");
        }
    }

    #[test]
    fn help_names_every_variable_and_no_secret() {
        use clap::CommandFactory;
        let help = Cli::command().render_long_help().to_string();
        for name in [
            "API_LISTEN",
            "API_OPS_LISTEN",
            "API_CORS_ORIGINS",
            "API_WEB_DIR",
            "JWT_VERIFY_KEY",
            "JWT_SIGN_ALGORITHM",
            "JWT_JWKS_URL",
            "JWT_JWKS_MAX_AGE",
            "JWKS_ALLOW_INSECURE_TRANSPORT",
            "ALLOW_ANONYMOUS_SESSIONS",
            "DATABASE_URL",
            "REDIS_URL",
            "RABBITMQ_URL",
            "CHAT_STREAM_TTL",
            "CHAT_DAILY_TOKEN_LIMIT",
            "CHAT_WEEKLY_TOKEN_LIMIT",
            "CHAT_RATE_LIMIT_RESET_COST",
            "CHAT_MAX_DAILY_RESETS",
            "RATE_LIMIT_FAIL",
            "ENABLE_CREDIT",
            "NUM_USER_CREDITS_REFILL",
            "APP_ENV",
            "POSTHOG_API_KEY",
            "POSTHOG_HOST",
            "LOG_FORMAT",
        ] {
            assert!(help.contains(&format!("[env: {name}]")), "{name}");
        }
        assert!(!help.contains(DEVELOPMENT_KEY));
    }
}
