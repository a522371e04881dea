//! Where a client that comes (back) begins (`spec/stream.md`, Cursor and resume).

use copilot_shared::cursor::Cursor;
use copilot_shared::id::{SessionId, TurnId};
use copilot_shared::stream::Meta;
use copilot_shared::turn::{Turn, TurnStatus};
use poem::http::StatusCode;

use super::App;
use crate::problem::Problem;
use crate::relay::Start;

/// What a client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// A turn, from there.
    Follow(TurnId, Start),
    /// Nothing: it has everything.
    Nothing,
}

/// What a cursor is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Follow,
    Complete,
    Trimmed(u64),
    Expired,
    Future,
}

/// What is stored of a turn's stream.
#[derive(Debug, Clone, Copy)]
struct Retained {
    meta: Meta,
    /// The oldest chunk that is there; absent if none is.
    oldest: Option<u64>,
}

/// Judges a cursor by what is stored and how the turn stands.
fn judge(sequence: u64, retained: Option<Retained>, status: TurnStatus) -> Verdict {
    let Some(Retained { meta, oldest }) = retained else {
        return match status {
            TurnStatus::Completed | TurnStatus::Failed | TurnStatus::Cancelled => Verdict::Expired,
            TurnStatus::Queued if sequence > 0 => Verdict::Future,
            // Not begun, or lost a moment ago: the relay finds out which.
            TurnStatus::Queued | TurnStatus::Running => Verdict::Follow,
        };
    };
    let base = oldest.map_or(meta.base, |oldest| meta.base.max(oldest.saturating_sub(1)));
    if sequence > meta.last {
        Verdict::Future
    } else if sequence < base {
        Verdict::Trimmed(base)
    } else if meta.closed && sequence == meta.last {
        Verdict::Complete
    } else {
        Verdict::Follow
    }
}

impl App {
    /// What a client of a session gets that may bring a cursor: the turn of the cursor, else what
    /// is in flight.
    pub async fn resume_session(&self, session: SessionId, cursor: Option<&str>) -> Result<Resume, Problem> {
        if let Some(cursor) = cursor {
            let cursor = parse(cursor)?;
            let turn = self.store.find_turn(session, cursor.turn_id).await?.ok_or_else(expired)?;
            return self.resume_at(&turn, cursor).await;
        }
        let active = self.store.active_turn(session).await?;
        Ok(active.map_or(Resume::Nothing, |turn| Resume::Follow(turn.id, Start::Compacted)))
    }

    /// What a client of one turn gets.
    pub async fn resume_turn(&self, turn: &Turn, cursor: Option<&str>) -> Result<Resume, Problem> {
        if let Some(cursor) = cursor {
            let cursor = parse(cursor)?;
            if cursor.turn_id != turn.id {
                return Err(expired());
            }
            return self.resume_at(turn, cursor).await;
        }
        if turn.status.is_terminal() && self.streams.meta(turn.id).await?.is_none() && !self.is_recent(turn) {
            return Err(expired());
        }
        Ok(Resume::Follow(turn.id, Start::Compacted))
    }

    async fn resume_at(&self, turn: &Turn, cursor: Cursor) -> Result<Resume, Problem> {
        let retained = match self.streams.meta(turn.id).await? {
            Some(meta) => Some(Retained { meta, oldest: self.streams.oldest_sequence(turn.id).await? }),
            None => None,
        };
        match judge(cursor.sequence, retained, turn.status) {
            Verdict::Follow => Ok(Resume::Follow(turn.id, Start::After(cursor.sequence))),
            Verdict::Complete => Ok(Resume::Nothing),
            Verdict::Expired => Err(expired()),
            Verdict::Future => Err(invalid("The cursor lies behind the last chunk.")),
            Verdict::Trimmed(sequence) => {
                let sentence = "Chunks behind this cursor are no longer retained.";
                let checkpoint = Cursor { turn_id: turn.id, sequence };
                Err(Problem::new(StatusCode::CONFLICT, "cursor_trimmed", sentence).checkpoint(checkpoint))
            }
        }
    }

    /// An ended turn whose stream was lost before its time is rebuilt from the history.
    fn is_recent(&self, turn: &Turn) -> bool {
        let age = turn.finished_at.and_then(|at| (chrono::Utc::now() - at).to_std().ok());
        age.is_some_and(|age| age < self.settings.stream_ttl)
    }
}

fn parse(cursor: &str) -> Result<Cursor, Problem> {
    cursor.parse().map_err(|_| invalid("A cursor is <turn_id>:<sequence>."))
}

fn invalid(sentence: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_cursor", sentence)
}

fn expired() -> Problem {
    Problem::new(StatusCode::GONE, "expired", "The turn of this cursor is no longer retained.")
}

#[cfg(test)]
mod tests {
    use copilot_shared::turn::Attempt;

    use super::*;

    fn retained(last: u64, closed: bool) -> Option<Retained> {
        Some(Retained { meta: Meta { attempt: Attempt(1), last, closed, base: 0 }, oldest: Some(1) })
    }

    #[test]
    fn a_running_turn_is_followed_from_any_chunk_it_has() {
        for sequence in 0..=9 {
            assert_eq!(judge(sequence, retained(9, false), TurnStatus::Running), Verdict::Follow);
        }
        assert_eq!(judge(10, retained(9, false), TurnStatus::Running), Verdict::Future);
    }

    #[test]
    fn at_the_end_of_an_ended_turn_there_is_nothing_left() {
        assert_eq!(judge(9, retained(9, true), TurnStatus::Completed), Verdict::Complete);
        assert_eq!(judge(8, retained(9, true), TurnStatus::Completed), Verdict::Follow);
    }

    #[test]
    fn what_is_no_longer_retained_is_never_skipped_in_silence() {
        let trimmed =
            Some(Retained { meta: Meta { attempt: Attempt(1), last: 9, closed: false, base: 0 }, oldest: Some(5) });
        assert_eq!(judge(3, trimmed, TurnStatus::Running), Verdict::Trimmed(4));
        assert_eq!(judge(4, trimmed, TurnStatus::Running), Verdict::Follow);
        let anew =
            Some(Retained { meta: Meta { attempt: Attempt(2), last: 12, closed: false, base: 10 }, oldest: None });
        assert_eq!(judge(9, anew, TurnStatus::Running), Verdict::Trimmed(10));
        assert_eq!(judge(0, None, TurnStatus::Failed), Verdict::Expired);
    }

    #[test]
    fn a_turn_that_has_not_begun_is_waited_for() {
        assert_eq!(judge(0, None, TurnStatus::Queued), Verdict::Follow);
        assert_eq!(judge(1, None, TurnStatus::Queued), Verdict::Future);
    }
}
