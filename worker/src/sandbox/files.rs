//! A session's files from outside: tools take what commands made, and put there what they need.
//!
//! Commands may leave links and pipes. Nothing is followed out of the directory: every path is
//! opened beneath it by the system itself, so that there is no moment between a check and its use.
//! A file that is put there is complete before commands can see it, and gone if it is abandoned.

use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use bytes::{Bytes, BytesMut};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, OpenOptions, OpenOptionsExt};
use copilot_shared::id::SessionId;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::{Sandbox, disk, home, launch};

/// Files are copied in pieces of this size.
const PIECE_BYTES: usize = 256 * 1024;

/// What commands call their directory.
const HOME_INSIDE: &str = "/home/user";

/// Where files are that are not complete yet: beside the directory, where no command sees them.
const ARRIVING: &str = "arriving";

/// Why a file of a session cannot be used. Says nothing of the machine.
#[derive(Debug, thiserror::Error)]
pub enum SessionFileError {
    /// The path leads elsewhere, or nowhere.
    #[error("The path must lead to a file in the session's working directory, /home/user.")]
    Outside,
    /// It is not there.
    #[error("There is no such file in the session's working directory, /home/user.")]
    Missing,
    /// It is a directory, a pipe or the like.
    #[error("The path is not a file.")]
    NoFile,
    /// The directory is full.
    #[error("The session's working directory is full; delete some of its files.")]
    Full,
    /// The system refuses.
    #[error("The session's working directory cannot be used.")]
    System(#[source] io::Error),
}

impl From<io::Error> for SessionFileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            // What leads out, as well.
            io::ErrorKind::PermissionDenied => Self::Outside,
            io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => Self::NoFile,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::System(error),
        }
    }
}

impl Sandbox {
    /// Opens a file that commands made.
    pub async fn open(&self, session: SessionId, path: &str) -> Result<Pieces, SessionFileError> {
        let (home, relative) = (home::of(&self.root, session), relative(path)?);
        blocking(move || {
            let home = Dir::open_ambient_dir(home, ambient_authority())?;
            // Nobody may ever write to a pipe.
            let unwaiting = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
            let file = home.open_with(relative, OpenOptions::new().read(true).custom_flags(unwaiting))?;
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Err(SessionFileError::NoFile);
            }
            Ok(Pieces { file: Some(file), size: metadata.len() })
        })
        .await
    }

    /// Begins a file of so many bytes for commands. It takes the place of one that is there.
    pub async fn save(&self, session: SessionId, path: &str, size: u64) -> Result<Saving<'_>, SessionFileError> {
        let place = relative(path)?;
        let home = home::prepare(&self.root, session).await?;
        self.check_room(&home, size).await?;
        let into = home.clone();
        let (file, arriving) = blocking(move || begin(&into)).await?;
        Ok(Saving { sandbox: self, home, place, file: Some(file), arriving })
    }

    async fn check_room(&self, home: &Path, size: u64) -> Result<(), SessionFileError> {
        if disk::used_when_shown(home).await?.has_room(size, self.quota) && disk::has_reserve(home, size)? {
            Ok(())
        } else {
            Err(SessionFileError::Full)
        }
    }
}

/// A path as tools and models write it, within the directory.
fn relative(path: &str) -> Result<PathBuf, SessionFileError> {
    let path = Path::new(path.trim());
    let below = path.strip_prefix(HOME_INSIDE).unwrap_or(path);
    let plain = below.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if plain && below.file_name().is_some() { Ok(below.components().collect()) } else { Err(SessionFileError::Outside) }
}

fn begin(home: &Path) -> io::Result<(File, Arriving)> {
    let directory = home.with_file_name(ARRIVING);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
    let directory = Dir::open_ambient_dir(directory, ambient_authority())?;
    let name = Uuid::new_v4().to_string();
    let file = directory.open_with(&name, OpenOptions::new().write(true).create_new(true).mode(0o644))?;
    belongs_to_commands(&file)?;
    Ok((file, Arriving { directory, name }))
}

/// Puts a complete file in its place, and makes the directories above it.
fn settle(home: &Path, arriving: &Arriving, place: &Path) -> io::Result<()> {
    let home = Dir::open_ambient_dir(home, ambient_authority())?;
    let mut above: Vec<&Path> = place.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()).collect();
    above.reverse();
    for directory in above {
        match home.create_dir(directory) {
            Ok(()) => belongs_to_commands(&home.open_dir(directory)?)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    arriving.directory.rename(&arriving.name, &home, place)
}

/// Commands run as another user where this process is root.
fn belongs_to_commands(file: &impl std::os::fd::AsFd) -> io::Result<()> {
    use rustix::fs::{AtFlags, Gid, Uid};
    let Some(id) = launch::lesser_user() else { return Ok(()) };
    // By the handle alone: a directory's is none that `fchown` takes, and a path could lead elsewhere.
    let owner = (Some(Uid::from_raw(id)), Some(Gid::from_raw(id)));
    Ok(rustix::fs::chownat(file, "", owner.0, owner.1, AtFlags::EMPTY_PATH)?)
}

async fn blocking<T: Send + 'static, E: Into<SessionFileError> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, SessionFileError> {
    match spawn_blocking(work).await {
        Ok(done) => done.map_err(Into::into),
        Err(error) => Err(SessionFileError::System(io::Error::other(error))),
    }
}

/// A file that is read piece by piece.
#[derive(Debug)]
pub struct Pieces {
    file: Option<File>,
    size: u64,
}

impl Pieces {
    /// Its size in bytes when it was opened.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, SessionFileError> {
        let Some(mut file) = self.file.take() else { return Ok(None) };
        let (file, piece) = blocking(move || {
            let mut piece = BytesMut::zeroed(PIECE_BYTES);
            let length = file.read(&mut piece)?;
            piece.truncate(length);
            io::Result::Ok((file, piece.freeze()))
        })
        .await?;
        if piece.is_empty() {
            return Ok(None);
        }
        self.file = Some(file);
        Ok(Some(piece))
    }
}

/// A file that is not complete. It is removed again unless it settles.
#[derive(Debug)]
struct Arriving {
    directory: Dir,
    name: String,
}

impl Drop for Arriving {
    fn drop(&mut self) {
        match self.directory.remove_file(&self.name) {
            Ok(()) => {}
            // It has settled.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "an incomplete file of a session stays until the session is swept"),
        }
    }
}

/// A file that is written piece by piece.
#[derive(Debug)]
pub struct Saving<'a> {
    sandbox: &'a Sandbox,
    home: PathBuf,
    place: PathBuf,
    file: Option<File>,
    arriving: Arriving,
}

impl Saving<'_> {
    /// Writes a piece.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), SessionFileError> {
        // Gone after a piece that could not be written.
        let Some(mut file) = self.file.take() else { return Err(SessionFileError::System(io::Error::other("broken"))) };
        let write = move || file.write_all(&piece).map(|()| file);
        self.file = Some(blocking(write).await?);
        Ok(())
    }

    /// Puts it in its place.
    pub async fn finish(self) -> Result<(), SessionFileError> {
        let Self { sandbox, home, place, file, arriving } = self;
        let size = file.ok_or_else(|| io::Error::other("broken"))?.metadata()?.len();
        // Of two files for which there is room apart, but not together, one is refused.
        let _one_by_one = sandbox.settling.lock().await;
        sandbox.check_room(&home, size).await?;
        blocking(move || settle(&home, &arriving, &place)).await
    }
}

#[cfg(test)]
mod tests;
