//! Accepting a message: validated, saved with its turn, published.

use copilot_shared::id::{MessageId, SessionId, TurnId};
use copilot_shared::message::{Part, strip_controls};
use copilot_shared::session::Caller;
use copilot_shared::store::{Idempotency, NewTurn, OnBusy, SubmitError, Submitted};
use copilot_shared::turn::Turn;
use poem::http::StatusCode;
use sha2::{Digest, Sha256};

use super::App;
use crate::body::no_nul;
use crate::problem::Problem;

/// The longest message, in characters.
const MAX_MESSAGE_CHARS: usize = 64_000;
/// The longest text that a page may add, in characters.
const MAX_CONTEXT_CHARS: usize = 256_000;
/// Files that one message may name.
const MAX_FILES: usize = 20;
/// The longest idempotency key, in bytes.
const MAX_KEY_BYTES: usize = 255;

/// What a client says, whichever form it used.
#[derive(Debug, Default)]
pub struct Submission {
    /// The text.
    pub message: String,
    /// The client's own id of the message.
    pub message_id: Option<String>,
    /// What the user was looking at: URL and content.
    pub context: Option<(String, String)>,
    /// Files.
    pub file_ids: Vec<String>,
    /// What to do if the session is busy.
    pub on_busy: Option<String>,
    /// The header `Idempotency-Key`.
    pub idempotency_key: Option<String>,
}

/// A turn that was accepted, now or before.
#[derive(Debug)]
pub struct Accepted {
    /// The turn.
    pub turn: Turn,
    /// Where it waits; 0 if it does not.
    pub position: i64,
    /// It was accepted before, under the same key.
    pub repeated: bool,
}

impl App {
    /// Accepts a message for a session that is known to be the caller's.
    pub async fn submit_turn(
        &self,
        caller: &Caller,
        session: SessionId,
        submission: Submission,
    ) -> Result<Accepted, Problem> {
        let new = validate(session, submission)?;
        let interrupts = new.on_busy == OnBusy::Interrupt;
        let submitted = self.store.submit(session, caller, &new).await.map_err(|error| refusal(error, session))?;
        match submitted {
            Submitted::Ready(turn) => {
                self.publish(&[turn.id]).await;
                Ok(Accepted { turn, position: 0, repeated: false })
            }
            Submitted::Waiting(turn, position) => {
                if interrupts {
                    self.interrupt(caller, session).await;
                }
                Ok(Accepted { turn, position, repeated: false })
            }
            Submitted::Repeated(turn) => Ok(Accepted { turn, position: 0, repeated: true }),
        }
    }
}

fn refusal(error: SubmitError, session: SessionId) -> Problem {
    match error {
        SubmitError::NotFound => Problem::no_session(&session.to_string()),
        SubmitError::TooManyTurns(cap) => {
            let sentence = format!("You already have {cap} messages in flight. Wait for one to be answered.");
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_turns", sentence).retry_after(5)
        }
        SubmitError::Busy(turn) => {
            Problem::new(StatusCode::CONFLICT, "turn_in_progress", "A turn of this session is in progress.").turn(turn)
        }
        SubmitError::KeyConflict => Problem::invalid(
            "idempotency_conflict",
            &["header", "Idempotency-Key"],
            "value_error",
            "the key was used for another request",
        ),
        SubmitError::MessageIdTaken => Problem::invalid(
            "idempotency_conflict",
            &["body", "message_id"],
            "value_error",
            "the message id belongs to another message",
        ),
        SubmitError::Store(error) => error.into(),
    }
}

fn validate(session: SessionId, submission: Submission) -> Result<NewTurn, Problem> {
    let text = message_text(&submission.message)?;
    let message_id = submission.message_id.as_deref().map(parse_message_id).transpose()?;
    let key = idempotency_key(message_id, submission.idempotency_key.as_deref())?;
    let files = file_ids(&submission.file_ids)?;
    let on_busy = on_busy(submission.on_busy.as_deref())?;
    let mut parts = Vec::new();
    if let Some((url, content)) = submission.context {
        no_nul("context", &url)?;
        no_nul("context", &content)?;
        if content.chars().count() > MAX_CONTEXT_CHARS || url.chars().count() > MAX_CONTEXT_CHARS {
            let msg = format!("must have at most {MAX_CONTEXT_CHARS} characters");
            return Err(Problem::field(&["body", "context"], "string_too_long", msg));
        }
        parts.push(Part::Context { url: strip_controls(&url), content: strip_controls(&content) });
    }
    parts.push(Part::Text { id: None, text });
    let idempotency = key.map(|key| Idempotency { key, body_hash: body_hash(session, &parts, &files) });
    Ok(NewTurn {
        id: TurnId::generate(),
        message_id: message_id.unwrap_or_else(MessageId::generate),
        parts,
        on_busy,
        idempotency,
    })
}

/// A message of 1 to [`MAX_MESSAGE_CHARS`] characters that is not blank.
pub(crate) fn message_text(message: &str) -> Result<String, Problem> {
    no_nul("message", message)?;
    if message.trim().is_empty() {
        return Err(Problem::field(&["body", "message"], "value_error", "must not be blank"));
    }
    if message.chars().count() > MAX_MESSAGE_CHARS {
        let msg = format!("must have at most {MAX_MESSAGE_CHARS} characters");
        return Err(Problem::field(&["body", "message"], "string_too_long", msg));
    }
    Ok(strip_controls(message))
}

fn parse_message_id(id: &str) -> Result<MessageId, Problem> {
    id.parse().map_err(|_| Problem::field(&["body", "message_id"], "uuid_parsing", "must be a UUID"))
}

fn idempotency_key(message_id: Option<MessageId>, header: Option<&str>) -> Result<Option<String>, Problem> {
    let loc = ["header", "Idempotency-Key"];
    if let Some(key) = header {
        let printable = key.bytes().all(|b| (0x20..0x7f).contains(&b));
        if key.is_empty() || key.len() > MAX_KEY_BYTES || !printable {
            let msg = format!("must be 1 to {MAX_KEY_BYTES} printable characters");
            return Err(Problem::field(&loc, "value_error", msg));
        }
    }
    match (message_id.map(|id| id.to_string()), header) {
        (Some(id), Some(key)) if !id.eq_ignore_ascii_case(key) => {
            let msg = "must equal message_id if both are given";
            Err(Problem::invalid("idempotency_conflict", &loc, "value_error", msg))
        }
        (Some(id), _) => Ok(Some(id)),
        (None, key) => Ok(key.map(str::to_owned)),
    }
}

/// Ids that are no UUIDs name no file and are left out (`usage-tools.md`, A9).
fn file_ids(ids: &[String]) -> Result<Vec<uuid::Uuid>, Problem> {
    if ids.len() > MAX_FILES {
        let msg = format!("List should have at most {MAX_FILES} items after validation, not {}", ids.len());
        return Err(Problem::field(&["body", "file_ids"], "too_long", msg));
    }
    Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
}

fn on_busy(word: Option<&str>) -> Result<OnBusy, Problem> {
    match word {
        None | Some("enqueue") => Ok(OnBusy::Enqueue),
        Some("reject") => Ok(OnBusy::Reject),
        Some("interrupt") => Ok(OnBusy::Interrupt),
        Some(_) => Err(Problem::field(&["body", "on_busy"], "enum", "must be enqueue, reject or interrupt")),
    }
}

/// What makes two bodies the same: the session and what is said, not how it should wait.
fn body_hash(session: SessionId, parts: &[Part], files: &[uuid::Uuid]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(session.0.as_bytes());
    hash.update(serde_json::to_vec(&(parts, files)).unwrap_or_default());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submission(message: &str) -> Submission {
        Submission { message: message.to_owned(), ..Submission::default() }
    }

    #[test]
    fn a_message_is_bounded_and_not_blank() {
        assert!(message_text(&"é".repeat(64_000)).is_ok());
        assert!(message_text(&"é".repeat(64_001)).is_err());
        assert!(message_text(" \n\t").is_err());
        assert!(message_text("a\0b").is_err());
        assert_eq!(message_text("a\u{7}b").unwrap(), "ab");
    }

    #[test]
    fn key_and_message_id_must_agree() {
        let id = MessageId::generate();
        assert_eq!(idempotency_key(Some(id), Some(&id.to_string())).unwrap(), Some(id.to_string()));
        assert!(idempotency_key(Some(id), Some("other")).is_err());
        assert_eq!(idempotency_key(None, Some("k")).unwrap().as_deref(), Some("k"));
        assert_eq!(idempotency_key(None, None).unwrap(), None);
        assert!(idempotency_key(None, Some("")).is_err());
        assert!(idempotency_key(None, Some(&"k".repeat(256))).is_err());
    }

    #[test]
    fn the_same_words_in_another_session_are_another_body() {
        let key = |session| {
            let submission = Submission { idempotency_key: Some("k".into()), ..submission("hello") };
            validate(session, submission).unwrap().idempotency.unwrap().body_hash
        };
        let session = SessionId::random();
        assert_eq!(key(session), key(session));
        assert_ne!(key(session), key(SessionId::random()));
    }

    #[test]
    fn files_that_are_no_uuids_are_left_out() {
        let ids = ["aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "not-a-uuid", "../../../etc/passwd", ""].map(String::from);
        assert_eq!(file_ids(&ids).unwrap().len(), 1);
        assert!(file_ids(&vec![String::new(); 20]).is_ok());
        assert!(file_ids(&vec![String::new(); 21]).is_err());
    }
}
