//! What a process asks a server for: one statement, script or message, which is one atomic step.

mod servers;

use std::rc::Rc;

use crate::model::chunk::{End, List, Outcome};
use crate::model::database::{
    Broken, CallRow, Claimed, Dropped, Finished, NewTurn, Refused, Seen, StepCommit, Submitted, Traffic, TurnRow,
};
use crate::model::fold::Fold;
use crate::model::streams::{Appended, Batch, Meta};
use crate::model::windows::StepUse;
use crate::model::{Attempt, CallId, ProcessId, SessionId, TURNS, Tick, Ticket, TurnId, Turns, UserId};
pub use servers::{ask_broker, ask_database, ask_redis};

/// What every submit reserves.
pub const RESERVED: u32 = 500;

/// A list of calls as a process keeps it.
pub type Calls = List<CallId, 4>;

/// Where a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    Postgres,
    Redis,
    RabbitMq,
    /// The process itself: a local step, which always succeeds.
    Itself,
}

/// A call with its arguments.
#[expect(clippy::enum_variant_names, reason = "two are named as the store's methods are, which are about tool calls")]
#[derive(Debug, Clone)]
pub enum Call {
    /// A step inside the process.
    Local,
    // Submitting, cancelling, editing.
    Submit(NewTurn),
    FindRepeated(NewTurn),
    MeasureTraffic(NewTurn),
    Accept(NewTurn, Traffic),
    CancelRunning(SessionId),
    RequestCancelBefore(SessionId, TurnId),
    DropWaiting(SessionId, Option<UserId>, Option<TurnId>),
    IsEditable(SessionId, TurnId),
    Edit(TurnId, u16),
    EditQueued(SessionId, TurnId, u16),
    // Running.
    Claim {
        turn: TurnId,
        worker: ProcessId,
        redelivered: bool,
    },
    TurnOfAnySession(TurnId),
    Renew(ProcessId, [Option<(Attempt, u32)>; TURNS]),
    HandBack(TurnId, Attempt),
    GiveUp(TurnId, Attempt),
    Holds(TurnId, Attempt),
    CommitStep(TurnId, Attempt, StepCommit),
    CallsOfStep(TurnId, u8),
    StartCallsFence(TurnId, Attempt),
    StartCallsUnfenced(TurnId, Attempt, Calls),
    StartCalls(TurnId, Attempt, Calls),
    FinishCall(TurnId, Attempt, CallId, Outcome),
    HasFinishedCall(TurnId, Attempt, CallId),
    Finish(TurnId, Attempt, End, Option<StepCommit>, u32),
    FinishUnpromoted(TurnId, Attempt, End, Option<StepCommit>, u32),
    Promote(TurnId),
    History(TurnId),
    TurnMessages(TurnId),
    LookForSteering(TurnId, Attempt),
    FindSteering(TurnId, Attempt),
    MoveMessages(TurnId, Turns),
    MoveSteering(TurnId, Attempt),
    // Ending without a worker, and healing.
    Seize(TurnId, Attempt),
    EndWithoutWorker(TurnId, Attempt, End, Seen),
    TakeDue,
    NotePublished(Turns),
    NoteUnpublished(Turns),
    EnqueueLapsed,
    EnqueueForgotten,
    StuckSessions,
    PromoteStuck(SessionId, Option<UserId>),
    OverdueTurns(Tick),
    UncancelledTurns(Tick),
    UnsealedTurns(Tick),
    NoteSealed(Turns),
    // Redis.
    Append(Rc<Batch>),
    Meta(TurnId),
    ReadFold(TurnId),
    // Redis, and the rows beside it: usage.
    NoteReservation(UserId, Ticket),
    Reserve(UserId, Ticket, u32),
    Release(Ticket),
    DropNote(Ticket),
    Settle(StepUse, bool),
    Look(UserId),
    TakeOldReservations(Tick),
    TakeUnsettled,
    UnsettledOfTurn(TurnId),
    NoteSettled(Rc<[(Ticket, u8)]>),
    InFlightOf(Rc<[Ticket]>),
    // RabbitMQ.
    PublishTurn(TurnId),
    PublishCancel(TurnId),
    Ack(u16),
    Requeue(u16),
}

/// What came back.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Nothing: the server cannot be reached, or its answer was lost.
    Unavailable,
    /// It is done.
    Done,
    /// Yes or no.
    Is(bool),
    Submitted(Submitted),
    Repeated(Option<Submitted>),
    Traffic(Traffic),
    Turn(Option<TurnId>),
    Dropped(Dropped),
    Claimed(Option<Claimed>),
    Row(TurnRow),
    Seized(Result<TurnRow, Refused>),
    Rows(Vec<(TurnId, TurnRow)>),
    Renewed {
        kept: Turns,
        cancelled: Turns,
    },
    /// A write of an attempt.
    Written(Result<(), Refused>),
    Steered(Result<bool, Refused>),
    Steering(Result<Turns, Refused>),
    Finished(Result<Finished, Refused>),
    Calls(Vec<CallRow>),
    /// What the turn's user said last.
    Text(u16),
    Fold(Option<Box<Fold>>),
    Turns(Turns),
    Stuck(Vec<(SessionId, Option<UserId>)>),
    Appended(Appended),
    Meta(Option<Meta>),
    Used(u32),
    Unsettled(Vec<StepUse>),
    Reservations(Vec<(UserId, Ticket)>),
    Tickets(Vec<Ticket>),
}

impl Call {
    /// An append.
    pub fn append(batch: Batch) -> Self {
        Self::Append(Rc::new(batch))
    }

    /// Where it goes.
    pub fn server(&self) -> Server {
        match self {
            Self::Local => Server::Itself,
            Self::Append(_)
            | Self::Meta(_)
            | Self::ReadFold(_)
            | Self::NoteReservation(..)
            | Self::Reserve(..)
            | Self::Release(_)
            | Self::DropNote(_)
            | Self::Settle(..)
            | Self::Look(_)
            | Self::TakeOldReservations(_) => Server::Redis,
            Self::PublishTurn(_) | Self::PublishCancel(_) | Self::Ack(_) | Self::Requeue(_) => Server::RabbitMq,
            _ => Server::Postgres,
        }
    }

    /// May it make a turn?
    pub fn may_accept(&self) -> bool {
        matches!(self, Self::Submit(_) | Self::Accept(..))
    }

    /// The turn and attempt in whose name it writes.
    pub fn writes_as(&self) -> Option<(TurnId, Attempt)> {
        match *self {
            Self::HandBack(turn, attempt)
            | Self::GiveUp(turn, attempt)
            | Self::CommitStep(turn, attempt, _)
            | Self::StartCallsUnfenced(turn, attempt, _)
            | Self::StartCalls(turn, attempt, _)
            | Self::FinishCall(turn, attempt, ..)
            | Self::Finish(turn, attempt, ..)
            | Self::FinishUnpromoted(turn, attempt, ..)
            | Self::Seize(turn, attempt)
            | Self::MoveSteering(turn, attempt)
            | Self::EndWithoutWorker(turn, attempt, ..) => Some((turn, attempt)),
            _ => None,
        }
    }

    /// Does PostgreSQL execute it, so that rows may differ afterwards?
    pub fn changes_rows(&self) -> bool {
        self.server() == Server::Postgres
            && !matches!(
                self,
                Self::TurnOfAnySession(_)
                    | Self::CallsOfStep(..)
                    | Self::History(_)
                    | Self::TurnMessages(_)
                    | Self::LookForSteering(..)
                    | Self::StuckSessions
                    | Self::OverdueTurns(_)
                    | Self::UncancelledTurns(_)
                    | Self::UnsealedTurns(_)
                    | Self::Holds(..)
                    | Self::TakeUnsettled
                    | Self::UnsettledOfTurn(_)
                    | Self::NoteSettled(_)
                    | Self::InFlightOf(_)
            )
    }
}

/// Why a statement failed for good, if it did.
pub fn broken(answer: &Answer) -> Option<Broken> {
    match answer {
        Answer::Submitted(Submitted::Broken(broken))
        | Answer::Written(Err(Refused::Broken(broken)))
        | Answer::Finished(Err(Refused::Broken(broken))) => Some(*broken),
        _ => None,
    }
}
