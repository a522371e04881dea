//! Commands of strangers, run where they can harm nobody: in a bubblewrap sandbox without network,
//! with one writable directory per session, and within limits (`usage-tools.md` §7.7).
//!
//! Nothing outlives a run: the sandbox is a process namespace whose first process dies with
//! bubblewrap, which dies with this process, at the time limit, and when the run is dropped.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use copilot_shared::id::SessionId;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior};

mod capture;
mod disk;
mod files;
mod home;
mod launch;
mod sweep;

pub use disk::Excess;
pub use files::{Pieces, Saving, SessionFileError};

use capture::Capture;
use launch::{Growth, Launch, Nesting};

/// How often whoever watches is shown what there is.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// How long to wait for the last words of a sandbox that was killed.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why a command was not run.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// There is no sandbox on this machine.
    #[error("There is no sandbox on this machine, so no commands can be run.")]
    Unavailable,
    /// The directory of the session cannot be made or measured.
    #[error("The directory of the session could not be used.")]
    Home(#[source] std::io::Error),
    /// The command could not be started or waited for.
    #[error("The command could not be started.")]
    Start(#[source] std::io::Error),
}

/// What a command has said so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What it said.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this status; 128 and more for a signal.
    Exited(i32),
    /// It took too long.
    TimedOut,
    /// It wrote more than it may.
    Full(Excess),
}

/// What was found to work on this machine.
#[derive(Debug)]
struct Ability {
    bubblewrap: PathBuf,
    nesting: Nesting,
}

/// The sandboxes of this process.
#[derive(Debug)]
pub struct Sandbox {
    /// Where the sessions' directories are.
    root: PathBuf,
    /// What a session's directory may hold, in bytes.
    quota: u64,
    /// What this machine can do, once it has been tried with success.
    ability: OnceLock<Ability>,
    /// One file settles at a time.
    settling: Mutex<()>,
}

impl Sandbox {
    /// Sandboxes below a directory, which is made when it is needed. `quota` is in bytes.
    pub fn new(root: &Path, quota: u64) -> std::io::Result<Self> {
        Ok(Self { root: std::path::absolute(root)?, quota, ability: OnceLock::new(), settling: Mutex::new(()) })
    }

    /// Runs a command in its session's sandbox, for `patience` at most, and shows what it says
    /// while it runs. Dropping the future kills everything that it has started.
    pub async fn run(
        &self,
        session: SessionId,
        command: &str,
        patience: Duration,
        show: impl Fn(Said) + Send,
    ) -> Result<(Said, Ending), SandboxError> {
        let home = home::prepare(&self.root, session).await.map_err(SandboxError::Home)?;
        let Ability { bubblewrap, nesting } = self.ability(&home).await?;
        let used = disk::used_when_shown(&home).await.map_err(SandboxError::Home)?;
        let has_room = used.has_room(1, self.quota) && disk::has_reserve(&home, 1).map_err(SandboxError::Home)?;
        let growth = if has_room { Growth::Allowed } else { Growth::Forbidden };
        let budget = used.or_quota(self.quota);
        let mut child = spawn(&Launch { bubblewrap, home: &home, nesting: *nesting, growth, command })?;
        let mut run = Run::of(&mut child)?;
        let ending = tokio::select! {
            status = run.until_end(&mut child, show) => Ending::Exited(exit_code(status.map_err(SandboxError::Start)?)),
            () = tokio::time::sleep(patience) => Ending::TimedOut,
            excess = disk::exceeded(&home, budget) => Ending::Full(excess),
        };
        if !matches!(ending, Ending::Exited(_)) {
            child.kill().await.map_err(SandboxError::Start)?;
            run.last_words().await;
        }
        Ok((run.said(), ending))
    }

    /// What this machine can do. A failure is not remembered: a package may be installed, a kernel
    /// setting changed.
    async fn ability(&self, home: &Path) -> Result<&Ability, SandboxError> {
        if let Some(ability) = self.ability.get() {
            return Ok(ability);
        }
        let mut reason = String::from("bubblewrap is not installed");
        if let Some(bubblewrap) = launch::bubblewrap() {
            for nesting in [Nesting::Forbidden, Nesting::Possible] {
                let growth = Growth::Allowed;
                let child = spawn(&Launch { bubblewrap: &bubblewrap, home, nesting, growth, command: "true" })?;
                let ended = child.wait_with_output().await.map_err(SandboxError::Start)?;
                if ended.status.success() {
                    return Ok(self.ability.get_or_init(|| Ability { bubblewrap, nesting }));
                }
                reason = String::from_utf8_lossy(&ended.stderr).into_owned();
                // Anything else may pass, and the weaker sandbox would stay.
                if !["userns", "user_namespaces"].iter().any(|word| reason.contains(word)) {
                    break;
                }
                tracing::warn!(%reason, "bubblewrap is too old, or the kernel's limits forbid, to keep commands from making sandboxes of their own");
            }
        }
        tracing::warn!(%reason, "there is no sandbox: bubblewrap is needed, and a kernel that allows user namespaces");
        Err(SandboxError::Unavailable)
    }
}

fn spawn(launch: &Launch<'_>) -> Result<Child, SandboxError> {
    let mut words = launch.words().into_iter();
    let program = words.next().unwrap_or_default();
    Command::new(program)
        .args(words)
        // The first process of a sandbox shows the environment that it was started with.
        .env_clear()
        .current_dir("/")
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        // A key pressed at the worker's terminal is for the worker.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(SandboxError::Start)
}

fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// A command that runs: its pipes, and what came out of them.
struct Run {
    stdout: Pipe<tokio::process::ChildStdout>,
    stderr: Pipe<tokio::process::ChildStderr>,
}

struct Pipe<P> {
    source: Option<P>,
    buffer: Box<[u8; 16_384]>,
    capture: Capture,
}

impl<P: tokio::io::AsyncRead + Unpin> Pipe<P> {
    fn new(pipe: P) -> Self {
        Self { source: Some(pipe), buffer: Box::new([0; 16_384]), capture: Capture::default() }
    }

    /// Takes what has come; waits for ever once nothing can.
    async fn take(&mut self) -> std::io::Result<()> {
        let Some(pipe) = &mut self.source else { return std::future::pending().await };
        match pipe.read(self.buffer.as_mut_slice()).await? {
            0 => self.source = None,
            read => self.capture.push(self.buffer.get(..read).unwrap_or_default()),
        }
        Ok(())
    }

    async fn drain(&mut self) {
        while self.source.is_some() && self.take().await.is_ok() {}
    }
}

impl Run {
    fn of(child: &mut Child) -> Result<Self, SandboxError> {
        let no_pipe = || SandboxError::Start(std::io::Error::other("a child without pipes"));
        let stdout = Pipe::new(child.stdout.take().ok_or_else(no_pipe)?);
        let stderr = Pipe::new(child.stderr.take().ok_or_else(no_pipe)?);
        Ok(Self { stdout, stderr })
    }

    /// Takes everything that is said, until the command has ended and nobody can say more.
    async fn until_end(&mut self, child: &mut Child, show: impl Fn(Said)) -> std::io::Result<std::process::ExitStatus> {
        let mut ticks = tokio::time::interval_at(Instant::now() + SHOW_EVERY, SHOW_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut shown = 0;
        loop {
            let silent = self.stdout.source.is_none() && self.stderr.source.is_none();
            tokio::select! {
                taken = self.stdout.take() => taken?,
                taken = self.stderr.take() => taken?,
                status = child.wait(), if silent => return status,
                _ = ticks.tick() => {
                    let total = self.stdout.capture.total() + self.stderr.capture.total();
                    if total > shown {
                        shown = total;
                        show(self.said());
                    }
                }
            }
        }
    }

    /// What was still in the pipes when the sandbox was killed.
    async fn last_words(&mut self) {
        let drained = async { tokio::join!(self.stdout.drain(), self.stderr.drain()) };
        if tokio::time::timeout(LAST_WORDS, drained).await.is_err() {
            tracing::warn!("a sandbox that was killed still holds its pipes");
        }
    }

    fn said(&self) -> Said {
        Said { stdout: self.stdout.capture.text(), stderr: self.stderr.capture.text() }
    }
}

#[cfg(test)]
mod tests;
