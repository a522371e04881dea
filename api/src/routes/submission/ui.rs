//! The AI SDK's form of a submit: a conversation of which only the last message is read.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use copilot_shared::id::{FileId, UiMessageId};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{FILES, MessageText, PlainText, unprocessable};
use crate::app::attachments::InlineFile;
use crate::app::submit_turn::Submission;
use crate::body;
use crate::problem::{Code, FieldError, Problem};

/// The last element of a list; the others are skipped unparsed.
pub(super) struct LastMessage<'a>(Option<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for LastMessage<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Last;
        impl<'de> Visitor<'de> for Last {
            type Value = LastMessage<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of messages")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut last = None;
                while let Some(item) = items.next_element::<&'de RawValue>()? {
                    last = Some(item);
                }
                Ok(LastMessage(last))
            }
        }
        deserializer.deserialize_seq(Last)
    }
}

/// A message as the AI SDK holds it.
#[derive(Deserialize)]
pub(super) struct UiMessage {
    id: Option<UiId>,
    role: String,
    #[serde(default)]
    parts: Vec<UiPart>,
}

#[derive(Deserialize)]
struct UiPart {
    #[serde(rename = "type")]
    kind: String,
    text: Option<PlainText>,
    url: Option<String>,
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    filename: Option<String>,
}

/// What the AI SDK wants.
#[derive(Deserialize)]
pub(super) enum Trigger {
    /// The last message is to be answered.
    #[serde(rename = "submit-message")]
    Submit,
    /// A message is to be answered once more.
    #[serde(rename = "regenerate-message")]
    Regenerate,
}

/// What the AI SDK calls a message.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct UiId(pub(super) UiMessageId);

impl TryFrom<String> for UiId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        UiMessageId::parse(&text).map(Self).ok_or("must have 1 to 255 bytes and no control characters")
    }
}

/// What is wanted; to be answered, if nothing is said.
pub(super) fn trigger(wire: Option<&RawValue>) -> Result<Trigger, Problem> {
    let Some(trigger) = wire else { return Ok(Trigger::Submit) };
    serde_json::from_str(trigger.get()).map_err(|_| {
        let detail = "The trigger must be submit-message or regenerate-message.";
        unprocessable(Code::UnsupportedTrigger, detail)
    })
}

impl LastMessage<'_> {
    /// The message, which must be the user's.
    pub(super) fn users(&self) -> Result<UiMessage, Problem> {
        let no_user_message = || unprocessable(Code::NoUserMessage, "The last of the messages must be the user's.");
        let last = self.0.ok_or_else(no_user_message)?;
        let message: UiMessage = body::parse(last.get().as_bytes())?;
        if message.role == "user" { Ok(message) } else { Err(no_user_message()) }
    }
}

impl UiMessage {
    /// What the client calls it.
    pub(super) fn id(&self) -> Option<UiMessageId> {
        self.id.as_ref().map(|id| id.0.clone())
    }

    /// What it says, joined.
    pub(super) fn text(&self) -> String {
        let texts = self.parts.iter().filter(|part| part.kind == "text").filter_map(|part| part.text.as_ref());
        texts.map(|text| text.0.as_str()).collect()
    }

    /// Adds its text and its files, if they can be taken. With a file it needs no text.
    pub(super) fn say(self, submission: &mut Submission) -> Result<(), Problem> {
        let refused = |why: String| Problem::invalid(FieldError::in_body("messages", "value_error", why));
        submission.text = self.text();
        for part in self.parts.into_iter().filter(|part| part.kind == "file") {
            match part.file()? {
                Sent::Named(id) => submission.file_ids.push(id),
                Sent::Whole(file) => submission.files.push(file),
            }
        }
        let files = submission.file_ids.len() + submission.files.len();
        if files > FILES {
            return Err(refused(format!("at most {FILES} files, not {files}")));
        }
        if files == 0 || !submission.text.trim().is_empty() {
            submission.text = MessageText::try_from(std::mem::take(&mut submission.text)).map_err(refused)?.0;
        }
        Ok(())
    }
}

/// How a file comes with a message.
enum Sent {
    /// It is in the workspace already.
    Named(FileId),
    /// It is in the message.
    Whole(InlineFile),
}

impl UiPart {
    fn file(self) -> Result<Sent, Problem> {
        let url = self.url.unwrap_or_default();
        if let Some(id) = named(&url) {
            return Ok(Sent::Named(id));
        }
        let (said, content) = data_url(&url).ok_or_else(|| {
            let detail = "A part of type file must have a data: URL in base64, or the URL of an uploaded file.";
            unprocessable(Code::UnsupportedPart, detail)
        })?;
        let mime_type = self.media_type.as_deref().and_then(essence).or_else(|| essence(said));
        let mime_type = mime_type.unwrap_or_else(|| "application/octet-stream".to_owned());
        Ok(Sent::Whole(InlineFile { name: self.filename, mime_type, content }))
    }
}

/// The file that a URL of ours names: `workspace://{id}#{type}` as tools write it, or where it is
/// downloaded, as the history shows it. Whose it is, is seen when it is looked up.
fn named(url: &str) -> Option<FileId> {
    let id = match url.strip_prefix("workspace://") {
        Some(rest) => rest.split('#').next()?,
        None => url.rsplit_once("/api/workspace/files/")?.1.strip_suffix("/download")?,
    };
    id.parse().ok()
}

/// The type and the bytes of a data URL in base64 (RFC 2397).
fn data_url(url: &str) -> Option<(&str, Bytes)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let media_type = head.strip_suffix(";base64")?;
    STANDARD.decode(data.trim()).ok().map(|content| (media_type, content.into()))
}

/// `type/subtype` without parameters; `None` for what is no such thing.
fn essence(media_type: &str) -> Option<String> {
    let essence = media_type.split(';').next()?.trim();
    let token = |text: &str| {
        (1..=100).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
    };
    let (kind, subtype) = essence.split_once('/')?;
    (token(kind) && token(subtype)).then(|| essence.to_ascii_lowercase())
}
