//! The body of a submit as the OpenAPI document describes it.

use poem_openapi::{Enum, Object, Union};
use serde_json::Value;
use uuid::Uuid;

/// A message, in the plain form or in the AI SDK's.
#[derive(Debug, Union)]
pub(super) enum SubmitBody {
    /// The plain form.
    Plain(StreamChatRequest),
    /// The AI SDK's form.
    Ui(UiChatRequest),
}

/// A message.
#[derive(Debug, Object)]
pub(super) struct StreamChatRequest {
    /// What the user says; not blank.
    #[oai(validator(min_length = 1, max_length = 64000))]
    message: String,
    /// The message's id, chosen by the client; makes the call idempotent for 24 hours.
    message_id: Option<Uuid>,
    /// For compatibility.
    #[oai(default = "yes")]
    is_user_message: bool,
    /// What the user is looking at.
    context: Option<MessageContext>,
    /// Uploaded files that belong to the message. Ids of no file of the caller are left out.
    #[oai(validator(max_items = 20))]
    file_ids: Option<Vec<String>>,
    /// What to do while a turn of the session is in flight; `enqueue` if absent.
    on_busy: Option<OnBusyWish>,
}

/// The body of the AI SDK's default transport. Only the last message is read.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct UiChatRequest {
    /// The chat's id: on `/api/chat` the session.
    id: Option<String>,
    /// The conversation; the last message must be the user's.
    messages: Vec<Value>,
    /// `submit-message`.
    trigger: Option<String>,
    /// The message to replace.
    message_id: Option<String>,
    /// What to do while a turn of the session is in flight; `enqueue` if absent.
    #[oai(rename = "on_busy")]
    on_busy: Option<OnBusyWish>,
}

/// What the user is looking at.
#[derive(Debug, Object)]
pub(super) struct MessageContext {
    /// Where it is.
    url: Option<String>,
    /// What it says.
    content: Option<String>,
}

/// What a submit does while a turn of the session is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename = "OnBusy", rename_all = "lowercase")]
pub(super) enum OnBusyWish {
    /// It waits its turn.
    Enqueue,
    /// It is refused with 409.
    Reject,
    /// It stops the running turn and runs next.
    Interrupt,
    /// It is handed to the running turn before its next model call, and the answer is that turn; if
    /// no call follows, it becomes the next turn.
    Steer,
}

fn yes() -> bool {
    true
}
