//! What the users did and saw, and what was done to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use copilot_shared::id::TurnId;
use tokio::time::Instant;
use uuid::Uuid;

use super::judge::Log;
use super::script::Script;
use crate::client::Event;

/// A message that was sent, perhaps more than once.
#[derive(Debug, Clone)]
pub struct Submission {
    pub message_id: Uuid,
    pub session: String,
    pub script: Script,
    /// What the message became while it waited.
    pub edit: Option<Edit>,
    pub on_busy: &'static str,
    /// The turn, if an answer ever said so: a submit may be accepted and its answer lost.
    pub turn: Option<TurnId>,
}

impl Submission {
    /// What its message may say in the end.
    pub fn scripts(&self) -> Vec<&Script> {
        match &self.edit {
            None => vec![&self.script],
            Some(edit) if edit.confirmed => vec![&edit.script],
            Some(edit) => vec![&self.script, &edit.script],
        }
    }
}

/// A waiting message was replaced by another.
#[derive(Debug, Clone)]
pub struct Edit {
    pub script: Script,
    /// The answer said so; otherwise there was none.
    pub confirmed: bool,
}

/// What a viewer of a turn had in the end.
#[derive(Debug)]
pub struct Seen {
    pub turn: TurnId,
    pub viewer: Viewer,
    pub events: Vec<Event>,
    pub ending: Ending,
}

/// How a viewer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Viewer {
    /// With a cursor, again and again.
    ByCursor,
    /// Without one.
    Compacted,
}

/// How a viewer's way ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With `[DONE]`, or at a cursor that was the end.
    Done,
    /// It was told that its stream was lost.
    StreamLost,
    /// Its cursor was refused with this status.
    Refused(u16),
    /// Nobody told it anything until the time was over.
    OutOfTime,
}

/// Everything that is noted.
#[derive(Default)]
pub struct Ledger {
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    submissions: Vec<Submission>,
    seen: Vec<Seen>,
    violations: BTreeSet<String>,
    counts: BTreeMap<&'static str, u64>,
    /// When workers were killed or hindered; true for a kill.
    worker_faults: Vec<(Instant, bool)>,
    takeover_pauses: Vec<Duration>,
    lost_streams: BTreeSet<TurnId>,
    /// Streams that were read before Redis was emptied.
    kept_logs: BTreeMap<TurnId, Log>,
    refused: BTreeSet<Uuid>,
    dropped: BTreeSet<TurnId>,
    /// From the last fault until nothing was in flight.
    settled_after: Option<Duration>,
}

impl Ledger {
    pub fn submitted(&self, submission: Submission) {
        self.lock().submissions.push(submission);
    }

    pub fn saw(&self, seen: Seen) {
        self.lock().seen.push(seen);
    }

    pub fn violation(&self, what: impl Into<String>) {
        let what = what.into();
        if self.lock().violations.insert(what.clone()) {
            eprintln!("chaos: violation: {what}");
        }
    }

    pub fn count(&self, what: &'static str) {
        *self.lock().counts.entry(what).or_default() += 1;
    }

    /// How often it was noted.
    pub fn counted(&self, what: &str) -> u64 {
        self.lock().counts.get(what).copied().unwrap_or(0)
    }

    pub fn worker_fault(&self, killed: bool) {
        self.lock().worker_faults.push((Instant::now(), killed));
    }

    /// A viewer sees an answer begin again: how long after the kill, if a kill was the cause.
    pub fn saw_retry(&self) {
        let mut notes = self.lock();
        if let Some(&(at, true)) = notes.worker_faults.last()
            && at.elapsed() < Duration::from_secs(20)
        {
            notes.takeover_pauses.push(at.elapsed());
        }
    }

    pub fn lost_stream(&self, turn: TurnId) {
        self.lock().lost_streams.insert(turn);
    }

    /// All that Redis had is gone: of these turns the streams were complete, and are kept here.
    pub fn lost_all_streams(&self, turns: impl IntoIterator<Item = TurnId>, complete: BTreeMap<TurnId, Log>) {
        let mut notes = self.lock();
        notes.lost_streams.extend(turns);
        for (turn, log) in complete {
            notes.kept_logs.entry(turn).or_insert(log);
        }
    }

    pub fn has_log(&self, turn: TurnId) -> bool {
        self.lock().kept_logs.contains_key(&turn)
    }

    /// Hands over the streams that were read before Redis lost them.
    pub fn take_kept_logs(&self) -> BTreeMap<TurnId, Log> {
        std::mem::take(&mut self.lock().kept_logs)
    }

    /// A submit was refused: nothing of it may ever be seen.
    pub fn refused(&self, message_id: Uuid) {
        self.lock().refused.insert(message_id);
    }

    pub fn refusals(&self) -> BTreeSet<Uuid> {
        self.lock().refused.clone()
    }

    /// A waiting turn was dropped, and the answer said so.
    pub fn dropped(&self, turn: TurnId) {
        self.lock().dropped.insert(turn);
    }

    pub fn drops(&self) -> BTreeSet<TurnId> {
        self.lock().dropped.clone()
    }

    /// Nothing is in flight any more; the last fault was then.
    pub fn settled(&self, quiet_since: Instant) {
        self.lock().settled_after = Some(quiet_since.elapsed());
    }

    pub fn settled_after(&self) -> Option<Duration> {
        self.lock().settled_after
    }

    /// A waiting message was replaced.
    pub fn edited(&self, message_id: Uuid, edit: Edit) {
        let mut notes = self.lock();
        if let Some(submission) = notes.submissions.iter_mut().find(|submission| submission.message_id == message_id) {
            submission.edit = Some(edit);
        }
    }

    pub fn submissions(&self) -> Vec<Submission> {
        self.lock().submissions.clone()
    }

    /// Hands over what viewers saw.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.lock().seen)
    }

    pub fn lost_streams(&self) -> BTreeSet<TurnId> {
        self.lock().lost_streams.clone()
    }

    pub fn violations(&self) -> Vec<String> {
        self.lock().violations.iter().cloned().collect()
    }

    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.lock().counts.clone()
    }

    /// From a kill to the first chunk that a viewer got after it, shortest first.
    pub fn takeover_pauses(&self) -> Vec<Duration> {
        let mut pauses = self.lock().takeover_pauses.clone();
        pauses.sort_unstable();
        pauses
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
