//! What a session's directory holds. A file has its own limit, but a command can write many.
//!
//! `du` and `rm` do the walking: they know how to follow no link, and how to walk trees that are
//! deeper than a path can be long.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::Instant;

/// Files and directories of one session.
const MAX_FILES: u64 = 50_000;

/// What must stay free on the disk, in bytes, whatever the quotas are: deleted files that are still
/// open are in no directory, and sessions are many.
const RESERVE: u64 = 256 << 20;

/// The first look; commands that are quicker are not watched.
const FIRST_LOOK: Duration = Duration::from_millis(200);

/// The walk takes at most this part of the time.
const SHARE: u32 = 10;

/// What a directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    bytes: u64,
    files: u64,
}

impl Usage {
    #[cfg(test)]
    pub(super) fn bytes(self) -> u64 {
        self.bytes
    }

    /// May a file of so many bytes be added?
    pub(super) fn has_room(self, bytes: u64, quota: u64) -> bool {
        self.bytes.saturating_add(bytes) <= quota && self.files < MAX_FILES
    }

    /// What a command may use. A directory that is full may not grow, but things can be deleted.
    pub(super) fn or_quota(self, quota: u64) -> Self {
        Self { bytes: self.bytes.max(quota), files: self.files.max(MAX_FILES) }
    }
}

/// What a command used too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// Its files are too large together.
    Bytes,
    /// It has too many files.
    Files,
    /// It hid a directory from being measured.
    Hidden,
    /// The disk of the machine is nearly full.
    Disk,
}

/// What a directory holds, or where it could not be measured.
pub(super) async fn used(home: &Path) -> std::io::Result<Usage> {
    let (bytes, files) = tokio::try_join!(measure(home, "--block-size=1"), measure(home, "--inodes"))?;
    Ok(Usage { bytes, files })
}

/// The same before a command runs, which finds again what an earlier one hid.
pub(super) async fn used_when_shown(home: &Path) -> std::io::Result<Usage> {
    match used(home).await {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            unhide(home).await?;
            used(home).await
        }
        used => used,
    }
}

async fn measure(home: &Path, unit: &str) -> std::io::Result<u64> {
    let mut du = Command::new("du");
    du.args(["--summarize", "--one-file-system", unit, "--"]).arg(home).env("LC_ALL", "C");
    let ended = du.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    // What vanishes while it is measured is no matter, what cannot be looked into is.
    let complaints = String::from_utf8_lossy(&ended.stderr);
    if complaints.contains("Permission denied") {
        return Err(std::io::ErrorKind::PermissionDenied.into());
    }
    let number =
        String::from_utf8_lossy(&ended.stdout).split_whitespace().next().and_then(|number| number.parse().ok());
    number.ok_or_else(|| std::io::Error::other(format!("du said: {complaints}")))
}

/// Returns when a directory has outgrown its budget.
pub(super) async fn exceeded(home: &Path, budget: Usage) -> Excess {
    let mut pause = FIRST_LOOK;
    loop {
        tokio::time::sleep(pause).await;
        let began = Instant::now();
        match used(home).await {
            Ok(usage) if usage.bytes > budget.bytes => return Excess::Bytes,
            Ok(usage) if usage.files > budget.files => return Excess::Files,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Excess::Hidden,
            Err(error) => tracing::warn!(%error, "a session's directory could not be measured"),
        }
        match has_reserve(home, 0) {
            Ok(false) => return Excess::Disk,
            Ok(true) => {}
            Err(error) => tracing::warn!(%error, "a disk could not be measured"),
        }
        pause = FIRST_LOOK.max(began.elapsed() * SHARE);
    }
}

/// Does enough of the disk stay free when so many bytes are added?
pub(super) fn has_reserve(home: &Path, bytes: u64) -> std::io::Result<bool> {
    let disk = rustix::fs::statvfs(home)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize) >= RESERVE.saturating_add(bytes))
}

/// Makes every directory readable for its owner: a command may have hidden some.
async fn unhide(tree: &Path) -> std::io::Result<()> {
    run(Command::new("chmod").args(["--recursive", "--silent", "u+rwX", "--"]).arg(tree)).await
}

/// Removes a tree, whatever is in it.
pub(super) async fn remove(tree: PathBuf) -> std::io::Result<()> {
    unhide(&tree).await?;
    run(Command::new("rm").args(["--recursive", "--force", "--one-file-system", "--"]).arg(tree)).await
}

async fn run(command: &mut Command) -> std::io::Result<()> {
    let ended = command.env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true).output().await?;
    if ended.status.success() {
        return Ok(());
    }
    Err(std::io::Error::other(String::from_utf8_lossy(&ended.stderr).into_owned()))
}
