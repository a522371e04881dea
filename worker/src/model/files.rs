//! What a model sees of the files that belong to the user's messages.

use std::collections::HashMap;

use copilot_shared::id::FileId;

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its type.
    pub mime_type: String,
    /// Its bytes, in base64.
    pub base64: String,
}

/// A file that a model can take in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttachedFile {
    /// A picture.
    Image(Image),
    /// A short text.
    Text(String),
}

/// The files of a conversation that are shown to the model. Of others it knows what the message
/// says of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttachedFiles(HashMap<FileId, AttachedFile>);

impl AttachedFiles {
    /// The picture, if the file is one.
    pub fn image(&self, id: FileId) -> Option<&Image> {
        match self.0.get(&id)? {
            AttachedFile::Image(image) => Some(image),
            AttachedFile::Text(_) => None,
        }
    }

    /// The text, if the file is one.
    pub fn text(&self, id: FileId) -> Option<&str> {
        match self.0.get(&id)? {
            AttachedFile::Text(text) => Some(text),
            AttachedFile::Image(_) => None,
        }
    }
}

impl FromIterator<(FileId, AttachedFile)> for AttachedFiles {
    fn from_iter<I: IntoIterator<Item = (FileId, AttachedFile)>>(files: I) -> Self {
        Self(files.into_iter().collect())
    }
}
