//! The working directory of a session on this machine, where sandboxed commands run and tools
//! exchange files with them.
//!
//! What runs in the sandbox may put links there. They are never followed out of the directory:
//! every path is opened beneath it by the system itself, so that there is no moment between a check
//! and its use.

use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};

use bytes::{Bytes, BytesMut};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, File};
use copilot_shared::id::SessionId;
use tokio::task::spawn_blocking;

/// Files are copied in pieces of this size.
const PIECE_BYTES: usize = 256 * 1024;

/// Why a path of the directory cannot be used. Says nothing of the machine.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It leads out of the directory, or is empty.
    #[error("The path must be within the session's working directory.")]
    Outside,
    /// It is not there.
    #[error("There is no such file in the session's working directory.")]
    Missing,
    /// It is no file.
    #[error("The path is not a file.")]
    NoFile,
    /// The system refuses.
    #[error("The session's working directory cannot be used.")]
    System(#[source] std::io::Error),
}

impl From<std::io::Error> for DirectoryError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::Missing,
            std::io::ErrorKind::PermissionDenied => Self::Outside,
            std::io::ErrorKind::IsADirectory => Self::NoFile,
            _ => Self::System(error),
        }
    }
}

/// The working directory of a session.
#[derive(Debug, Clone)]
pub struct SessionDirectory(PathBuf);

impl SessionDirectory {
    /// The directory of a session, which need not be there.
    pub fn of(session: SessionId) -> Self {
        // The id is a UUID, so the name is safe.
        Self(std::env::temp_dir().join(format!("copilot-{session}")))
    }

    /// Where it is on this machine.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Opens a file for reading.
    pub async fn read(&self, path: &str) -> Result<Pieces, DirectoryError> {
        let (root, relative) = (self.0.clone(), self.relative(path)?);
        blocking(move || {
            let directory = Dir::open_ambient_dir(root, ambient_authority())?;
            let file = directory.open(relative)?;
            let metadata = file.metadata()?;
            // A pipe would keep us waiting, a device could be anything.
            if !metadata.is_file() {
                return Err(DirectoryError::NoFile);
            }
            Ok(Pieces { file: Some(file), size: metadata.len() })
        })
        .await
    }

    /// Makes a file, in place of one that is there, and the directories above it.
    pub async fn create(&self, path: &str) -> Result<Writing, DirectoryError> {
        let (root, relative) = (self.0.clone(), self.relative(path)?);
        blocking(move || {
            std::fs::create_dir_all(&root)?;
            let directory = Dir::open_ambient_dir(root, ambient_authority())?;
            if let Some(parent) = relative.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                directory.create_dir_all(parent)?;
            }
            // A pipe that somebody put there would keep us waiting.
            if directory.metadata(&relative).is_ok_and(|metadata| !metadata.is_file()) {
                return Err(DirectoryError::NoFile);
            }
            Ok(Writing(Some(directory.create(relative)?)))
        })
        .await
    }

    /// A path as tools write it, absolute or not, below the directory.
    fn relative(&self, path: &str) -> Result<PathBuf, DirectoryError> {
        let path = Path::new(path);
        let below = path.strip_prefix(&self.0).unwrap_or(path);
        let plain = below.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if plain && below.file_name().is_some() { Ok(below.to_owned()) } else { Err(DirectoryError::Outside) }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DirectoryError> + Send + 'static,
) -> Result<T, DirectoryError> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(DirectoryError::System(std::io::Error::other(error))))
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
    pub async fn next(&mut self) -> Result<Option<Bytes>, DirectoryError> {
        let Some(mut file) = self.file.take() else { return Ok(None) };
        let (file, piece) = blocking(move || {
            let mut piece = BytesMut::zeroed(PIECE_BYTES);
            let length = file.read(&mut piece)?;
            piece.truncate(length);
            Ok((file, piece.freeze()))
        })
        .await?;
        if piece.is_empty() {
            return Ok(None);
        }
        self.file = Some(file);
        Ok(Some(piece))
    }
}

/// A file that is written piece by piece.
#[derive(Debug)]
pub struct Writing(Option<File>);

impl Writing {
    /// Writes a piece.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), DirectoryError> {
        let Some(mut file) = self.0.take() else { return Ok(()) };
        let write = move || {
            file.write_all(&piece)?;
            Ok(file)
        };
        self.0 = Some(blocking(write).await?);
        Ok(())
    }

    /// Completes it.
    pub async fn finish(self) -> Result<(), DirectoryError> {
        let Some(mut file) = self.0 else { return Ok(()) };
        blocking(move || Ok(file.flush()?)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scene(SessionDirectory);

    impl Scene {
        fn new() -> Self {
            let directory = SessionDirectory::of(SessionId::random());
            std::fs::create_dir_all(directory.path()).unwrap();
            Self(directory)
        }

        async fn text(&self, path: &str) -> Result<String, DirectoryError> {
            let mut pieces = self.0.read(path).await?;
            let mut text = Vec::new();
            while let Some(piece) = pieces.next().await? {
                text.extend_from_slice(&piece);
            }
            Ok(String::from_utf8(text).unwrap())
        }

        async fn save(&self, path: &str, text: &'static str) -> Result<(), DirectoryError> {
            let mut writing = self.0.create(path).await?;
            writing.write(Bytes::from_static(text.as_bytes())).await?;
            writing.finish().await
        }
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            std::fs::remove_dir_all(self.0.path()).unwrap();
        }
    }

    #[tokio::test]
    async fn files_are_written_and_read_below_the_directory() {
        let scene = Scene::new();
        scene.save("a/b.txt", "hello").await.unwrap();
        assert_eq!(scene.text("a/b.txt").await.unwrap(), "hello");
        let absolute = scene.0.path().join("a/b.txt");
        scene.save(absolute.to_str().unwrap(), "hi").await.unwrap();
        assert_eq!(scene.text(absolute.to_str().unwrap()).await.unwrap(), "hi", "what was there is gone");
        assert!(matches!(scene.text("nope").await, Err(DirectoryError::Missing)));
        assert!(scene.text("a").await.is_err());
    }

    #[tokio::test]
    async fn nothing_leads_out_of_the_directory() {
        let scene = Scene::new();
        for path in ["../x", "/etc/passwd", "a/../../x", "", ".", "/"] {
            assert!(matches!(scene.text(path).await, Err(DirectoryError::Outside)), "{path}");
            assert!(matches!(scene.save(path, "x").await, Err(DirectoryError::Outside)), "{path}");
        }
        // What a sandboxed command could leave behind.
        std::os::unix::fs::symlink("/etc/passwd", scene.0.path().join("link")).unwrap();
        std::os::unix::fs::symlink("/tmp", scene.0.path().join("up")).unwrap();
        assert!(scene.text("link").await.is_err());
        assert!(scene.save("link", "x").await.is_err());
        assert!(scene.save("up/escaped", "x").await.is_err());
        assert!(scene.text("up/anything").await.is_err());
    }

    #[tokio::test]
    async fn what_is_no_file_is_not_waited_for() {
        let scene = Scene::new();
        let pipe = scene.0.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let asked = tokio::time::timeout(std::time::Duration::from_secs(5), scene.save("pipe", "x"));
        assert!(matches!(asked.await.unwrap(), Err(DirectoryError::NoFile)));
    }
}
