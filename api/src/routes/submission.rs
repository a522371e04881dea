//! The body of a submit, in the reference's form or the AI SDK's, and what is valid in it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use copilot_shared::id::{FileId, MessageId};
use copilot_shared::message::strip_controls;
use copilot_shared::store::OnBusy;
use poem::http::StatusCode;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaRequest, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions, NewType};
use serde::de::{self, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::submission_schema::SubmitBody;
use crate::app::attachments::InlineFile;
use crate::app::submit_turn::Submission;
use crate::body;
use crate::problem::{Code, FieldError, Problem};

/// The longest message, in characters.
const MESSAGE: usize = 64_000;
/// Files of one message.
const FILES: usize = 20;
/// The longest key, in bytes (the column's own check).
const KEY: usize = 255;
/// The longest `useChat` body, in bytes: it repeats the whole conversation.
const CONVERSATION: usize = 32 * 1024 * 1024;

/// What a user writes: without control characters, neither blank nor endless.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, NewType)]
#[serde(try_from = "String")]
pub(super) struct MessageText(pub(super) String);

/// Text in which only NUL is refused.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "String")]
struct PlainText(String);

impl TryFrom<String> for PlainText {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.contains('\0') { Err("a NUL character is not allowed") } else { Ok(Self(strip_controls(&text))) }
    }
}

impl TryFrom<String> for MessageText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let PlainText(text) = text.try_into()?;
        if text.trim().is_empty() {
            return Err("Message must not be blank".into());
        }
        if text.chars().count() > MESSAGE {
            return Err(format!("Message must have at most {MESSAGE} characters"));
        }
        Ok(Self(text))
    }
}

/// The body of a submit, not looked at yet: what the caller may do is checked first.
pub(super) struct SubmitBytes(Bytes);

impl<'a> ApiExtractor<'a> for SubmitBytes {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        SubmitBody::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(body::json_request(SubmitBody::schema_ref(), true))
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self(body::read(request, body, CONVERSATION).await?))
    }
}

#[derive(Deserialize)]
struct WireSession {
    id: String,
}

#[derive(Deserialize)]
struct Wire<'a> {
    message: Option<MessageText>,
    message_id: Option<Uuid>,
    #[serde(rename = "is_user_message")]
    _is_user_message: Option<bool>,
    context: Option<WireContext>,
    file_ids: Option<FileIds>,
    on_busy: Option<WireOnBusy>,
    #[serde(borrow)]
    messages: Option<LastMessage<'a>>,
    trigger: Option<String>,
    #[serde(rename = "messageId")]
    ui_message_id: Option<IgnoredAny>,
}

/// Whether the body is the AI SDK's, without reading what it says.
#[derive(Deserialize)]
struct WireForm {
    messages: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct WireContext {
    #[serde(default)]
    url: PlainText,
    #[serde(default)]
    content: PlainText,
}

#[derive(Deserialize)]
#[serde(try_from = "Vec<String>")]
struct FileIds(Vec<FileId>);

impl TryFrom<Vec<String>> for FileIds {
    type Error = String;

    /// What is no id is nobody's file, and left out like one (`usage-tools.md` §5.4).
    fn try_from(ids: Vec<String>) -> Result<Self, Self::Error> {
        if ids.len() > FILES {
            return Err(format!("at most {FILES} files, not {}", ids.len()));
        }
        // Hyphenated: other spellings of a UUID are no ids here.
        let id = |text: &String| text.parse().ok().filter(|_| text.len() == 36);
        Ok(Self(ids.iter().filter_map(id).collect()))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WireOnBusy {
    Enqueue,
    Reject,
    Interrupt,
    Steer,
}

/// The last element of a list; the others are skipped unparsed.
struct LastMessage<'a>(Option<&'a RawValue>);

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

#[derive(Deserialize)]
struct UiMessage {
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

impl SubmitBytes {
    /// The `id` of a body in the AI SDK's form.
    pub(super) fn session(&self) -> Result<String, Problem> {
        Ok(body::parse::<WireSession>(&self.0)?.id)
    }

    /// What is submitted. `header` is the request's `Idempotency-Key`.
    pub(super) fn submission(&self, header: Option<String>) -> Result<Submission, Problem> {
        self.check_size()?;
        let wire: Wire<'_> = body::parse(&self.0)?;
        let mut file_ids = wire.file_ids.map(|ids| ids.0).unwrap_or_default();
        let mut files = Vec::new();
        let text = match (&wire.messages, wire.message) {
            (Some(messages), _) => {
                check_trigger(wire.trigger.as_deref(), wire.ui_message_id.is_some())?;
                let said = UiSaid::of(messages)?;
                file_ids.extend(said.file_ids);
                files = said.files;
                said.text
            }
            (None, Some(MessageText(text))) => text,
            (None, None) => return Err(Problem::invalid(FieldError::in_body("message", "missing", "Field required"))),
        };
        let message_id = wire.message_id.map(MessageId);
        Ok(Submission {
            text,
            context: wire.context.map(|context| (context.url.0, context.content.0)),
            file_ids,
            files,
            key: check_key(header, message_id)?,
            message_id,
            on_busy: on_busy(wire.on_busy),
        })
    }

    /// Only the AI SDK's form, which repeats the conversation, may be long.
    fn check_size(&self) -> Result<(), Problem> {
        if self.0.len() <= body::ORDINARY || body::parse::<WireForm>(&self.0)?.messages.is_some() {
            return Ok(());
        }
        let detail = format!("The body must not be larger than {} bytes.", body::ORDINARY);
        Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, Code::PayloadTooLarge, detail))
    }
}

/// Reads what is submitted; a long body away from the threads that serve the others.
pub(super) async fn read_submission(body: SubmitBytes, header: Option<String>) -> Result<Submission, Problem> {
    if body.0.len() <= body::ORDINARY {
        return body.submission(header);
    }
    let read = tokio::task::spawn_blocking(move || body.submission(header)).await;
    read.unwrap_or_else(|_| Err(Problem::internal()))
}

fn unprocessable(code: Code, detail: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
}

fn check_trigger(trigger: Option<&str>, replaces: bool) -> Result<(), Problem> {
    match trigger {
        None | Some("submit-message") if !replaces => Ok(()),
        None | Some("submit-message") => {
            Err(unprocessable(Code::UnsupportedTrigger, "A message cannot be replaced yet; send it as a new one."))
        }
        Some(_) => Err(unprocessable(Code::UnsupportedTrigger, "This trigger is not supported yet.")),
    }
}

/// What the user says in the AI SDK's form.
struct UiSaid {
    text: String,
    file_ids: Vec<FileId>,
    files: Vec<InlineFile>,
}

impl UiSaid {
    fn of(LastMessage(last): &LastMessage<'_>) -> Result<Self, Problem> {
        let no_user_message = || unprocessable(Code::NoUserMessage, "The last of the messages must be the user's.");
        let last = last.ok_or_else(no_user_message)?;
        let message: UiMessage = body::parse(last.get().as_bytes())?;
        if message.role != "user" {
            return Err(no_user_message());
        }
        let mut said = Self { text: String::new(), file_ids: Vec::new(), files: Vec::new() };
        for part in message.parts {
            match part.kind.as_str() {
                "text" => said.text.extend(part.text.map(|text| text.0)),
                "file" => said.file(part)?,
                _ => {}
            }
        }
        if said.file_ids.len() + said.files.len() > FILES {
            let why = format!("at most {FILES} files");
            return Err(Problem::invalid(FieldError::in_body("messages", "value_error", why)));
        }
        let only_files = said.text.trim().is_empty() && !(said.file_ids.is_empty() && said.files.is_empty());
        if !only_files {
            let text = MessageText::try_from(said.text)
                .map_err(|why| Problem::invalid(FieldError::in_body("messages", "value_error", why)))?;
            said.text = text.0;
        }
        Ok(said)
    }

    /// Takes a file that the message holds in full, or one of the workspace that it names.
    fn file(&mut self, part: UiPart) -> Result<(), Problem> {
        let url = part.url.unwrap_or_default();
        if let Some(id) = url.strip_prefix("workspace://").and_then(|id| id.split('#').next()?.parse().ok()) {
            self.file_ids.push(id);
            return Ok(());
        }
        let (said, content) = data_url(&url).ok_or_else(|| {
            unprocessable(Code::UnsupportedPart, "A part of type file must have a data: URL in base64.")
        })?;
        let mime_type = part.media_type.as_deref().and_then(essence).or_else(|| essence(said));
        let mime_type = mime_type.unwrap_or_else(|| "application/octet-stream".to_owned());
        self.files.push(InlineFile { name: part.filename, mime_type, content });
        Ok(())
    }
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

/// The key in a request's header; it must fit, and be the message's id if both are given.
pub(super) fn check_key(header: Option<String>, message_id: Option<MessageId>) -> Result<Option<String>, Problem> {
    let Some(key) = header.filter(|key| !key.is_empty()) else { return Ok(None) };
    let refuse = |why: &str| Err(Problem::invalid(FieldError::at("header", "Idempotency-Key", "value_error", why)));
    if key.len() > KEY {
        return refuse("must have at most 255 bytes");
    }
    // A key that is the same UUID in another spelling is the same key.
    match message_id {
        Some(id) if key.parse::<Uuid>().ok() != Some(id.0) => refuse("must equal message_id"),
        Some(id) => Ok(Some(id.to_string())),
        None => Ok(Some(key)),
    }
}

fn on_busy(wish: Option<WireOnBusy>) -> OnBusy {
    match wish {
        None | Some(WireOnBusy::Enqueue) => OnBusy::Enqueue,
        Some(WireOnBusy::Reject) => OnBusy::Reject,
        Some(WireOnBusy::Interrupt) => OnBusy::Interrupt,
        Some(WireOnBusy::Steer) => OnBusy::Steer,
    }
}

/// Refuses what is longer or blank, for fields that are not messages.
pub(super) fn title<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.contains('\0') {
        return Err(de::Error::custom("a NUL character is not allowed"));
    }
    let parsed = copilot_shared::session::Title::parse(&text);
    parsed
        .map(|title| title.as_str().to_owned())
        .ok_or_else(|| de::Error::custom("Title must not be blank, and must have at most 256 characters"))
}

#[cfg(test)]
mod tests;
