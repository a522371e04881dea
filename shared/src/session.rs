//! A conversation and who may see it.

use chrono::{DateTime, Utc};

use crate::id::{SessionId, UserId};

/// A conversation.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Its owner; absent while nobody has claimed an anonymous session.
    pub user_id: Option<UserId>,
    /// Its name.
    pub title: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When something last happened in it.
    pub updated_at: DateTime<Utc>,
    /// Uncached input tokens of all its turns.
    pub total_prompt_tokens: i64,
    /// Output tokens of all its turns.
    pub total_completion_tokens: i64,
}

/// Who asks. Every read and write of a session names its caller, and a session of another caller
/// does not exist for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Somebody with a token.
    User(UserId),
    /// An admin in a user's name: sees and does what the user may, and is named as who did it.
    ActingAs {
        /// In whose name.
        user: UserId,
        /// Who it is.
        admin: UserId,
    },
    /// The bearer of an anonymous session's claim token: its SHA-256.
    Claim([u8; 32]),
}

impl Caller {
    /// The user whose sessions they are, if it is one's.
    pub fn user_id(&self) -> Option<&UserId> {
        match self {
            Self::User(user) | Self::ActingAs { user, .. } => Some(user),
            Self::Claim(_) => None,
        }
    }

    /// Who does what is done, as records name them.
    pub fn actor(&self) -> &str {
        match self {
            Self::User(user) => user.as_str(),
            Self::ActingAs { admin, .. } => admin.as_str(),
            Self::Claim(_) => "anonymous",
        }
    }

    /// The hash of the claim token, if it is the bearer of one.
    pub fn claim_hash(&self) -> Option<&[u8]> {
        match self {
            Self::User(_) | Self::ActingAs { .. } => None,
            Self::Claim(hash) => Some(hash),
        }
    }
}

/// A session's name: trimmed, never blank, bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Title(String);

impl Title {
    /// The longest title that a user may give, in characters.
    pub const MAX_CHARS: usize = 256;

    /// Trims; refuses what is blank or too long.
    pub fn parse(text: &str) -> Option<Self> {
        let text = crate::message::strip_controls(text.trim());
        let fits = !text.is_empty() && text.chars().count() <= Self::MAX_CHARS;
        fits.then_some(Self(text))
    }

    /// A title out of a model's answer: unquoted, one line, at most 50 characters
    /// (`core.md` §4.7).
    pub fn from_model(answer: &str) -> Option<Self> {
        let line = answer.trim().lines().next()?;
        let bare = line.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '“' | '”'));
        if bare.chars().count() > 50 {
            let head: String = bare.chars().take(47).collect();
            return Self::parse(&format!("{head}..."));
        }
        Self::parse(bare)
    }

    /// The title as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_in_a_users_name_sees_what_is_the_users_and_is_named_as_the_actor() {
        let user = |id| UserId::parse(id).unwrap();
        let acting = Caller::ActingAs { user: user("ann"), admin: user("root") };
        assert_eq!(acting.user_id(), Some(&user("ann")));
        assert_eq!((acting.actor(), acting.claim_hash()), ("root", None));
        assert_eq!(Caller::User(user("ann")).actor(), "ann");
        assert_eq!(Caller::Claim([0; 32]).actor(), "anonymous");
    }

    #[test]
    fn a_title_is_trimmed_and_never_blank() {
        assert_eq!(Title::parse("  trimmed  ").unwrap().as_str(), "trimmed");
        assert!(Title::parse("   ").is_none());
        assert!(Title::parse(&"x".repeat(257)).is_none());
    }

    #[test]
    fn a_models_title_loses_quotes_and_excess() {
        assert_eq!(Title::from_model("\"Quarterly plan\"\n").unwrap().as_str(), "Quarterly plan");
        let long = Title::from_model(&"é".repeat(60)).unwrap();
        assert_eq!(long.as_str().chars().count(), 50);
        assert!(long.as_str().ends_with("..."));
        assert!(Title::from_model("\"\"").is_none());
    }
}
