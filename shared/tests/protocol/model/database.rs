//! PostgreSQL: the rows, and one function for each statement or transaction of
//! [`copilot_shared::store`], which it is named after.
//!
//! A transaction is one step here, since the locks that it takes (`shared/src/store.rs`) make it
//! one for everybody who decides over the same rows. Where a mechanism that is such a lock is taken
//! away, the process calls the halves of the transaction as two steps.

mod attempts;
mod cancels;
mod outbox;
mod queue;
mod reconcile;
mod steering;
mod submit;
mod turns;
mod usage;

pub use attempts::{CallRow, CallStatus, Claimed, Finished, StepCommit};
pub use cancels::{Dropped, Seen};
pub use submit::{Key, NewTurn, OnBusy, Submitted, Traffic};
pub use usage::UnsettledRow;

use super::chunk::{ErrorCode, Outcome, Said, Status};
use super::{Attempt, CallId, PROCESSES, ProcessId, SESSIONS, SessionId, TURNS, Tick, Ticket, TurnId, Turns, UserId};
use crate::mechanism::{Mechanism, Mechanisms};

/// A row of `turns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnRow {
    pub ticket: Ticket,
    pub session: SessionId,
    pub user: Option<UserId>,
    pub priority: u8,
    pub status: Status,
    pub ready_at: Option<Tick>,
    pub attempt: Attempt,
    pub losses: u8,
    pub worker: Option<ProcessId>,
    pub lease_until: Tick,
    pub steps: u8,
    pub chunk_sequence: u32,
    pub cancel_requested_at: Option<Tick>,
    pub created_at: Tick,
    pub started: bool,
    pub finished_at: Option<Tick>,
    pub error: Option<ErrorCode>,
    pub sealed: bool,
    pub used: u32,
    pub steers: Option<TurnId>,
    /// The row is gone: its message became part of the turn that it steered.
    pub deleted: bool,
}

impl TurnRow {
    /// Queued or running.
    pub fn is_in_flight(&self) -> bool {
        !self.deleted && !self.status.is_terminal()
    }

    /// In flight, and waiting behind nothing.
    pub fn is_ready(&self) -> bool {
        self.is_in_flight() && self.ready_at.is_some()
    }

    /// Behind another turn, or its user's cap.
    pub fn is_waiting(&self) -> bool {
        !self.deleted && self.status == Status::Queued && self.ready_at.is_none()
    }
}

/// Who speaks in a row of `messages`, and what is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// The user's words, which an edit replaces.
    User(u16),
    /// What a model call said.
    Assistant(Said),
    /// The outcome of a call.
    Tool(CallId, Outcome),
}

/// A row of `messages`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageRow {
    pub session: SessionId,
    pub turn: TurnId,
    pub sequence: Option<u16>,
    pub content: Content,
}

/// A row of `turn_steps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepRow {
    pub turn: TurnId,
    pub step: u8,
    pub used: u32,
    pub estimated: bool,
}

/// A row of `outbox`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxRow {
    pub due_at: Tick,
    pub publishes: u8,
}

/// A row of `idempotency_keys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRow {
    pub key: Key,
    pub turn: TurnId,
}

/// A row of `sessions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionRow {
    pub next_sequence: u16,
    pub used: u32,
}

/// Why a statement failed in a way that trying again does not heal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// `turns_one_at_a_time`.
    OneAtATime,
    /// `turn_steps_pkey`.
    StepKey,
    /// `tool_calls_pkey`.
    CallKey,
}

/// Why a write of an attempt had no effect (`copilot_shared::store::Fenced`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// A newer attempt exists, or the turn has ended.
    Fenced,
    /// A constraint.
    Broken(Broken),
}

/// What the store decides by (`copilot_shared::store::StoreSettings`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    pub lease: Tick,
    pub max_running: usize,
    pub max_in_flight: usize,
}

/// How long the publisher of a saved turn has before a dispatcher takes over.
const DISPATCH_GRACE: Tick = 2 * super::SECOND;

/// The server.
#[derive(Debug)]
pub struct Database {
    pub now: Tick,
    pub settings: Settings,
    pub mechanisms: Mechanisms,
    pub sessions: [SessionRow; SESSIONS],
    pub turns: Vec<TurnRow>,
    pub messages: Vec<MessageRow>,
    pub steps: Vec<StepRow>,
    pub calls: Vec<CallRow>,
    pub outbox: [Option<OutboxRow>; TURNS],
    pub keys: Vec<KeyRow>,
    pub unsettled: Vec<UnsettledRow>,
    /// The advisory locks by which workers show their life.
    pub locks: [bool; PROCESSES],
}

impl Default for Database {
    fn default() -> Self {
        Self {
            now: 0,
            settings: Settings { lease: 10 * super::SECOND, max_running: 0, max_in_flight: 0 },
            mechanisms: Mechanisms::default(),
            sessions: [SessionRow { next_sequence: 1, used: 0 }; SESSIONS],
            turns: Vec::new(),
            messages: Vec::new(),
            steps: Vec::new(),
            calls: Vec::new(),
            outbox: [None; TURNS],
            keys: Vec::new(),
            unsettled: Vec::new(),
            locks: [false; PROCESSES],
        }
    }
}

impl Database {
    /// Empties the tables.
    pub fn reset(&mut self, settings: Settings, mechanisms: Mechanisms) {
        self.now = 0;
        self.settings = settings;
        self.mechanisms = mechanisms;
        self.sessions = [SessionRow { next_sequence: 1, used: 0 }; SESSIONS];
        self.turns.clear();
        self.messages.clear();
        self.steps.clear();
        self.calls.clear();
        self.outbox = [None; TURNS];
        self.keys.clear();
        self.unsettled.clear();
        self.locks = [false; PROCESSES];
    }

    /// Is the mechanism in force?
    pub fn has(&self, mechanism: Mechanism) -> bool {
        self.mechanisms.has(mechanism)
    }

    /// A row of `turns`.
    pub fn turn(&self, turn: TurnId) -> &TurnRow {
        &self.turns[turn.at()]
    }

    fn turn_mut(&mut self, turn: TurnId) -> &mut TurnRow {
        &mut self.turns[turn.at()]
    }

    /// Every row with its id.
    pub fn rows(&self) -> impl Iterator<Item = (TurnId, &TurnRow)> {
        (0..).map(TurnId).zip(&self.turns).filter(|(_, row)| !row.deleted)
    }

    /// The row, while the attempt may write it: `attempt = $n AND status = 'running'`.
    fn held(&mut self, turn: TurnId, attempt: Attempt) -> Result<&mut TurnRow, Refused> {
        let (newest, running) = (self.has(Mechanism::AttemptFenceInRow), self.has(Mechanism::EndFenceInRow));
        let row = self.turn_mut(turn);
        let holds = (row.attempt == attempt || !newest) && (row.status == Status::Running || !running) && !row.deleted;
        if holds { Ok(row) } else { Err(Refused::Fenced) }
    }

    /// The next number of a session's conversation.
    fn place(&mut self, session: SessionId) -> u16 {
        let row = &mut self.sessions[session.at()];
        row.next_sequence += 1;
        row.next_sequence - 1
    }

    fn say(&mut self, turn: TurnId, content: Content) {
        let session = self.turn(turn).session;
        let sequence = Some(self.place(session));
        self.messages.push(MessageRow { session, turn, sequence, content });
    }

    /// A turn's messages that have a place, in order (`Store::turn_messages`). What is placed
    /// later is stored later, but for users' messages, which no fold reads.
    pub fn turn_messages(&self, turn: TurnId) -> impl Iterator<Item = &MessageRow> {
        self.messages.iter().filter(move |row| row.turn == turn && row.sequence.is_some())
    }

    /// The turns that these messages and rows belong to.
    pub fn select(&self, of: impl Fn(TurnId, &TurnRow) -> bool) -> Turns {
        self.rows().filter(|(turn, row)| of(*turn, row)).map(|(turn, _)| turn).collect()
    }
}
