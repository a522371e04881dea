//! Directories of sessions that are gone, or that were not used for long. The API deletes sessions,
//! perhaps on another machine, so each worker looks after what lies on its own.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use copilot_shared::id::SessionId;
use copilot_shared::store::Store;
use tokio_util::sync::CancellationToken;

use super::{Sandbox, disk};

/// How often to look.
const SWEEP_EVERY: Duration = Duration::from_mins(10);

/// A directory that is about to be removed is renamed first, so that no command finds half of it.
const GONE: &str = ".gone-";

impl Sandbox {
    /// Sweeps from time to time, until the end. `keep` is how long an unused directory stays.
    pub async fn keep_swept(&self, store: &Store, keep: Duration, stop: CancellationToken) {
        loop {
            match self.sweep(store, keep).await {
                Ok(0) => {}
                Ok(removed) => tracing::info!(removed, "sandbox directories that nobody needs were removed"),
                Err(error) => tracing::warn!(%error, "sandbox directories could not be swept; they will be later"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(SWEEP_EVERY) => {}
            }
        }
    }

    /// Removes what nobody needs any more. Returns how many directories.
    pub async fn sweep(&self, store: &Store, keep: Duration) -> io::Result<usize> {
        let found = self.directories()?;
        let sessions: Vec<SessionId> = found.iter().filter_map(|found| found.session).collect();
        let alive = store.sessions_among(&sessions).await.map_err(io::Error::other)?;
        let mut removed = 0;
        for directory in found {
            let is_needed =
                directory.session.is_some_and(|session| alive.contains(&session)) && directory.unused < keep;
            if is_needed {
                continue;
            }
            let path = directory.path.clone();
            match self.remove(directory).await {
                Ok(()) => removed += 1,
                // One that cannot be removed keeps no other.
                Err(error) => {
                    tracing::warn!(%error, path = %path.display(), "a sandbox directory could not be removed");
                }
            }
        }
        Ok(removed)
    }

    async fn remove(&self, directory: Found) -> io::Result<()> {
        let gone = match directory.session {
            None => directory.path,
            Some(session) => {
                // Its session may have come back while the others were looked at.
                if unused(&directory.path)? < directory.unused {
                    return Ok(());
                }
                let gone = self.root.join(format!("{GONE}{session}"));
                match std::fs::rename(&directory.path, &gone) {
                    // Another worker was first.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                    renamed => renamed?,
                }
                gone
            }
        };
        disk::remove(gone).await
    }

    fn directories(&self) -> io::Result<Vec<Found>> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let session = name.parse().ok();
            // Whatever else lies here is not ours.
            if session.is_none() && !name.starts_with(GONE) {
                continue;
            }
            let unused = unused(&entry.path())?;
            found.push(Found { session, path: entry.path(), unused });
        }
        Ok(found)
    }
}

/// How long a directory was not used. A clock that was set back makes it look used, which does no harm.
fn unused(directory: &Path) -> io::Result<Duration> {
    let used = std::fs::metadata(directory)?.modified()?;
    Ok(SystemTime::now().duration_since(used).unwrap_or_default())
}

struct Found {
    /// `None` if its removal had begun.
    session: Option<SessionId>,
    path: PathBuf,
    unused: Duration,
}
