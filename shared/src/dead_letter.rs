//! A message that nobody could handle, and why.

use chrono::{DateTime, Utc};

use crate::id::{DeadLetterId, TurnId};

/// Why we give a message up. The broker has reasons of its own, which are kept as it spells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenUp {
    /// Every worker that took its turn died of it.
    AttemptsExhausted,
    /// Its body cannot be read.
    UnreadableMessage,
}

impl GivenUp {
    /// The word in the letter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::UnreadableMessage => "unreadable_message",
        }
    }
}

/// The broker's word for a message that it has given out too often.
pub const DELIVERY_LIMIT: &str = "delivery_limit";

/// A message that nobody could handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The same over every way that the letter takes, so that it is kept once.
    pub id: DeadLetterId,
    /// The turn that it names, as far as it can be read.
    pub turn_id: Option<TurnId>,
    /// Why nobody could handle it.
    pub reason: String,
    /// When it was given up.
    pub at: DateTime<Utc>,
    /// The message's body as it was.
    pub body: Vec<u8>,
}

impl DeadLetter {
    /// A message that we give up now.
    pub fn give_up(turn_id: Option<TurnId>, body: Vec<u8>, why: GivenUp) -> Self {
        Self { id: DeadLetterId::generate(), turn_id, reason: why.as_str().to_owned(), at: Utc::now(), body }
    }
}
