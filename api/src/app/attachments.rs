//! The files of a message: those that it names, and those that it brings along.

use bytes::Bytes;
use copilot_shared::id::{FileId, SessionId, UserId};
use copilot_shared::message::Part;
use copilot_shared::workspace::{File, FilePath, Target, WorkspaceError, extension_of, file_name};
use sha2::{Digest, Sha256};

use super::App;
use super::submit_turn::SubmitTurnError;

/// Characters of a checksum that tell files of one name apart.
const MARK: usize = 8;

/// A file that comes with a message.
#[derive(Debug, Clone)]
pub struct InlineFile {
    /// What its sender calls it.
    pub name: Option<String>,
    /// What type it is.
    pub mime_type: String,
    /// Its bytes.
    pub content: Bytes,
}

impl InlineFile {
    /// What it says, for the comparison of two bodies.
    pub(super) fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.content).into()
    }

    fn path(&self, session: SessionId) -> Result<FilePath, SubmitTurnError> {
        let name = match self.name.as_deref().map(str::trim) {
            None | Some("") => format!("file.{}", extension_of(&self.mime_type)),
            Some(name) => file_name(name),
        };
        // A name of one segment fits in every directory.
        FilePath::within(Some(session), &name).map_err(|_| SubmitTurnError::UnsupportedFile)
    }
}

/// The files of a message, in their order.
#[derive(Debug, Default)]
pub(super) struct Attachments {
    /// All of them.
    pub(super) files: Vec<File>,
    /// Those that were not there before. They go again if the message is refused.
    pub(super) made: Vec<File>,
}

impl App {
    /// Finds the files that a message names, and stores those that it brings along: what is stored
    /// already is not stored again, so that a message can be sent twice. Ids of files that are
    /// nobody's, or somebody else's, are left out.
    pub(super) async fn attach_files(
        &self,
        session: SessionId,
        user: Option<&UserId>,
        ids: &[FileId],
        inline: &[InlineFile],
    ) -> Result<Attachments, SubmitTurnError> {
        let Some(user) = user else {
            return if inline.is_empty() { Ok(Attachments::default()) } else { Err(SubmitTurnError::UnsupportedFile) };
        };
        let mut attachments = Attachments::default();
        if !ids.is_empty() {
            attachments.files = self.workspaces.find_all(user, ids).await?;
        }
        for file in inline {
            match self.keep_inline(user, session, file, &attachments.made).await {
                Ok(Kept::Found(file)) => attachments.files.push(file),
                Ok(Kept::Made(file)) => {
                    attachments.made.push(file.clone());
                    attachments.files.push(file);
                }
                Err(error) => {
                    self.detach(user, &attachments.made).await;
                    return Err(error);
                }
            }
        }
        Ok(attachments)
    }

    /// Deletes files that were stored for a message that was not accepted. One that another message
    /// found meanwhile is that one's as well, and stays.
    pub(super) async fn detach(&self, user: &UserId, made: &[File]) {
        for file in made {
            if let Err(error) = self.workspaces.take_back(user, file).await {
                tracing::warn!(file.id = %file.id, error = &error as &dyn std::error::Error, "a file of a refused message stays");
            }
        }
    }

    async fn keep_inline(
        &self,
        user: &UserId,
        session: SessionId,
        inline: &InlineFile,
        made: &[File],
    ) -> Result<Kept, SubmitTurnError> {
        let path = inline.path(session)?;
        let checksum = inline.hash();
        let digits = checksum.iter().take(MARK / 2).flat_map(|byte| [byte >> 4, byte & 15]);
        let mark: String = digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect();
        for path in [path.clone(), path.marked(&mark)] {
            // Twice in one message: to find it again would make it somebody else's, too.
            if let Some(own) = made.iter().find(|own| own.path == path && own.checksum == checksum) {
                return Ok(Kept::Found(own.clone()));
            }
            let target = Target { mime_type: inline.mime_type.clone(), ..Target::at(path.clone()) };
            match self.workspaces.write(user, target, inline.content.clone()).await {
                Ok(file) => return Ok(Kept::Made(file)),
                Err(WorkspaceError::Exists(_)) => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(file) = self.workspaces.find_again(user, &path, &checksum).await? {
                return Ok(Kept::Found(file));
            }
        }
        Err(WorkspaceError::Exists(path).into())
    }
}

enum Kept {
    Made(File),
    Found(File),
}

/// What the history keeps of a file.
pub(super) fn part(file: &File) -> Part {
    Part::File { id: file.id, name: file.name.clone(), mime_type: file.mime_type.clone(), size_bytes: file.size_bytes }
}
