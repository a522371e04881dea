//! Logs, for people or for machines, and traces.

use clap::{Args, ValueEnum};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

mod context;
mod traces;

pub use context::TraceContext;
pub use traces::{TraceError, Traces};

/// How the process speaks of itself.
#[derive(Debug, Clone, Args)]
pub struct LogConfig {
    /// Lines for people, or JSON for machines
    #[arg(long, env, hide_env_values = true, value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// What is logged: a level, or filters such as `info,copilot_worker=debug`
    #[arg(long, env, hide_env_values = true, default_value = "info")]
    pub rust_log: String,
    /// Where traces go, such as `http://127.0.0.1:4318` (OTLP over HTTP); none leave if unset
    #[arg(long, env, hide_env_values = true)]
    pub otel_exporter_otlp_endpoint: Option<String>,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

/// The process cannot speak of itself.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is no filter.
    #[error("RUST_LOG: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The address is no address.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT")]
    Traces(#[from] TraceError),
}

/// Begins to log to standard error, since standard output belongs to what a command prints, and to
/// trace as `service`.
pub fn init(config: &LogConfig, service: &'static str) -> Result<Traces, TelemetryError> {
    // The servers' client libraries are loud about what we report ourselves.
    let filter: EnvFilter = format!("lapin=error,fred=error,{}", config.rust_log).parse()?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let logs = match config.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let endpoint = config.otel_exporter_otlp_endpoint.as_deref().filter(|endpoint| !endpoint.trim().is_empty());
    let traces = Traces::new(service, endpoint)?;
    // What is traced is ours alone, and does not depend on what is logged.
    let ours = Targets::new().with_target("copilot", LevelFilter::INFO);
    tracing_subscriber::registry().with(logs.with_filter(filter)).with(traces.layer().with_filter(ours)).init();
    Ok(traces)
}
