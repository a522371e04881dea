//! One command in a session's sandbox.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

use super::envd::{Data, End, Envd, Message};
use super::frames::Frames;
use super::{Cloud, CloudError, Whose};
use crate::sandbox::{Capture, Ending, Excess, LAST_WORDS, SHOW_EVERY, Said};

/// Runs the command in the sandbox, and watches over it.
const SCRIPT: &str = include_str!("run.sh");

/// How often the watch is told that the command is still waited for, and how long it believes that.
const TELL_EVERY: Duration = Duration::from_secs(4);
const BELIEVES_FOR: &str = "15";

/// How long a command may take to begin.
const BEGIN_WITHIN: Duration = Duration::from_secs(30);

/// What may be added to what a sandbox and a process have, for the way there and the last words.
const MARGIN: Duration = Duration::from_mins(1);

/// More output than this is not carried here, in bytes: all but its ends would be thrown away.
const MAX_OUTPUT: u64 = 64 << 20;

/// The exit code of a process that was killed.
const KILLED: i32 = 137;

impl Cloud {
    /// Runs a command in the session's sandbox, for `patience` at most, and shows what it says while
    /// it runs. Dropping the future kills everything that it has started.
    pub async fn run(
        &self,
        whose: Whose,
        command: &str,
        patience: Duration,
        show: impl Fn(Said) + Send,
    ) -> Result<(Said, Ending), CloudError> {
        let mut run = match self.begin(whose, command, patience).await {
            // It went after it was found, so that nothing was begun.
            Err(CloudError::Gone) => self.begin(whose, command, patience).await?,
            begun => begun?,
        };
        let ending = tokio::select! {
            ending = run.until_end(show) => ending?,
            () = tokio::time::sleep(patience) => Ending::TimedOut,
        };
        if !matches!(ending, Ending::Exited(_)) {
            run.watch.end().await;
            run.last_words().await;
        }
        run.watch.is_over();
        Ok((run.said(), ending))
    }

    async fn begin(&self, whose: Whose, command: &str, patience: Duration) -> Result<Run, CloudError> {
        let envd = self.reach(whose, patience + MARGIN).await?;
        let (session, run) = (whose.session.to_string(), Uuid::new_v4().to_string());
        let arguments = ["-c", SCRIPT, "copilot", command, &session, &run, BELIEVES_FOR];
        let begun = async {
            let mut frames = envd.start("/bin/bash", &arguments, patience + MARGIN).await?;
            loop {
                let message: Message = frames.next().await?.ok_or(CloudError::Nonsense("nothing was started"))?;
                if let Some(start) = message.event.start {
                    return Ok(Run::of(frames, Watch { envd: envd.clone(), pid: Some(start.pid) }));
                }
            }
        };
        tokio::time::timeout(BEGIN_WITHIN, begun).await.unwrap_or(Err(CloudError::Silent))
    }
}

/// Who watches over a command in its sandbox, and ends it when this is dropped.
struct Watch {
    envd: Envd,
    /// `None` once there is nothing to end.
    pid: Option<u32>,
}

impl Watch {
    /// Says again and again that the command is waited for. Never returns.
    async fn keep_on(&self) {
        let Some(pid) = self.pid else { return std::future::pending().await };
        loop {
            tokio::time::sleep(TELL_EVERY).await;
            if let Err(error) = self.envd.tell(pid, "on\n").await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a command was not told that it is waited for"
                );
            }
        }
    }

    async fn end(&self) {
        if let Some(pid) = self.pid {
            end(&self.envd, pid).await;
        }
    }

    fn is_over(&mut self) {
        self.pid = None;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // A runtime that ends says nothing more, which has the same effect a little later.
        if let Some(pid) = self.pid
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let envd = self.envd.clone();
            runtime.spawn(async move { end(&envd, pid).await });
        }
    }
}

/// Has a command killed. If that is not heard, silence will do it.
async fn end(envd: &Envd, pid: u32) {
    if let Err(error) = envd.tell(pid, "off\n").await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "a command could not be ended; it ends when it hears nothing more"
        );
    }
}

/// A command that runs.
struct Run {
    frames: Frames,
    stdout: Capture,
    stderr: Capture,
    watch: Watch,
}

impl Run {
    fn of(frames: Frames, watch: Watch) -> Self {
        Self { frames, stdout: Capture::default(), stderr: Capture::default(), watch }
    }

    /// Takes everything that is said, until the command has ended or has said too much.
    async fn until_end(&mut self, show: impl Fn(Said)) -> Result<Ending, CloudError> {
        let mut ticks = tokio::time::interval_at(Instant::now() + SHOW_EVERY, SHOW_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut shown = 0;
        let Self { frames, stdout, stderr, watch } = self;
        let mut kept_on = std::pin::pin!(watch.keep_on());
        loop {
            let total = stdout.total() + stderr.total();
            if total > MAX_OUTPUT {
                return Ok(Ending::Full(Excess::Output));
            }
            tokio::select! {
                heard = hear(frames, stdout, stderr) => {
                    if let Some(end) = heard? {
                        return Ok(Ending::Exited(exit_code(&end)));
                    }
                }
                () = &mut kept_on => {}
                _ = ticks.tick() => {
                    if total > shown {
                        shown = total;
                        show(Said { stdout: stdout.text(), stderr: stderr.text() });
                    }
                }
            }
        }
    }

    /// What was still on its way when the command was killed.
    async fn last_words(&mut self) {
        let Self { frames, stdout, stderr, .. } = self;
        let heard = async { while matches!(hear(frames, stdout, stderr).await, Ok(None)) {} };
        if tokio::time::timeout(LAST_WORDS, heard).await.is_err() {
            tracing::warn!("a command that was ended has not said so");
        }
    }

    fn said(&self) -> Said {
        Said { stdout: self.stdout.text(), stderr: self.stderr.text() }
    }
}

/// Takes the next message; returns the last one.
async fn hear(frames: &mut Frames, stdout: &mut Capture, stderr: &mut Capture) -> Result<Option<End>, CloudError> {
    let broken = |error: CloudError| CloudError::Broken(Some(Box::new(error)));
    let message: Message = frames.next().await.map_err(broken)?.ok_or(CloudError::Broken(None))?;
    if let Some(Data { stdout: out, stderr: err }) = message.event.data {
        let bytes =
            |text: String| STANDARD.decode(text).map_err(|_| broken(CloudError::Nonsense("an output is no base64")));
        stdout.push(&out.map(bytes).transpose()?.unwrap_or_default());
        stderr.push(&err.map(bytes).transpose()?.unwrap_or_default());
    }
    Ok(message.event.end)
}

fn exit_code(end: &End) -> i32 {
    if end.exited { end.exit_code } else { KILLED }
}
