//! The `copilot-api` command.

use std::process::ExitCode;

use clap::Parser;
use copilot_api::config::{Cli, Command};
use copilot_api::{openapi, server, token};
use copilot_shared::telemetry;

/// Gives memory back when thousands of streams have closed, and is quicker than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command() {
        Command::Serve(config) => match telemetry::init(&config.log) {
            Ok(()) => server::serve(*config).await.map_err(Into::into),
            Err(error) => Err(error.into()),
        },
        Command::Migrate(config) => server::migrate(&config).await.map_err(Into::into),
        Command::Openapi => print(&openapi::document()),
        Command::Token(request) => token::issue(&request).map_err(Into::into).and_then(|token| print(&token)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(error.as_ref()),
    }
}

#[expect(clippy::print_stdout, reason = "what these commands print is their answer")]
fn print(answer: &str) -> Result<(), Box<dyn std::error::Error>> {
    println!("{answer}");
    Ok(())
}

#[expect(clippy::print_stderr, reason = "the process ends here, perhaps before it can log")]
fn refuse(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("copilot-api: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        eprintln!("  because: {cause}");
        source = cause.source();
    }
    ExitCode::FAILURE
}
