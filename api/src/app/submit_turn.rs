//! Accepting a message: what it may use is reserved, the turn that answers it is saved, then published.

use copilot_shared::analytics::Event;
use copilot_shared::id::{FileId, MessageId, TurnId, UiMessageId};
use copilot_shared::message::{Part, Speaker, file_line, shown_bytes, told_text};
use copilot_shared::meter::MeterError;
use copilot_shared::seal::{SealError, seal};
use copilot_shared::session::{Caller, Session};
use copilot_shared::store::{Dropped, Idempotency, NewTurn, OnBusy, Resubmitted, StoreError, SubmitError, Submitted};
use copilot_shared::stream::StreamError;
use copilot_shared::turn::{Turn, TurnStatus};
use copilot_shared::workspace::{File, WorkspaceError};
use sha2::{Digest, Sha256};

use super::App;
use super::attachments::{InlineFile, part};
use super::regenerate_turn::Regeneration;
use crate::relay::{Frames, Start};

/// What a client wants answered.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// A message.
    Message(Submission),
    /// An earlier message, once more.
    Again(Regeneration),
}

/// A message that a client submits.
#[derive(Debug, Clone)]
pub struct Submission {
    /// What is said.
    pub text: String,
    /// What the user was looking at: where it was, and what it said.
    pub context: Option<(String, String)>,
    /// Files that belong to the message.
    pub file_ids: Vec<FileId>,
    /// Files that come with it.
    pub files: Vec<InlineFile>,
    /// The message's id, if the client chose it.
    pub message_id: Option<MessageId>,
    /// What the client's user interface calls the message.
    pub ui_id: Option<UiMessageId>,
    /// Who says it.
    pub speaker: Speaker,
    /// The message whose place it takes, with all that followed.
    pub instead_of: Option<UiMessageId>,
    /// What makes the submit the same as an earlier one.
    pub key: Option<String>,
    /// What to do if the session is busy.
    pub on_busy: OnBusy,
}

/// What became of a submission.
pub struct Accepted {
    /// The turn.
    pub turn: Turn,
    /// Where it waits; 0 if it does not.
    pub position: i64,
    /// The chunks as they come, or a replay if it was submitted before.
    pub start: Start,
}

/// What a turn is expected to use.
pub(super) struct Reserves {
    /// The turn.
    pub(super) turn: TurnId,
    /// Bytes of the message.
    pub(super) said: usize,
}

/// Why a message was not accepted. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum SubmitTurnError {
    /// A usage limit, or nobody knows.
    #[error(transparent)]
    Usage(#[from] MeterError),
    /// The session, the key, a cap, or the store.
    #[error(transparent)]
    Refused(#[from] SubmitError),
    /// A file that came with it cannot be taken here.
    #[error("files cannot be sent with a message here")]
    UnsupportedFile,
    /// It says nothing, and the files that it names are nobody's.
    #[error("the message is blank")]
    Blank,
    /// A file that came with it was not stored.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
}

impl From<StoreError> for SubmitTurnError {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}

/// Why a stream cannot be attached to.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The stream server failed.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The stream could not be rebuilt.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl App {
    /// Accepts what a client wants answered.
    pub async fn answer(
        &self,
        session: &Session,
        caller: &Caller,
        wanted: Wanted,
    ) -> Result<Accepted, SubmitTurnError> {
        match wanted {
            Wanted::Message(submission) => Box::pin(self.submit_turn(session, caller, submission)).await,
            Wanted::Again(regeneration) => Box::pin(self.regenerate_turn(session, caller, regeneration)).await,
        }
    }

    /// Accepts a message, or attaches to the turn that it was accepted as before.
    pub async fn submit_turn(
        &self,
        session: &Session,
        caller: &Caller,
        submission: Submission,
    ) -> Result<Accepted, SubmitTurnError> {
        let idempotency = idempotency(session, &submission);
        // A repeated submit attaches whatever the limits say, reserves nothing and stores nothing.
        if let Some(idempotency) = &idempotency
            && let Some(turn) = self.store.find_submitted(session.id, caller, idempotency).await?
        {
            return self.attached(turn, submission.on_busy, caller).await;
        }
        let user = caller.user_id();
        let files = Box::pin(self.attach_files(session.id, user, &submission.file_ids, &submission.files)).await?;
        if files.files.is_empty() && submission.text.trim().is_empty() {
            return Err(SubmitTurnError::Blank);
        }
        let new = new_turn(&submission, &files.files, idempotency);
        let write = Box::pin(self.write(session, caller, &new, &submission));
        let reserves = Reserves { turn: new.id, said: new.parts.iter().map(said_chars).sum() };
        let done = self.within_limits(caller, reserves, write).await;
        if let Some(user) = user
            && is_surely_unused(&done)
        {
            self.detach(user, &files.made).await;
        }
        let done = done?;
        self.tell_of_message(session, caller, &new, &done.submitted);
        if let Submitted::Waiting(turn, _) = &done.submitted
            && new.on_busy == OnBusy::Interrupt
        {
            self.stop_what_runs_before(turn, caller).await?;
        }
        self.accepted(done, new.on_busy, caller).await
    }

    async fn write(
        &self,
        session: &Session,
        caller: &Caller,
        new: &NewTurn,
        submission: &Submission,
    ) -> Result<Resubmitted, SubmitError> {
        match &submission.instead_of {
            Some(old) => self.store.rewrite(session.id, caller, new, old).await,
            None => self.store.submit(session.id, caller, new).await.map(Resubmitted::from),
        }
    }

    /// Does what follows from a submit. All of it is in the rows already: whoever comes next does it
    /// if we die.
    pub(super) async fn accepted(
        &self,
        done: Resubmitted,
        on_busy: OnBusy,
        caller: &Caller,
    ) -> Result<Accepted, SubmitTurnError> {
        if let Some(stopped) = done.stopped {
            self.tell_workers_to_stop(stopped).await;
        }
        self.see_off(Dropped { turns: done.dropped, next: Vec::new() }).await;
        match done.submitted {
            Submitted::Ready(turn) => {
                self.publish_soon([turn.id]);
                Ok(Accepted { turn, position: 0, start: Start::Everything })
            }
            Submitted::Waiting(turn, _) => {
                // What interrupts went before those that waited already.
                let position = self.store.position(turn.id).await?;
                Ok(Accepted { turn, position, start: Start::Everything })
            }
            Submitted::Steering(turn) | Submitted::Repeated(turn) => self.attached(turn, on_busy, caller).await,
        }
    }

    fn tell_of_message(&self, session: &Session, caller: &Caller, new: &NewTurn, submitted: &Submitted) {
        let turn_id = match submitted {
            Submitted::Ready(turn) | Submitted::Waiting(turn, _) | Submitted::Steering(turn) => turn.id,
            Submitted::Repeated(_) => return,
        };
        let message_length = told_text(&new.parts).chars().count();
        self.analytics.capture(session.id, caller.user_id(), Event::MessageSent { turn_id, message_length });
    }

    /// Reserves, then writes; what was reserved for a turn that was not accepted is given back.
    pub(super) async fn within_limits(
        &self,
        caller: &Caller,
        Reserves { turn, said }: Reserves,
        write: impl Future<Output = Result<Resubmitted, SubmitError>>,
    ) -> Result<Resubmitted, SubmitTurnError> {
        let Some(user) = caller.user_id() else { return Ok(write.await?) };
        self.usage.meter.reserve(user, turn, said).await?;
        let done = write.await;
        match done.as_ref().map(|done| &done.submitted) {
            Ok(Submitted::Ready(_) | Submitted::Waiting(..) | Submitted::Steering(_)) => {}
            // The turn may be there, and only the answer lost. If it is not, the reconciler finds
            // a reservation without a turn.
            Err(SubmitError::Store(error)) if error.is_passing() => {}
            Ok(Submitted::Repeated(_)) | Err(_) => self.usage.meter.release(user, turn).await,
        }
        Ok(done?)
    }

    pub(super) async fn attached(
        &self,
        turn: Turn,
        on_busy: OnBusy,
        caller: &Caller,
    ) -> Result<Accepted, SubmitTurnError> {
        // The first try may have ended between its two statements.
        if on_busy == OnBusy::Interrupt {
            self.stop_what_runs_before(&turn, caller).await?;
        }
        let position = if turn.status == TurnStatus::Queued { self.store.position(turn.id).await? } else { 0 };
        Ok(Accepted { turn, position, start: Start::Compacted })
    }

    /// The chunks of an accepted turn. The stream of an ended one is rebuilt if it is gone: the
    /// same key attaches whatever the turn's state.
    pub async fn attach(&self, accepted: &Accepted) -> Result<Frames, AttachError> {
        if accepted.turn.status.is_terminal() && self.streams.meta(accepted.turn.id).await?.is_none() {
            seal(&self.store, &self.streams, &accepted.turn).await?;
        }
        Ok(self.relay.follow(accepted.turn.id, accepted.start))
    }

    async fn stop_what_runs_before(&self, turn: &Turn, caller: &Caller) -> Result<(), StoreError> {
        let stopped = self.store.request_cancel_before(turn.session_id, turn.id, by(caller)).await?;
        if let Some(stopped) = stopped {
            self.tell_workers_to_stop(stopped).await;
        }
        Ok(())
    }

    /// Tells every worker. If nobody hears it, the holder finds the intent at its next renewal.
    pub(super) async fn tell_workers_to_stop(&self, turn: TurnId) {
        if let Err(error) = self.publisher.publish_cancel(turn).await {
            tracing::warn!(turn.id = %turn, error = &error as &dyn std::error::Error, "a cancel could not be published");
        }
    }
}

/// What a part costs a model, about, in bytes of text.
pub(super) fn said_chars(part: &Part) -> usize {
    match part {
        Part::Text { text, .. } | Part::Reasoning { text, .. } => text.len(),
        Part::Context { url, content } => url.len() + content.len(),
        Part::File { .. } => shown_bytes(part) + file_line(part).map_or(0, |line| line.len()),
        Part::ToolCall { .. } | Part::ToolResult { .. } | Part::Compaction { .. } => 0,
    }
}

/// Who cancels, as the turn's record names them.
pub(super) fn by(caller: &Caller) -> &str {
    caller.actor()
}

/// Are the files of a submit nobody's? Those of a turn that may be there all the same are kept.
fn is_surely_unused(done: &Result<Resubmitted, SubmitTurnError>) -> bool {
    match done.as_ref().map(|done| &done.submitted) {
        Ok(Submitted::Ready(_) | Submitted::Waiting(..) | Submitted::Steering(_)) => false,
        Err(SubmitTurnError::Refused(SubmitError::Store(error))) => !error.is_passing(),
        Ok(Submitted::Repeated(_)) | Err(_) => true,
    }
}

fn idempotency(session: &Session, submission: &Submission) -> Option<Idempotency> {
    let key = submission.key.clone().or_else(|| submission.message_id.map(|id| id.to_string()))?;
    Some(Idempotency { key, body_hash: body_hash(session, submission) })
}

fn new_turn(submission: &Submission, files: &[File], idempotency: Option<Idempotency>) -> NewTurn {
    let context = submission.context.clone().map(|(url, content)| Part::Context { url, content });
    // A message may be nothing but its files.
    let text = Some(submission.text.clone()).filter(|text| !text.trim().is_empty());
    let text = text.map(|text| Part::Text { id: None, text });
    let parts: Vec<Part> = context.into_iter().chain(text).chain(files.iter().map(part)).collect();
    let message_id = submission.message_id.unwrap_or_else(MessageId::generate);
    NewTurn {
        id: TurnId::generate(),
        message_id,
        ui_id: submission.ui_id.clone(),
        speaker: submission.speaker,
        parts,
        on_busy: submission.on_busy,
        idempotency,
    }
}

/// What the body means: what to do while the session is busy is no part of it, nor is what has
/// become of its files since, and neither is what is as usual.
fn body_hash(session: &Session, submission: &Submission) -> [u8; 32] {
    let Submission { text, context, file_ids, files, instead_of, speaker, .. } = submission;
    let files: Vec<_> = files.iter().map(|file| (&file.name, &file.mime_type, file.hash())).collect();
    let usual = serde_json::json!([session.id, context, text, file_ids, files]);
    let meaning = match (instead_of, speaker) {
        (None, Speaker::User) => usual,
        (instead_of, speaker) => serde_json::json!([usual, instead_of, speaker]),
    };
    Sha256::digest(meaning.to_string()).into()
}

#[cfg(test)]
mod tests;
