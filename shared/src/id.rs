//! The ids of the domain: one newtype each, so that a turn is never taken for a session.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type, JsonSchema)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        #[schemars(inline)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A fresh id, ordered by time (UUID version 7, RFC 9562), which keeps B-trees dense.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

uuid_id!(
    /// A user's conversation.
    SessionId
);
uuid_id!(
    /// One run that answers one message. Also the id of the answer's UI message, which is why it
    /// is stable over every reconnect and every attempt.
    TurnId
);
uuid_id!(
    /// A row of the conversation. A client may choose it for its own message.
    MessageId
);
uuid_id!(
    /// One worker process, from its start to its end.
    WorkerId
);
uuid_id!(
    /// All files of a user.
    WorkspaceId
);
uuid_id!(
    /// A file of a user's workspace.
    FileId
);
uuid_id!(
    /// A message that nobody could handle.
    DeadLetterId
);
uuid_id!(
    /// A folder of a user's library.
    FolderId
);
uuid_id!(
    /// Something that users wish for.
    FeatureRequestId
);

impl SessionId {
    /// A session id that nobody can guess: anonymous sessions are found by it alone.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

/// The `sub` of a token: whoever owns sessions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct UserId(String);

impl UserId {
    /// The longest id that is accepted, in bytes (the `users.id` column's own check).
    pub const MAX_BYTES: usize = 255;

    /// Accepts 1 to [`Self::MAX_BYTES`] bytes without control characters.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= Self::MAX_BYTES;
        (fits && !text.chars().any(char::is_control)).then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a client's user interface calls a message: an id of its own making, or one of ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct UiMessageId(String);

impl UiMessageId {
    /// The longest id that is accepted, in bytes (the `messages.ui_id` column's own check).
    pub const MAX_BYTES: usize = 255;

    /// Accepts 1 to [`Self::MAX_BYTES`] bytes without control characters.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= Self::MAX_BYTES;
        (fits && !text.chars().any(char::is_control)).then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as one of ours could look.
    pub fn as_uuid(&self) -> Option<Uuid> {
        self.0.parse().ok()
    }
}

/// A tool call's id, given by us and not by the provider: providers repeat theirs, and an id must
/// be unique in a turn over all its attempts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct ToolCallId(pub String);

impl ToolCallId {
    /// A fresh id in the alphabet that every provider accepts.
    pub fn generate() -> Self {
        Self(format!("call_{}", Uuid::now_v7().simple()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ToolCallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of a text or reasoning part, unique in its turn: `p1`, `p2`, … in order of appearance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartId(pub Arc<str>);

impl PartId {
    /// The id of the `n`-th part.
    pub fn nth(n: u32) -> Self {
        Self(format!("p{n}").into())
    }

    /// Which one it is; `None` if the name is no other than a name.
    pub fn number(&self) -> Option<u32> {
        self.0.strip_prefix('p')?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_id_is_bounded_and_printable() {
        assert!(UserId::parse("user-1").is_some());
        assert!(UserId::parse("").is_none());
        assert!(UserId::parse("a\0b").is_none());
        assert!(UserId::parse(&"x".repeat(256)).is_none());
    }

    #[test]
    fn a_ui_id_is_bounded_and_may_be_one_of_ours() {
        assert!(UiMessageId::parse("msg-aB3").is_some_and(|id| id.as_uuid().is_none()));
        assert!(UiMessageId::parse("").is_none());
        assert!(UiMessageId::parse("a\0").is_none());
        assert!(UiMessageId::parse(&"x".repeat(256)).is_none());
        let ours = MessageId::generate();
        assert_eq!(UiMessageId::parse(&ours.to_string()).unwrap().as_uuid(), Some(ours.0));
    }

    #[test]
    fn tool_call_ids_never_repeat() {
        assert_ne!(ToolCallId::generate(), ToolCallId::generate());
    }
}
