//! The command line of the API.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what a command prints is its answer")]

use std::process::ExitCode;

use clap::Parser;
use copilot_api::auth::{KeyError, sign};
use copilot_api::config::{Cli, Command, MigrateConfig, TokenConfig};
use copilot_api::{openapi, serve};
use copilot_shared::id::UserId;
use copilot_shared::telemetry;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Gives memory back when thousands of streams have closed, and is quicker than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().into_command() {
        Command::Serve(config) => serve::serve(*config).await.map_err(Failure::from),
        Command::Migrate(config) => migrate(&config).await,
        Command::Openapi => openapi::document().map(|text| println!("{text}")).map_err(Failure::from),
        Command::Token(config) => token(&config).map(|token| println!("{token}")),
    };
    let Err(error) = done else { return ExitCode::SUCCESS };
    eprint!("error: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        eprint!(": {cause}");
        source = cause.source();
    }
    eprintln!();
    ExitCode::FAILURE
}

async fn migrate(config: &MigrateConfig) -> Result<(), Failure> {
    let traces = telemetry::init(&config.logs, "copilot-api")?;
    config.servers.check()?;
    config.servers.store(&config.turns)?.migrate().await?;
    traces.close().await;
    println!("The database's schema is up to date.");
    Ok(())
}

fn token(config: &TokenConfig) -> Result<String, Failure> {
    let user = UserId::parse(&config.user).ok_or("--user: 1 to 255 bytes without control characters")?;
    let algorithm = config.tokens.jwt_sign_algorithm;
    let key = config.tokens.key().ok_or(KeyError::CannotSign)?;
    Ok(sign(algorithm, key, &user, config.role, config.ttl)?)
}
