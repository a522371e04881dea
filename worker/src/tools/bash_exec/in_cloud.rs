//! The same, in a sandbox that is no part of this machine.

use std::time::Duration;

use copilot_shared::tool::{Concurrency, Repeat, ToolAnswer};

use super::{Arguments, BashExec, ended, patience, running};
use crate::tools::{Access, Tool, ToolContext, ToolFailure};

/// The longest limit. Plans of E2B differ in how long a sandbox may run: an hour is the shortest.
const MAX_SECONDS: i64 = 1_800;

/// Runs a command outside.
pub(in crate::tools) struct InCloud;

impl Tool for InCloud {
    type Arguments = Arguments;
    const NAME: &'static str = BashExec::NAME;
    const DESCRIPTION: &'static str = "Runs a Bash command in a Linux sandbox that belongs to this conversation and can \
        reach the internet. It begins in /home/user. Files stay for later calls; processes do not. Answers with stdout, \
        stderr and the exit code; a non-zero exit code is an answer, not a failure of the tool. Limit: 1800 seconds.";
    const ACCESS: Access = BashExec::ACCESS;
    const REPEAT: Repeat = BashExec::REPEAT;
    const CONCURRENCY: Concurrency = BashExec::CONCURRENCY;
    // A sandbox that is made, or wakes up, takes its time.
    const TIME_LIMIT: Duration = Duration::from_secs(MAX_SECONDS.unsigned_abs() + 150);

    async fn call(&self, context: &ToolContext, arguments: Arguments) -> Result<ToolAnswer, ToolFailure> {
        let (command, seconds) = arguments.checked(MAX_SECONDS)?;
        let Some(cloud) = &context.resources.cloud else {
            return Err(ToolFailure::refused("sandbox_unavailable", "There is no sandbox, so no commands can be run."));
        };
        let show = |said| context.show(running(said));
        let (said, ending) = cloud.run(context.whose(), &command, patience(seconds), show).await?;
        Ok(ended(said, ending, seconds))
    }
}
