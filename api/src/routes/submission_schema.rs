//! The body of a submit as the OpenAPI document describes it.

use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, Union};
use serde_json::{Value, json};
use uuid::{Uuid, uuid};

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
#[oai(skip_serializing_if_is_none, example)]
pub(super) struct StreamChatRequest {
    /// What the user says; not blank.
    #[oai(validator(min_length = 1, max_length = 64000))]
    message: String,
    /// The message's id, chosen by the client; makes the call idempotent for 24 hours.
    message_id: Option<Uuid>,
    /// `false` for what the client says on the user's behalf, such as that an account was connected:
    /// it is answered as well, and has the role `system` in the history.
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
#[oai(rename_all = "camelCase", skip_serializing_if_is_none, example)]
pub(super) struct UiChatRequest {
    /// The chat's id: on `/api/chat` the session.
    id: Option<String>,
    /// The conversation; the last message must be the user's.
    messages: Vec<Value>,
    /// What is wanted; `submit-message` if absent.
    trigger: Option<UiTrigger>,
    /// With `submit-message`: the user's message whose place the new one takes, with all that
    /// followed. With `regenerate-message`: the answer that is made anew, or the message that is
    /// answered once more; the last one if absent.
    #[oai(validator(max_length = 255))]
    message_id: Option<String>,
    /// What the user is looking at.
    context: Option<MessageContext>,
    /// What to do while a turn of the session is in flight; `enqueue` if absent. What takes the
    /// conversation back stops it in any case but `reject`.
    #[oai(rename = "on_busy")]
    on_busy: Option<OnBusyWish>,
}

/// What the AI SDK wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "kebab-case")]
pub(super) enum UiTrigger {
    /// The last message is answered.
    SubmitMessage,
    /// A message is answered once more.
    RegenerateMessage,
}

/// What the user is looking at.
#[derive(Debug, Object)]
pub(super) struct MessageContext {
    /// Where it is.
    #[oai(validator(max_length = 2048))]
    url: Option<String>,
    /// What it says.
    #[oai(validator(max_length = 64000))]
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

impl Example for StreamChatRequest {
    fn example() -> Self {
        Self {
            message: "What is on this page?".into(),
            message_id: Some(uuid!("6f0a3a52-7a0b-4a57-9d0e-2f1c1a5b9c11")),
            is_user_message: true,
            context: Some(MessageContext {
                url: Some("https://example.org/plan".into()),
                content: Some("The plan for the third quarter …".into()),
            }),
            file_ids: None,
            on_busy: Some(OnBusyWish::Enqueue),
        }
    }
}

impl Example for UiChatRequest {
    fn example() -> Self {
        let said = json!({ "id": "aB3dE5fG7hJ9kL1m", "role": "user", "parts": [{ "type": "text", "text": "Hello" }] });
        Self {
            id: Some("01a20f01-1c3a-7d5e-9f00-5b1c2d3e4f50".into()),
            messages: vec![said],
            trigger: Some(UiTrigger::SubmitMessage),
            message_id: None,
            context: None,
            on_busy: None,
        }
    }
}

fn yes() -> bool {
    true
}
