//! `bash_exec`: commands in the session's sandbox (`usage-tools.md` §7.7).

use std::time::Duration;

use copilot_shared::tool::plain::CommandDone;
use copilot_shared::tool::{Concurrency, Repeat, ToolAnswer, ToolResponse};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Access, Tool, ToolContext, ToolFailure};
use crate::sandbox::{Ending, Excess, Said, SandboxError};

mod in_cloud;

pub(super) use in_cloud::InCloud;

const DEFAULT_SECONDS: i64 = 30;
const MAX_SECONDS: i64 = 120;

/// The kernel takes no longer argument; in bytes.
const MAX_COMMAND: usize = 100_000;

/// The exit code of a command that was stopped for taking too long.
const TIMED_OUT: i32 = -1;

/// The exit code of a command that was killed.
const KILLED: i32 = 137;

/// Runs a command.
pub(super) struct BashExec;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Arguments {
    /// The Bash command or script.
    command: String,
    /// Seconds after which it is stopped, 30 if left out.
    timeout: Option<i64>,
}

impl Arguments {
    /// The command, and how many seconds it may take; or why it is not run.
    fn checked(self, most: i64) -> Result<(String, i64), ToolFailure> {
        let command = self.command;
        if command.trim().is_empty() {
            return Err(ToolFailure::refused("empty_command", "Say which command to run."));
        }
        if command.len() > MAX_COMMAND {
            let message =
                format!("A command has at most {MAX_COMMAND} bytes. Write a file in several steps, and run it.");
            return Err(ToolFailure::refused("command_too_long", message));
        }
        if command.contains('\0') {
            return Err(ToolFailure::refused("invalid_command", "A command cannot contain a NUL character."));
        }
        Ok((command, self.timeout.unwrap_or(DEFAULT_SECONDS).clamp(1, most)))
    }
}

fn patience(seconds: i64) -> Duration {
    Duration::from_secs(seconds.unsigned_abs())
}

/// What is shown while a command runs.
fn running(said: Said) -> ToolAnswer {
    answer("The command is running.", said, 0, false)
}

impl Tool for BashExec {
    type Arguments = Arguments;
    const NAME: &'static str = "bash_exec";
    const DESCRIPTION: &'static str = "Runs a Bash command in a Linux sandbox that belongs to this conversation. Files \
        in the current directory stay for later calls; processes do not. There is no network. Answers with stdout, \
        stderr and the exit code; a non-zero exit code is an answer, not a failure of the tool. Limits: 120 seconds, 64 \
        processes, 512 MB of memory for each, 50 MB for a file.";
    const ACCESS: Access = Access::SignedIn;
    const REPEAT: Repeat = Repeat::Never;
    // Commands of one step mostly build on each other.
    const CONCURRENCY: Concurrency = Concurrency::Alone;
    const TIME_LIMIT: Duration = Duration::from_secs(150);

    async fn call(&self, context: &ToolContext, arguments: Arguments) -> Result<ToolAnswer, ToolFailure> {
        let (command, seconds) = arguments.checked(MAX_SECONDS)?;
        let show = |said| context.show(running(said));
        match context.resources.sandbox.run(context.session_id, &command, patience(seconds), show).await {
            Ok((said, ending)) => Ok(ended(said, ending, seconds)),
            Err(error @ SandboxError::Unavailable) => Ok(ToolAnswer::error("sandbox_unavailable", error.to_string())),
            Err(error) => Err(error.into()),
        }
    }
}

fn ended(mut said: Said, ending: Ending, seconds: i64) -> ToolAnswer {
    match ending {
        Ending::Exited(code) => answer(&format!("The command exited with {code}."), said, code, false),
        Ending::TimedOut => answer(&format!("The command was stopped after {seconds} seconds."), said, TIMED_OUT, true),
        Ending::Full(excess) => {
            let message = format!("The command was killed: {}.", reason(excess));
            if !said.stderr.is_empty() && !said.stderr.ends_with('\n') {
                said.stderr.push('\n');
            }
            said.stderr.push_str(&message);
            answer(&message, said, KILLED, false)
        }
    }
}

fn reason(excess: Excess) -> &'static str {
    match excess {
        Excess::Bytes => "the files of this conversation's sandbox take too much space; delete some",
        Excess::Files => "there are too many files in this conversation's sandbox; delete some",
        Excess::Hidden => "a directory was made unreadable",
        Excess::Disk => "the disk is nearly full",
        Excess::Output => "it put out too much; write it to a file",
    }
}

fn answer(message: &str, said: Said, exit_code: i32, timed_out: bool) -> ToolAnswer {
    let done = CommandDone { stdout: said.stdout, stderr: said.stderr, exit_code, timed_out };
    ToolAnswer::new(message, ToolResponse::CommandDone(done))
}

#[cfg(test)]
mod tests;
