//! The body of a submit, in the reference's form or the AI SDK's, and what is valid in it.

use bytes::Bytes;
use copilot_shared::id::{FileId, MessageId};
use copilot_shared::message::{Speaker, strip_controls};
use copilot_shared::store::{OnBusy, Seen};
use poem::http::StatusCode;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaRequest, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions, NewType};
use serde::de::{self, Deserializer, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::submission_schema::SubmitBody;
use crate::app::regenerate_turn::Regeneration;
use crate::app::submit_turn::{Submission, Wanted};
use crate::body;
use crate::problem::{Code, FieldError, Problem};
use ui::{LastMessage, Trigger, UiId, trigger};

mod ui;

/// The longest message, in characters.
const MESSAGE: usize = 64_000;
/// The longest text of what the user looks at, in characters.
const CONTENT: usize = MESSAGE;
/// The longest address of what the user looks at, in characters.
const ADDRESS: usize = 2_048;
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

/// The same, of at most so many characters.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "String")]
struct BoundedText<const MOST: usize>(String);

impl<const MOST: usize> TryFrom<String> for BoundedText<MOST> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let PlainText(text) = text.try_into()?;
        if text.chars().count() > MOST { Err(format!("must have at most {MOST} characters")) } else { Ok(Self(text)) }
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
    is_user_message: Option<bool>,
    context: Option<body::Object<WireContext>>,
    file_ids: Option<FileIds>,
    on_busy: Option<WireOnBusy>,
    #[serde(borrow)]
    messages: Option<LastMessage<'a>>,
    // Only the AI SDK's form means something by these two.
    #[serde(borrow)]
    trigger: Option<&'a RawValue>,
    #[serde(borrow, rename = "messageId")]
    ui_message_id: Option<&'a RawValue>,
}

/// Whether the body is the AI SDK's, without reading what it says.
#[derive(Deserialize)]
struct WireForm {
    messages: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct WireContext {
    #[serde(default)]
    url: BoundedText<ADDRESS>,
    #[serde(default)]
    content: BoundedText<CONTENT>,
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

impl SubmitBytes {
    /// The `id` of a body in the AI SDK's form.
    pub(super) fn session(&self) -> Result<String, Problem> {
        Ok(body::parse::<WireSession>(&self.0)?.id)
    }

    /// What is wanted. `header` is the request's `Idempotency-Key`.
    pub(super) fn wanted(&self, header: Option<String>) -> Result<Wanted, Problem> {
        self.check_size()?;
        let wire: Wire<'_> = body::parse(&self.0)?;
        let message_id = wire.message_id.map(MessageId);
        let key = check_key(header, message_id)?;
        let on_busy = on_busy(wire.on_busy);
        let mut submission = Submission {
            text: String::new(),
            context: wire.context.map(|body::Object(context)| (context.url.0, context.content.0)),
            file_ids: wire.file_ids.map(|ids| ids.0).unwrap_or_default(),
            files: Vec::new(),
            key,
            message_id,
            ui_id: None,
            speaker: if wire.is_user_message == Some(false) { Speaker::System } else { Speaker::User },
            instead_of: None,
            on_busy,
        };
        let Some(messages) = &wire.messages else {
            let missing = || Problem::invalid(FieldError::in_body("message", "missing", "Field required"));
            submission.text = wire.message.ok_or_else(missing)?.0;
            return Ok(Wanted::Message(submission));
        };
        let last = messages.users()?;
        let name = wire.ui_message_id.map(|id| field::<UiId>("messageId", id)).transpose()?.map(|id| id.0);
        match trigger(wire.trigger)? {
            Trigger::Submit => {
                submission.ui_id = last.id();
                submission.instead_of = name;
                last.say(&mut submission)?;
                Ok(Wanted::Message(submission))
            }
            Trigger::Regenerate => {
                let seen = Seen { id: last.id(), text: last.text() };
                Ok(Wanted::Again(Regeneration { of: name, seen, key: submission.key, on_busy }))
            }
        }
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
pub(super) async fn read_submission(body: SubmitBytes, header: Option<String>) -> Result<Wanted, Problem> {
    if body.0.len() <= body::ORDINARY {
        return body.wanted(header);
    }
    let read = tokio::task::spawn_blocking(move || body.wanted(header)).await;
    read.unwrap_or_else(|_| Err(Problem::internal()))
}

fn unprocessable(code: Code, detail: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
}

/// A field that is read late.
fn field<'a, T: Deserialize<'a>>(name: &str, value: &'a RawValue) -> Result<T, Problem> {
    serde_json::from_str(value.get())
        .map_err(|error| Problem::invalid(FieldError::in_body(name, "value_error", reason(&error))))
}

/// What the parser says, without the place: it is that of the value and not of the body.
fn reason(error: &serde_json::Error) -> String {
    error.to_string().split(" at line ").next().unwrap_or_default().chars().take(300).collect()
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
