//! What is written down of an act that needs more power than an owner's.

use serde_json::{Map, Value};

use crate::id::UserId;

/// An act. Each has a stable word, by which records are found; new ones are added at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditAction {
    /// A request was made in another user's name.
    Impersonate,
    /// Turns of any user were listed.
    ListTurns,
    /// A stuck turn was published again.
    RequeueTurn,
    /// A user's turn was stopped.
    CancelTurn,
    /// The dead letters were read.
    ListDeadLetters,
    /// A dead letter was published again.
    ReplayDeadLetter,
    /// A user's limits and usage were read.
    ReadRateLimit,
    /// A user's usage counters were set to zero.
    ResetRateLimit,
    /// A user got limits of their own.
    SetRateLimit,
    /// A user was given credits.
    GrantCredits,
}

impl AuditAction {
    /// The word in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Impersonate => "impersonate",
            Self::ListTurns => "list_turns",
            Self::RequeueTurn => "requeue_turn",
            Self::CancelTurn => "cancel_turn",
            Self::ListDeadLetters => "list_dead_letters",
            Self::ReplayDeadLetter => "replay_dead_letter",
            Self::ReadRateLimit => "read_rate_limit",
            Self::ResetRateLimit => "reset_rate_limit",
            Self::SetRateLimit => "set_rate_limit",
            Self::GrantCredits => "grant_credits",
        }
    }
}

/// What an act is done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditTarget {
    /// A user, or what is theirs.
    User(UserId),
    /// A turn.
    Turn(crate::id::TurnId),
    /// A dead letter.
    DeadLetter(crate::id::DeadLetterId),
    /// Nothing in particular: a list over all users.
    Everything,
}

impl std::fmt::Display for AuditTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(user) => write!(f, "user:{user}"),
            Self::Turn(turn) => write!(f, "turn:{turn}"),
            Self::DeadLetter(letter) => write!(f, "dead_letter:{letter}"),
            Self::Everything => f.write_str("everything"),
        }
    }
}

/// A record in the making: who does what to whom. It is written before the act, and the act is not
/// done if it cannot be written: a record of something that failed afterwards does no harm, an act
/// without a record does.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRecord {
    /// Whose token it was.
    pub actor: UserId,
    /// In whose name, if not in their own.
    pub acting_as: Option<UserId>,
    /// What.
    pub action: AuditAction,
    /// To whom or what.
    pub target: AuditTarget,
    /// What else matters, without secrets: no tokens, no bodies of messages.
    pub details: Map<String, Value>,
}

impl AuditRecord {
    /// A record without details.
    pub fn new(actor: UserId, action: AuditAction, target: AuditTarget) -> Self {
        Self { actor, acting_as: None, action, target, details: Map::new() }
    }

    /// Done in another user's name.
    #[must_use]
    pub fn acting_as(self, user: UserId) -> Self {
        Self { acting_as: Some(user), ..self }
    }

    /// With a detail.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_says_what_it_is_and_a_detail_is_kept() {
        let ann = UserId::parse("ann").unwrap();
        let record = AuditRecord::new(ann.clone(), AuditAction::GrantCredits, AuditTarget::User(ann)).with("amount", 5);
        assert_eq!(record.target.to_string(), "user:ann");
        assert_eq!(record.details["amount"], 5);
        assert_eq!(AuditTarget::Everything.to_string(), "everything");
    }
}
