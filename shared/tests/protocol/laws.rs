//! The laws: what must hold after every step, and what must hold once everything has come to rest.
//!
//! They keep their own record of what was promised, and never ask a mechanism whether it worked.

mod always;
mod rest;
mod viewer;

use crate::model::database::{CallRow, Database, NewTurn, OnBusy, StepCommit, Submitted, TurnRow};
use crate::model::streams::{Meta, Streams};
use crate::model::windows::Windows;
use crate::model::{Attempt, CallId, SESSIONS, TURNS, TurnId, Turns};
use crate::process::call::Call;
use viewer::{Published, Viewer};

/// What is remembered to judge by.
#[derive(Debug, Default)]
pub struct Laws {
    /// The first law that was broken.
    broken: Option<String>,
    /// Turns that have ended, each as it was then.
    ended: [Option<TurnRow>; TURNS],
    /// Turns that were ready when they were last looked at.
    ready: Turns,
    /// Turns whose user wants them stopped.
    pub(self) stopped: Turns,
    /// Turns that were dropped before they ran.
    dropped: Turns,
    /// Interrupts that have stopped what ran.
    interrupts: Turns,
    /// Turns that a client was told of.
    accepted: Turns,
    /// The words of the user that the model was given.
    read: [Option<u16>; TURNS],
    /// What providers reported, and what was estimated of what they did not.
    reports: Vec<(TurnId, StepCommit)>,
    /// How often each tool call was started, and whether more than once is too often.
    starts: Vec<(u8, bool)>,
    /// The newest attempt that each stream has heard of.
    newest: [Attempt; TURNS],
    /// What clients of each turn may have.
    published: [Published; TURNS],
    /// One client for each turn that is there all the time.
    viewers: [Viewer; TURNS],
    /// Is it quick enough to read every batch as it is stored?
    pub viewers_are_eager: bool,
    /// Streams that were taken for ones that never began (`deploy/RELIABILITY.md`, What is not
    /// promised).
    mistaken: Turns,
    /// Streams that Redis has lost, or the end of them.
    lost: Turns,
    /// Redis has lost the counters.
    counters_lost: bool,
    /// Reservations that were found to be nobody's, as a set of tickets.
    doomed: u64,
    /// Turns that had their reservation when they were accepted.
    reserved: Turns,
    /// Streams that once had their last chunk.
    closed: Turns,
}

/// What the laws must know of the time before a call.
#[derive(Debug, Clone, Copy, Default)]
pub struct Before {
    row: Option<TurnRow>,
    ledger: Option<[CallRow; 2]>,
    holder_lives: bool,
    meta: Option<Meta>,
    waiting: bool,
}

impl Laws {
    /// Forgets everything.
    pub fn reset(&mut self) {
        self.reports.clear();
        self.starts.clear();
        self.published.iter_mut().for_each(Published::reset);
        let (reports, starts) = (std::mem::take(&mut self.reports), std::mem::take(&mut self.starts));
        let published = std::mem::take(&mut self.published);
        *self = Self { reports, starts, published, ..Self::default() };
    }

    /// The first law that was broken, in words.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// A law is broken.
    pub fn violate(&mut self, what: impl FnOnce() -> String) {
        if self.broken.is_none() {
            self.broken = Some(what());
        }
    }

    /// A client was told what became of its submit.
    pub fn answered(&mut self, db: &Database, new: &NewTurn, submitted: Submitted) {
        match submitted {
            Submitted::Ready(turn) | Submitted::Steering(_, turn) => self.accepted.insert(turn),
            Submitted::Waiting(turn) => {
                self.accepted.insert(turn);
                if new.on_busy == OnBusy::Interrupt && !self.interrupts.contains(turn) {
                    self.violate(|| format!("{turn:?} was to interrupt what ran, and nobody was told to stop"));
                }
            }
            Submitted::Repeated(turn) => {
                let interrupted = self.interrupts.contains(turn) || !db.turn(turn).is_waiting();
                if new.on_busy == OnBusy::Interrupt && !interrupted {
                    self.violate(|| format!("{turn:?}, sent again, was to interrupt what runs, and nobody was told"));
                }
            }
            Submitted::TooManyTurns | Submitted::Busy(_) | Submitted::KeyConflict | Submitted::Broken(_) => {}
        }
    }

    /// Redis has lost a stream, or its end.
    pub fn lose_stream(&mut self, turn: TurnId) {
        self.lost.insert(turn);
    }

    /// Redis has lost the counters, and with them this week's counts.
    pub fn lose_counters(&mut self) {
        self.counters_lost = true;
    }

    /// A model is asked: whoever is limited has reserved what the turn may use.
    pub fn spends(&mut self, db: &Database, windows: &Windows, turn: TurnId) {
        let row = db.turn(turn);
        let gone = self.reserved.contains(turn) && windows.held[row.ticket.at()].is_none();
        if gone && !self.counters_lost && row.is_in_flight() {
            self.violate(|| format!("{turn:?} asks its model and has no reservation any more"));
        }
    }

    /// The model of a turn was given these words.
    pub fn read_text(&mut self, turn: TurnId, text: u16) {
        self.read[turn.at()] = Some(text);
    }

    /// A model is asked in the name of a turn that lost so many workers.
    pub fn asked(&mut self, turn: TurnId, losses: u8) {
        if losses > crate::process::attempt::MAX_LOSSES {
            self.violate(|| format!("{turn:?} is tried again after {losses} losses"));
        }
    }

    /// A model call ended.
    pub fn reported(&mut self, turn: TurnId, step: &StepCommit) {
        self.reports.push((turn, *step));
    }

    /// A model asked for a tool.
    pub fn declare(&mut self, never: bool) {
        self.starts.push((0, never));
    }

    /// Tools begin to work.
    pub fn started(&mut self, calls: &[CallId]) {
        for call in calls {
            let (starts, never) = &mut self.starts[call.at()];
            *starts += 1;
            if *never && *starts > 1 {
                self.violate(|| format!("{call:?} must not be repeated and was started twice"));
            }
        }
    }

    /// Looks at what a call may change.
    pub fn look(db: &Database, streams: &Streams, call: &Call) -> Before {
        let mut before = Before::default();
        match call {
            Call::Append(batch) => before.meta = streams.meta(batch.turn),
            Call::Claim { turn, .. } => {
                let row = *db.turn(*turn);
                before.holder_lives = row.worker.is_some_and(|holder| db.locks[holder.at()]);
                before.row = Some(row);
            }
            Call::RequestCancelBefore(_, turn) => before.waiting = db.turn(*turn).is_waiting(),
            _ => {
                if let Some((turn, attempt)) = call.writes_as()
                    && attempt < db.turn(turn).attempt
                {
                    before.row = Some(*db.turn(turn));
                    before.ledger = ledger_of(db, turn);
                }
            }
        }
        before
    }
}

/// The newest two calls of a turn.
fn ledger_of(db: &Database, turn: TurnId) -> Option<[CallRow; 2]> {
    let mut calls = db.calls.iter().rev().filter(|call| call.turn == turn);
    let newest = *calls.next()?;
    Some([newest, calls.next().copied().unwrap_or(newest)])
}

/// Every session's number.
fn sessions() -> impl Iterator<Item = crate::model::SessionId> {
    (0..SESSIONS).map(|at| crate::model::SessionId(u8::try_from(at).unwrap_or(0)))
}
