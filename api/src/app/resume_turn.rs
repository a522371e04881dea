//! Attaching to a turn that exists: which one, and from where (`spec/stream.md`, Cursor and resume).

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use copilot_shared::cursor::Cursor;
use copilot_shared::id::{SessionId, TurnId};
use copilot_shared::store::StoreError;
use copilot_shared::stream::{Meta, StreamError};
use copilot_shared::turn::Turn;

use super::{App, SessionError};
use crate::auth::Place;
use crate::relay::{Frames, Start};
use crate::sse::{Held, held_open};

/// How long a client waits for the answer's status before its stream is opened without one.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long to wait before PostgreSQL or Redis is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// Who wants to attach to what.
#[derive(Debug, Clone)]
pub struct Resume {
    /// Who asks, for which session.
    pub place: Place,
    /// The turn, if the client names one.
    pub turn: Option<TurnId>,
    /// What the client has already.
    pub cursor: Option<Cursor>,
}

/// What an attached client gets.
pub enum Attached {
    /// Chunks.
    Stream(Frames),
    /// Nothing: it has everything.
    Nothing,
}

/// Why a client cannot attach.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The session is not the caller's.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The session has no such turn.
    #[error("no such turn")]
    NoTurn(TurnId),
    /// The cursor is ahead of the stream.
    #[error("the cursor is ahead of the stream")]
    Future,
    /// What follows the cursor is only stored in compacted form.
    #[error("the cursor is older than what is retained")]
    Trimmed(Cursor),
    /// The stream is not stored any more, or the cursor is of another conversation.
    #[error("the stream is not retained")]
    Expired,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stream server failed.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl ResumeError {
    /// The same question may be answered later.
    fn is_passing(&self) -> bool {
        match self {
            Self::Session(SessionError::Store(error)) | Self::Store(error) => error.is_passing(),
            Self::Stream(error) => matches!(error, StreamError::Unavailable(_)),
            Self::Session(SessionError::NotFound(_))
            | Self::NoTurn(_)
            | Self::Future
            | Self::Trimmed(_)
            | Self::Expired => false,
        }
    }
}

/// What is decided before anything is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Follow(TurnId, Start),
    Nothing,
}

impl App {
    /// Attaches a client. If the servers are away it gets an open stream that begins later.
    pub async fn resume_turn(self: &Arc<Self>, resume: Resume) -> Result<Attached, ResumeError> {
        let app = Arc::clone(self);
        let mut deciding = Box::pin(async move { app.decide(&resume).await.map_err(|error| (error, resume)) });
        let Ok(decided) = tokio::time::timeout(PATIENCE, &mut deciding).await else {
            let app = Arc::clone(self);
            let held = async move { app.hold(deciding.await).await };
            return Ok(Attached::Stream(held_open(held, self.stop.clone())));
        };
        match decided {
            Ok(Decision::Follow(turn, start)) => Ok(Attached::Stream(self.relay.follow(turn, start))),
            Ok(Decision::Nothing) => Ok(Attached::Nothing),
            Err((error, resume)) if error.is_passing() => {
                let app = Arc::clone(self);
                let held = async move { app.hold(Err((error, resume))).await };
                Ok(Attached::Stream(held_open(held, self.stop.clone())))
            }
            Err((error, _)) => Err(error),
        }
    }

    /// Where a turn stands that a client knows of, and its place in the queue; 0 if it does not wait.
    pub async fn standing(&self, session: SessionId, turn: TurnId) -> Result<(Turn, i64), ResumeError> {
        let known = self.store.find_turn(session, turn).await?.ok_or(ResumeError::Expired)?;
        let queue = self.store.list_queue(session).await?;
        let position = queue.iter().find(|waiting| waiting.turn_id == turn).map_or(0, |waiting| waiting.position);
        Ok((known, position))
    }

    /// Decides again and again, until the servers are back.
    async fn hold(&self, mut decided: Result<Decision, (ResumeError, Resume)>) -> Held {
        loop {
            match decided {
                Ok(Decision::Follow(turn, start)) => return Held::Served(self.relay.follow(turn, start)),
                // The client asks again and gets 204 or the error as a status.
                Ok(Decision::Nothing) => return Held::Refused("there is nothing to stream"),
                Err((error, resume)) if error.is_passing() => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "a stream is held open");
                    tokio::time::sleep(PAUSE).await;
                    decided = self.decide(&resume).await.map_err(|error| (error, resume));
                }
                Err((error, _)) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "a held stream is refused");
                    return Held::Refused("the stream cannot be resumed");
                }
            }
        }
    }

    async fn decide(&self, resume: &Resume) -> Result<Decision, ResumeError> {
        let session = self.owned_session(&resume.place).await?.id;
        let Some(cursor) = resume.cursor else {
            return match resume.turn {
                None => {
                    let active = self.store.active_turn(session).await?;
                    Ok(active.map_or(Decision::Nothing, |turn| Decision::Follow(turn.id, Start::Compacted)))
                }
                Some(id) => {
                    let turn = self.store.find_turn(session, id).await?.ok_or(ResumeError::NoTurn(id))?;
                    self.decide_replay(&turn).await
                }
            };
        };
        if let Some(id) = resume.turn {
            self.store.find_turn(session, id).await?.ok_or(ResumeError::NoTurn(id))?;
            if id != cursor.turn_id {
                return Err(ResumeError::Expired);
            }
        }
        let turn = self.store.find_turn(session, cursor.turn_id).await?.ok_or(ResumeError::Expired)?;
        let stored = self.streams.meta(turn.id).await?;
        decide_by_cursor(cursor, self.known(&turn), stored)
    }

    async fn decide_replay(&self, turn: &Turn) -> Result<Decision, ResumeError> {
        if self.known(turn) == Known::Expiring && self.streams.meta(turn.id).await?.is_none() {
            return Err(ResumeError::Expired);
        }
        Ok(Decision::Follow(turn.id, Start::Compacted))
    }

    fn known(&self, turn: &Turn) -> Known {
        match turn.finished_at {
            None if turn.attempt.0 == 0 => Known::Unbegun,
            None => Known::Running,
            Some(at) if Utc::now() - at < chrono::TimeDelta::from_std(self.streams.ttl()).unwrap_or_default() => {
                Known::Ended
            }
            Some(_) => Known::Expiring,
        }
    }
}

/// What the row tells about the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// No attempt was made yet: there are no chunks.
    Unbegun,
    /// There are chunks, or will be.
    Running,
    /// It ended so lately that the stream must be there, or is sealed in a moment.
    Ended,
    /// It ended so long ago that the stream may be gone.
    Expiring,
}

/// From where a client with a cursor goes on.
fn decide_by_cursor(cursor: Cursor, known: Known, stored: Option<Meta>) -> Result<Decision, ResumeError> {
    let Cursor { turn_id, sequence } = cursor;
    let start = if sequence == 0 { Start::Everything } else { Start::After(sequence) };
    let Some(meta) = stored else {
        return match known {
            Known::Unbegun if sequence > 0 => Err(ResumeError::Future),
            Known::Expiring => Err(ResumeError::Expired),
            // The stream is about to begin or to be sealed, or it was lost: the relay tells which.
            Known::Unbegun | Known::Running | Known::Ended => Ok(Decision::Follow(turn_id, start)),
        };
    };
    if sequence > meta.last {
        return Err(ResumeError::Future);
    }
    if sequence < meta.base {
        return Err(ResumeError::Trimmed(Cursor { turn_id, sequence: meta.base }));
    }
    if meta.closed && sequence == meta.last {
        return Ok(Decision::Nothing);
    }
    Ok(Decision::Follow(turn_id, start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use copilot_shared::turn::Attempt;

    fn meta(last: u64, closed: bool, base: u64) -> Meta {
        Meta { attempt: Attempt(1), last, closed, base }
    }

    fn decide(sequence: u64, known: Known, stored: impl Into<Option<Meta>>) -> Result<Decision, ResumeError> {
        decide_by_cursor(Cursor { turn_id: TurnId(uuid::Uuid::nil()), sequence }, known, stored.into())
    }

    fn followed(start: Start) -> Decision {
        Decision::Follow(TurnId(uuid::Uuid::nil()), start)
    }

    #[test]
    fn zero_means_everything_also_before_there_is_a_stream() {
        for (known, stored) in [
            (Known::Unbegun, None),
            (Known::Running, None),
            (Known::Running, Some(meta(9, false, 0))),
            (Known::Ended, Some(meta(9, true, 0))),
            (Known::Expiring, Some(meta(9, true, 0))),
        ] {
            assert_eq!(decide(0, known, stored).unwrap(), followed(Start::Everything));
        }
    }

    #[test]
    fn a_cursor_is_followed_by_the_later_chunks_also_of_an_ended_turn() {
        assert_eq!(decide(4, Known::Running, meta(9, false, 0)).unwrap(), followed(Start::After(4)));
        assert_eq!(decide(4, Known::Ended, meta(9, true, 0)).unwrap(), followed(Start::After(4)));
        assert_eq!(decide(9, Known::Running, meta(9, false, 0)).unwrap(), followed(Start::After(9)));
    }

    #[test]
    fn the_end_of_an_ended_turn_is_followed_by_nothing() {
        assert_eq!(decide(9, Known::Ended, meta(9, true, 0)).unwrap(), Decision::Nothing);
    }

    #[test]
    fn a_cursor_of_the_future_is_refused() {
        assert!(matches!(decide(10, Known::Running, meta(9, false, 0)), Err(ResumeError::Future)));
        assert!(matches!(decide(10, Known::Ended, meta(9, true, 0)), Err(ResumeError::Future)));
        assert!(matches!(decide(1, Known::Unbegun, None), Err(ResumeError::Future)));
    }

    #[test]
    fn what_was_lost_is_never_passed_over() {
        for sequence in [0, 5, 999] {
            let refused = decide(sequence, Known::Running, meta(1_020, false, 1_000));
            assert!(matches!(refused, Err(ResumeError::Trimmed(at)) if at.sequence == 1_000));
        }
        assert_eq!(decide(1_000, Known::Running, meta(1_020, false, 1_000)).unwrap(), followed(Start::After(1_000)));
    }

    #[test]
    fn a_stream_that_ran_out_is_expired_and_one_that_was_lost_is_looked_for() {
        assert!(matches!(decide(3, Known::Expiring, None), Err(ResumeError::Expired)));
        assert!(matches!(decide(0, Known::Expiring, None), Err(ResumeError::Expired)));
        assert_eq!(decide(3, Known::Ended, None).unwrap(), followed(Start::After(3)));
        assert_eq!(decide(3, Known::Running, None).unwrap(), followed(Start::After(3)));
    }
}
