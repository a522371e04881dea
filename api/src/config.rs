//! The settings of the API, and its command line.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use copilot_shared::config::{ServersConfig, TurnConfig};
use copilot_shared::telemetry::LogConfig;

/// The key of development: known to everyone, and refused wherever others could reach it.
pub const DEVELOPMENT_KEY: &str = "copilot-development-key-not-for-production";

/// REST and SSE of Copilot.
#[derive(Debug, Parser)]
#[command(name = "copilot-api", version, about, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ApiConfig,
}

/// What it is asked to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve until SIGTERM (the default)
    Serve(Box<ApiConfig>),
    /// Bring the database's schema up to date, and exit
    Migrate(Box<MigrateConfig>),
    /// Print the OpenAPI document; needs no server
    Openapi,
    /// Print a token signed with the configured HS256 key
    Token(TokenRequest),
}

impl Cli {
    /// The command, `serve` if none is named.
    pub fn command(self) -> Command {
        self.command.unwrap_or_else(|| Command::Serve(Box::new(self.serve)))
    }
}

/// The settings of `serve`.
#[derive(Debug, Clone, Args)]
pub struct ApiConfig {
    /// Where PostgreSQL, Redis and RabbitMQ are
    #[command(flatten)]
    pub servers: ServersConfig,
    /// How turns are run and kept
    #[command(flatten)]
    pub turns: TurnConfig,
    /// How tokens are verified
    #[command(flatten)]
    pub jwt: JwtConfig,
    /// How it logs
    #[command(flatten)]
    pub log: LogConfig,
    /// REST, SSE, docs and playground
    #[arg(long, env, hide_env_values = true, default_value = "127.0.0.1:8080")]
    pub api_listen: SocketAddr,
    /// `/health/live`, `/health/ready`, `/metrics`; port 0 picks a free one and logs it
    #[arg(long, env, hide_env_values = true, default_value = "127.0.0.1:9080")]
    pub api_ops_listen: SocketAddr,
    /// Origins that browsers may call from, comma separated; empty: same origin only
    #[arg(long, env, hide_env_values = true, default_value = "", value_delimiter = ',')]
    pub api_cors_origins: Vec<String>,
    /// Sessions without a token
    #[arg(long, env, hide_env_values = true, default_value_t = false, action = clap::ArgAction::Set)]
    pub allow_anonymous_sessions: bool,
}

/// The settings of `migrate`.
#[derive(Debug, Clone, Args)]
pub struct MigrateConfig {
    /// Where the servers are
    #[command(flatten)]
    pub servers: ServersConfig,
    /// Unused here; the same environment serves every command
    #[command(flatten)]
    pub turns: TurnConfig,
}

/// How tokens are verified.
#[derive(Clone, Args)]
pub struct JwtConfig {
    /// The shared secret for HS256, or a public key in PEM for the other algorithms
    #[arg(long, env, hide_env_values = true, hide_default_value = true, default_value = DEVELOPMENT_KEY)]
    pub jwt_verify_key: String,
    /// The algorithm of tokens
    #[arg(long, env, hide_env_values = true, value_enum, default_value = "HS256")]
    pub jwt_sign_algorithm: Algorithm,
}

impl std::fmt::Debug for JwtConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the key.
        f.debug_struct("JwtConfig").field("algorithm", &self.jwt_sign_algorithm).finish_non_exhaustive()
    }
}

/// How a token may be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Algorithm {
    /// HMAC with a shared secret.
    #[value(name = "HS256")]
    Hs256,
    /// RSA.
    #[value(name = "RS256")]
    Rs256,
    /// ECDSA on P-256.
    #[value(name = "ES256")]
    Es256,
    /// Ed25519.
    #[value(name = "EdDSA")]
    EdDsa,
}

/// What `token` is asked for.
#[derive(Debug, Clone, Args)]
pub struct TokenRequest {
    /// The user id (`sub`)
    #[arg(long)]
    pub user: String,
    /// The role
    #[arg(long, value_enum)]
    pub role: Option<Role>,
    /// Seconds until it expires
    #[arg(long, default_value_t = 86_400)]
    pub ttl: u64,
    /// How tokens are verified
    #[command(flatten)]
    pub jwt: JwtConfig,
}

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Its own.
    User,
    /// Everybody's.
    Admin,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
