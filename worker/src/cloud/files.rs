//! The files of a session's sandbox from outside: tools take what commands made, and put there what
//! they need. A sandbox is the session's own, so its links lead to nobody else's files.

use bytes::Bytes;
use copilot_shared::blobs::BlobError;
use futures_util::stream::BoxStream;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, Response, StatusCode};
use serde_json::json;
use uuid::Uuid;

use super::envd::{Envd, HOME, checked};
use super::{Cloud, CloudError, Whose};
use crate::sandbox::SessionFileError;

const FILESYSTEM: &str = "filesystem.Filesystem";

impl From<CloudError> for SessionFileError {
    fn from(error: CloudError) -> Self {
        match error {
            CloudError::Refused { status: StatusCode::NOT_FOUND, .. } => Self::Missing,
            // A directory, or what cannot be a path.
            CloudError::Refused { status: StatusCode::BAD_REQUEST, .. } => Self::NoFile,
            CloudError::Refused { status: StatusCode::INSUFFICIENT_STORAGE, .. } => Self::Full,
            error => Self::System(std::io::Error::other(error)),
        }
    }
}

impl Cloud {
    /// Opens a file that commands made.
    pub async fn open(&self, whose: Whose, path: &str) -> Result<CloudPieces, SessionFileError> {
        let path = absolute(path)?;
        let envd = self.reach(whose, self.settings.timeout).await?;
        let request = envd.file(Method::GET, &path)?;
        let response = request.send().await.map_err(CloudError::from)?;
        Ok(CloudPieces(checked(response).await?))
    }

    /// Puts a file of so many bytes there for commands. It takes the place of one that is there, and
    /// is complete before commands can see it.
    pub async fn save(
        &self,
        whose: Whose,
        path: &str,
        size: u64,
        content: BoxStream<'static, Result<Bytes, BlobError>>,
    ) -> Result<(), SessionFileError> {
        let path = absolute(path)?;
        let envd = self.reach(whose, self.settings.timeout).await?;
        let directory = path.rsplit_once('/').map_or(HOME, |(directory, _)| directory);
        let arriving = Arriving { path: Some(format!("{directory}/.copilot-{}", Uuid::new_v4())), envd };
        arriving.take(size, content).await?;
        arriving.settle(&path).await?;
        Ok(())
    }
}

/// A path as tools and models write it, as the sandbox has it: in the working directory, or in `/tmp`.
fn absolute(path: &str) -> Result<String, SessionFileError> {
    let path = path.trim();
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{HOME}/{path}") };
    let parts: Vec<&str> = whole.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let is_inside = matches!(parts.as_slice(), ["home", "user", _, ..] | ["tmp", _, ..]);
    if !is_inside || path.ends_with('/') || path.contains('\0') || parts.contains(&"..") {
        return Err(SessionFileError::Outside);
    }
    Ok(format!("/{}", parts.join("/")))
}

/// A file that is not complete. It is removed again unless it settles.
struct Arriving {
    envd: Envd,
    /// `None` once it has settled.
    path: Option<String>,
}

impl Arriving {
    async fn take(&self, size: u64, content: BoxStream<'static, Result<Bytes, BlobError>>) -> Result<(), CloudError> {
        let path = self.path.as_deref().unwrap_or_default();
        let part = Part::stream_with_length(reqwest::Body::wrap_stream(content), size).file_name("file");
        let request = self.envd.file(Method::POST, path)?.multipart(Form::new().part("file", part));
        checked(request.send().await?).await.map(|_| ())
    }

    async fn settle(mut self, path: &str) -> Result<(), CloudError> {
        let body = json!({"source": self.path, "destination": path});
        self.envd.call(FILESYSTEM, "Move", &body).await?;
        self.path = None;
        Ok(())
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if let Some(path) = self.path.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let envd = self.envd.clone();
            runtime.spawn(async move {
                if let Err(error) = envd.call(FILESYSTEM, "Remove", &json!({"path": path})).await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "an incomplete file stays in a sandbox");
                }
            });
        }
    }
}

/// A file that is read piece by piece.
#[derive(Debug)]
pub struct CloudPieces(Response);

impl CloudPieces {
    /// Its size in bytes when it was opened, if that was said.
    pub fn size(&self) -> Option<u64> {
        self.0.content_length()
    }

    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, SessionFileError> {
        Ok(self.0.chunk().await.map_err(CloudError::from)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_where_commands_work() {
        for (path, inside) in [
            ("a.txt", "/home/user/a.txt"),
            (" data/./a.txt ", "/home/user/data/a.txt"),
            ("/home/user/a", "/home/user/a"),
            ("/tmp/x/y", "/tmp/x/y"),
            ("//home//user/a", "/home/user/a"),
        ] {
            assert_eq!(absolute(path).unwrap(), inside);
        }
        for path in [
            "",
            "/",
            ".",
            "..",
            "../x",
            "a/../../x",
            "/etc/passwd",
            "/home/user",
            "/home/user/",
            "/tmp",
            "a/",
            "a\0",
            "/home/users/x",
        ] {
            assert!(matches!(absolute(path), Err(SessionFileError::Outside)), "{path:?}");
        }
    }
}
