//! The `copilot-worker` command.

use std::process::ExitCode;

use clap::Parser;
use copilot_shared::lifecycle::Lifecycle;
use copilot_shared::telemetry;
use copilot_worker::config::{Cli, Command};
use copilot_worker::worker;

/// Gives memory back when thousands of streams have closed, and is quicker than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let Command::Run(config) = cli.command();
    let traces = match telemetry::init(&config.log, "copilot-worker") {
        Ok(traces) => traces,
        Err(error) => return refuse(&error),
    };
    // Another library may bring a second provider, and TLS cannot choose between two.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was installed before");
    }
    let lifecycle = match Lifecycle::on_signals() {
        Ok(lifecycle) => lifecycle,
        Err(error) => return refuse(&error),
    };
    let ended = worker::run(config, lifecycle).await;
    traces.close().await;
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&error),
    }
}

#[expect(clippy::print_stderr, reason = "the process ends here, perhaps before it can log")]
fn refuse(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("copilot-worker: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        eprintln!("  because: {cause}");
        source = cause.source();
    }
    ExitCode::FAILURE
}
