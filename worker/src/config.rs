//! The settings of a worker, and its command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Parser, Subcommand};
use copilot_shared::config::{AnalyticsConfig, ServersConfig, TurnConfig, UsageConfig};
use copilot_shared::secret::SecretsKey;
use copilot_shared::telemetry::LogConfig;
use copilot_shared::workspace::WorkspaceConfig;
use url::Url;

use crate::compaction::Budget;
use crate::docs::{Docs, DocsError};
use crate::linear::{Linear, LinearKey, LinearSettings};
use crate::model::config::{ApiKey, ModelConfig, Provider};
use crate::outbound::AllowList;
use crate::sandbox::Sandbox;
use crate::turn::Sight;

/// Messages that are never summed up (`usage-tools.md` §8.4).
const KEPT_MESSAGES: usize = 15;

/// Takes turns from the queue and runs them.
#[derive(Debug, Parser)]
#[command(name = "copilot-worker", version, about, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: WorkerConfig,
}

/// What it is asked to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run turns until SIGTERM (the default)
    Run(Box<WorkerConfig>),
}

impl Cli {
    /// The command, `run` if none is named.
    pub fn command(self) -> Command {
        self.command.unwrap_or_else(|| Command::Run(Box::new(self.run)))
    }
}

/// The settings of a worker.
#[derive(Debug, Clone, Args)]
pub struct WorkerConfig {
    /// Where PostgreSQL, Redis and RabbitMQ are
    #[command(flatten)]
    pub servers: ServersConfig,
    /// How turns are run and kept
    #[command(flatten)]
    pub turns: TurnConfig,
    /// How much users may use
    #[command(flatten)]
    pub usage: UsageConfig,
    /// The model
    #[command(flatten)]
    pub model: ModelArgs,
    /// Users' files
    #[command(flatten)]
    pub workspace: WorkspaceConfig,
    /// What tools may do
    #[command(flatten)]
    pub tools: ToolArgs,
    /// Who is told what happens
    #[command(flatten)]
    pub analytics: AnalyticsConfig,
    /// How it logs
    #[command(flatten)]
    pub log: LogConfig,
    /// `/health/live`, `/health/ready`, `/metrics`; port 0 picks a free one and logs it
    #[arg(long, env, hide_env_values = true, default_value = "127.0.0.1:9081")]
    pub worker_ops_listen: SocketAddr,
    /// Turns at once in this process
    #[arg(long, env, hide_env_values = true, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    pub worker_concurrency: u16,
}

/// What tools may do.
#[derive(Debug, Clone, Args)]
pub struct ToolArgs {
    /// What tools may reach although it is not on the public internet: `host:port` or networks
    /// such as `10.1.0.0/16`, comma separated
    #[arg(long, env, hide_env_values = true, default_value = "")]
    pub outbound_allow: AllowList,
    /// What the secrets of users, such as tokens for MCP servers, are sealed with: 32 bytes in
    /// base64 (`openssl rand -base64 32`); without it none are used
    #[arg(long, env, hide_env_values = true)]
    pub secrets_key: Option<SecretsKey>,
    /// Where the commands of `bash_exec` find their session's files; each worker cleans up its own
    #[arg(long, env, hide_env_values = true, default_value = ".data/sandbox")]
    pub sandbox_dir: PathBuf,
    /// What these files may take for one session, in megabytes
    #[arg(long, env, hide_env_values = true, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub sandbox_quota_mb: u64,
    /// Hours that they stay after the last command
    #[arg(long, env, hide_env_values = true, default_value_t = 48, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub sandbox_keep_hours: u64,
    /// The Markdown pages that `search_docs` and `get_doc_page` know, read at the start; the
    /// project's own if unset
    #[arg(long, env, hide_env_values = true)]
    pub docs_dir: Option<PathBuf>,
    /// Where people read these pages: each at its path without the ending
    #[arg(long, env, hide_env_values = true)]
    pub docs_url: Option<Url>,
    /// The key of Linear, which then keeps what users wish for; without it PostgreSQL does
    #[arg(long, env, hide_env_values = true, requires_all = ["linear_team_id", "linear_project_id"])]
    pub linear_api_key: Option<LinearKey>,
    /// The team of these wishes
    #[arg(long, env, hide_env_values = true)]
    pub linear_team_id: Option<String>,
    /// Their project; issues elsewhere are neither found nor touched
    #[arg(long, env, hide_env_values = true)]
    pub linear_project_id: Option<String>,
    /// Where Linear's GraphQL is
    #[arg(long, env, hide_env_values = true, default_value = "https://api.linear.app/graphql")]
    pub linear_api_url: Url,
}

impl ToolArgs {
    /// The sandboxes of this process.
    pub fn sandbox(&self) -> std::io::Result<Sandbox> {
        Sandbox::new(&self.sandbox_dir, self.sandbox_quota_mb << 20)
    }

    /// What the docs tools know.
    pub fn docs(&self) -> Result<Docs, DocsError> {
        Docs::open(self.docs_dir.as_deref(), self.docs_url.clone())
    }

    /// The tracker of feature requests, if it is one outside.
    pub fn linear(&self) -> Result<Option<Linear>, reqwest::Error> {
        let settings = (&self.linear_api_key, &self.linear_team_id, &self.linear_project_id);
        let (Some(key), Some(team_id), Some(project_id)) = settings else { return Ok(None) };
        let (key, url) = (key.clone(), self.linear_api_url.clone());
        Linear::new(LinearSettings { key, url, team_id: team_id.clone(), project_id: project_id.clone() }).map(Some)
    }

    /// How long a session's files stay unused.
    pub fn sandbox_keep(&self) -> Duration {
        Duration::from_hours(self.sandbox_keep_hours)
    }
}

/// Which model answers.
#[derive(Clone, Args)]
pub struct ModelArgs {
    /// `demo`, which needs no key and no network, or any model name of the provider
    #[arg(long, env, hide_env_values = true, default_value = "demo")]
    pub chat_model: String,
    /// Whose protocol is spoken: `openai` for any OpenAI-compatible `/chat/completions`,
    /// `anthropic` for `/v1/messages`
    #[arg(long, env, hide_env_values = true, value_enum, default_value_t = Provider::Openai)]
    pub chat_provider: Provider,
    /// Where the provider is, with `/v1` for openai and without for anthropic; the provider's own
    /// address if unset
    #[arg(long, env, hide_env_values = true)]
    pub chat_base_url: Option<String>,
    /// The provider's key; falls back to OPEN_ROUTER_API_KEY, OPENAI_API_KEY (openai) or
    /// ANTHROPIC_API_KEY (anthropic)
    #[arg(long, env, hide_env_values = true)]
    chat_api_key: Option<String>,
    /// The model that names sessions and suggests prompts: the chat model if unset, `off` for none
    #[arg(long, env, hide_env_values = true)]
    chat_title_model: Option<String>,
    /// Tokens of a conversation that the model is told; of a longer one it gets a summary
    #[arg(long, env, hide_env_values = true, default_value_t = 120_000, value_parser = clap::value_parser!(u32).range(500..))]
    pub chat_context_tokens: u32,
    /// Whether the model can see pictures that belong to a message
    #[arg(long, env, hide_env_values = true, action = ArgAction::Set, default_value = "true", value_parser = BoolishValueParser::new())]
    pub chat_vision: bool,
    /// Seconds that a provider may stay silent before the call counts as broken
    #[arg(long, env, hide_env_values = true, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    pub chat_silence_seconds: u64,
}

impl std::fmt::Debug for ModelArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the key.
        f.debug_struct("ModelArgs").field("chat_model", &self.chat_model).finish_non_exhaustive()
    }
}

impl ModelArgs {
    /// How the provider is reached.
    pub fn provider(&self) -> ModelConfig {
        let key = ApiKey::resolve(self.chat_provider, |name| match name {
            "CHAT_API_KEY" => self.chat_api_key.clone(),
            _ => std::env::var(name).ok(),
        });
        ModelConfig {
            provider: self.chat_provider,
            base_url: self.chat_base_url.clone(),
            api_key: key,
            silence: std::time::Duration::from_secs(self.chat_silence_seconds),
            ..ModelConfig::default()
        }
    }

    /// How much of a conversation the model is told.
    pub fn window(&self) -> Budget {
        Budget { tokens: usize::try_from(self.chat_context_tokens).unwrap_or(usize::MAX), keep: KEPT_MESSAGES }
    }

    /// Can the model see pictures?
    pub fn sight(&self) -> Sight {
        match self.chat_provider {
            _ if !self.chat_vision => Sight::Blind,
            Provider::Openai => Sight::GOOD,
            Provider::Anthropic => Sight::FAIR,
        }
    }

    /// The model that names sessions, if any does.
    pub fn title_model(&self) -> Option<String> {
        match self.chat_title_model.as_deref() {
            Some("off") => None,
            None | Some("") => Some(self.chat_model.clone()),
            Some(name) => Some(name.to_owned()),
        }
    }
}
