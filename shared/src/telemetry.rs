//! Logs, for people or for machines.

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How the process speaks of itself.
#[derive(Debug, Clone, Args)]
pub struct LogConfig {
    /// Lines for people, or JSON for machines
    #[arg(long, env, hide_env_values = true, value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// What is logged: a level, or filters such as `info,copilot_worker=debug`
    #[arg(long, env, hide_env_values = true, default_value = "info")]
    pub rust_log: String,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

/// The filter is no filter.
#[derive(Debug, thiserror::Error)]
#[error("RUST_LOG: {0}")]
pub struct BadFilter(#[from] tracing_subscriber::filter::ParseError);

/// Begins to log to standard error; standard output belongs to what a command prints.
pub fn init(config: &LogConfig) -> Result<(), BadFilter> {
    // The servers' client libraries are loud about what we report ourselves.
    let filter: EnvFilter = format!("lapin=error,fred=error,{}", config.rust_log).parse()?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    Ok(())
}
