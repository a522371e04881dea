//! What a process asks a server for: one statement, script or message, which is one atomic step.

use std::rc::Rc;

use crate::model::broker::Broker;
use crate::model::chunk::{End, List, Outcome};
use crate::model::database::{
    Broken, CallRow, Claimed, Content, Database, Dropped, Finished, NewTurn, Refused, Seen, StepCommit, Submitted,
    Traffic, TurnRow,
};
use crate::model::fold::Fold;
use crate::model::streams::{Appended, Batch, Meta, Streams};
use crate::model::windows::{StepUse, Windows};
use crate::model::{Attempt, CallId, ProcessId, SessionId, TURNS, Tick, Ticket, TurnId, Turns, UserId};

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
            | Self::MoveSteering(turn, attempt) => Some((turn, attempt)),
            Self::EndWithoutWorker(turn, attempt, ..) => Some((turn, attempt)),
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

fn written(result: Result<(), Refused>) -> Answer {
    Answer::Written(result)
}

/// PostgreSQL executes a call.
pub fn ask_database(db: &mut Database, call: &Call) -> Answer {
    match *call {
        Call::Submit(ref new) => Answer::Submitted(db.submit(new)),
        Call::FindRepeated(ref new) => Answer::Repeated(db.find_repeated(new)),
        Call::MeasureTraffic(ref new) => Answer::Traffic(db.measure_traffic(new)),
        Call::Accept(ref new, ref traffic) => Answer::Submitted(db.accept_unlocked(new, traffic)),
        Call::CancelRunning(session) => Answer::Turn(db.cancel_running(session)),
        Call::RequestCancelBefore(session, turn) => Answer::Turn(db.request_cancel_before(session, turn)),
        Call::DropWaiting(session, user, only) => Answer::Dropped(db.drop_waiting(session, user, only)),
        Call::IsEditable(session, turn) => Answer::Is(db.is_editable(session, turn)),
        Call::Edit(turn, text) => {
            db.edit(turn, text);
            Answer::Is(true)
        }
        Call::EditQueued(session, turn, text) => Answer::Is(db.edit_queued(session, turn, text)),
        Call::Promote(turn) => {
            let row = *db.turn(turn);
            Answer::Turns(db.promote(row.session, row.user))
        }
        Call::Seize(turn, attempt) => Answer::Seized(db.seize(turn, attempt)),
        Call::EndWithoutWorker(turn, attempt, end, ref unfinished) => {
            Answer::Finished(db.end_without_worker(turn, attempt, end, unfinished))
        }
        Call::TakeDue => Answer::Turns(db.take_due()),
        Call::NotePublished(turns) => {
            db.note_published(turns);
            Answer::Done
        }
        Call::NoteUnpublished(turns) => {
            db.note_unpublished(turns);
            Answer::Done
        }
        Call::EnqueueLapsed => {
            db.enqueue_lapsed();
            Answer::Done
        }
        Call::EnqueueForgotten => {
            db.enqueue_forgotten();
            Answer::Done
        }
        Call::StuckSessions => Answer::Stuck(db.stuck_sessions()),
        Call::PromoteStuck(session, user) => Answer::Turns(db.promote_stuck(session, user)),
        Call::OverdueTurns(longest_wait) => Answer::Rows(db.rows_of(db.overdue_turns(longest_wait))),
        Call::UncancelledTurns(patience) => Answer::Rows(db.rows_of(db.uncancelled_turns(patience))),
        Call::UnsealedTurns(settled) => Answer::Rows(db.rows_of(db.unsealed_turns(settled))),
        Call::NoteSealed(turns) => {
            db.note_sealed(turns);
            Answer::Done
        }
        Call::TakeUnsettled => Answer::Unsettled(db.take_unsettled()),
        Call::UnsettledOfTurn(turn) => Answer::Unsettled(db.unsettled_of_turn(turn)),
        Call::NoteSettled(ref steps) => {
            db.note_settled(steps);
            Answer::Done
        }
        Call::InFlightOf(ref tickets) => Answer::Tickets(db.in_flight_of(tickets)),
        _ => ask_for_attempt(db, call),
    }
}

/// PostgreSQL executes a call that an attempt makes.
fn ask_for_attempt(db: &mut Database, call: &Call) -> Answer {
    match *call {
        Call::Claim { turn, worker, redelivered } => Answer::Claimed(db.claim(turn, worker, redelivered)),
        Call::TurnOfAnySession(turn) => Answer::Row(*db.turn(turn)),
        Call::Renew(worker, ref held) => {
            let (kept, cancelled) = db.renew(worker, held);
            Answer::Renewed { kept, cancelled }
        }
        Call::HandBack(turn, attempt) => written(db.hand_back(turn, attempt)),
        Call::GiveUp(turn, attempt) => {
            db.give_up(turn, attempt);
            Answer::Done
        }
        Call::Holds(turn, attempt) => Answer::Is(db.holds(turn, attempt)),
        Call::CommitStep(turn, attempt, ref step) => written(db.commit_step(turn, attempt, step)),
        Call::CallsOfStep(turn, step) => Answer::Calls(db.calls_of_step(turn, step).collect()),
        Call::StartCallsFence(turn, attempt) => written(db.start_calls_fence(turn, attempt)),
        Call::StartCallsUnfenced(turn, attempt, ref calls) => {
            written(db.start_calls_unfenced(turn, attempt, calls.as_slice()))
        }
        Call::StartCalls(turn, attempt, ref calls) => written(db.start_calls(turn, attempt, calls.as_slice())),
        Call::FinishCall(turn, attempt, call, outcome) => written(db.finish_call(turn, attempt, call, outcome)),
        Call::HasFinishedCall(turn, attempt, call) => Answer::Is(db.has_finished_call(turn, attempt, call)),
        Call::Finish(turn, attempt, end, ref last, reaches) => {
            Answer::Finished(db.finish(turn, attempt, end, last.as_ref(), reaches))
        }
        Call::FinishUnpromoted(turn, attempt, end, ref last, reaches) => {
            let end = db.finish_unpromoted(turn, attempt, end, last.as_ref(), reaches);
            Answer::Finished(end.map(|end| Finished { end, next: Turns::default() }))
        }
        Call::History(turn) => Answer::Text(text_of(db, turn)),
        Call::TurnMessages(turn) => Answer::Fold(Some(Box::new(fold_of_history(db, turn)))),
        Call::LookForSteering(turn, attempt) => Answer::Steered(db.look_for_steering(turn, attempt)),
        Call::FindSteering(turn, attempt) => Answer::Steering(db.find_steering(turn, attempt)),
        Call::MoveMessages(turn, steering) => {
            db.move_messages(steering, turn);
            Answer::Steered(Ok(true))
        }
        Call::MoveSteering(turn, attempt) => Answer::Steering(db.move_steering(turn, attempt)),
        _ => unreachable!("{call:?} is no call to PostgreSQL"),
    }
}

/// Redis executes a call.
pub fn ask_redis(streams: &mut Streams, windows: &mut Windows, now: Tick, call: &Call) -> Answer {
    match *call {
        Call::Append(ref batch) => return Answer::Appended(streams.append(batch)),
        Call::Meta(turn) => return Answer::Meta(streams.meta(turn)),
        Call::ReadFold(turn) => return Answer::Fold(streams.read_fold(turn).map(Box::new)),
        Call::NoteReservation(user, ticket) => windows.note_reservation(user, ticket, now),
        Call::Reserve(user, ticket, limit) => return Answer::Is(windows.reserve(user, ticket, RESERVED, limit)),
        Call::Release(ticket) => windows.release(ticket),
        Call::DropNote(ticket) => windows.drop_note(ticket),
        Call::Settle(ref step, has_ended) => windows.settle(step, has_ended),
        Call::Look(user) => return Answer::Used(windows.look(user)),
        Call::TakeOldReservations(age) => return Answer::Reservations(windows.take_old_reservations(age, now)),
        _ => unreachable!("{call:?} is no call to Redis"),
    }
    Answer::Done
}

/// RabbitMQ executes a call.
pub fn ask_broker(broker: &mut Broker, call: &Call) -> Answer {
    match *call {
        Call::PublishTurn(turn) => broker.publish_turn(turn),
        Call::PublishCancel(turn) => broker.publish_cancel(turn),
        Call::Ack(tag) => broker.ack(tag),
        Call::Requeue(tag) => broker.requeue(tag),
        _ => unreachable!("{call:?} is no call to RabbitMQ"),
    }
    Answer::Done
}

/// What the user of a turn said first, as the model reads it.
pub fn text_of(db: &Database, turn: TurnId) -> u16 {
    let said = db.turn_messages(turn).find_map(|message| match message.content {
        Content::User(text) => Some(text),
        Content::Assistant(_) | Content::Tool(..) => None,
    });
    said.unwrap_or(0)
}

/// `seal::rebuild`, less the jump: the state of a turn's stream as its committed messages tell it.
pub fn fold_of_history(db: &Database, turn: TurnId) -> Fold {
    use crate::model::chunk::Chunk;
    let mut fold = Fold::default();
    fold.apply(Chunk::Start);
    for message in db.turn_messages(turn) {
        match message.content {
            Content::User(_) => {}
            Content::Assistant(said) => {
                if fold.in_step() {
                    fold.apply(Chunk::StepFinish);
                }
                fold.apply(Chunk::StepStart);
                let (part, pieces) = said.text;
                if !pieces.is_empty() {
                    fold.apply(Chunk::TextStart(part));
                    pieces.iter().for_each(|piece| fold.apply(Chunk::TextDelta(part, piece)));
                    fold.apply(Chunk::TextEnd(part));
                }
                said.calls.iter().for_each(|call| fold.apply(Chunk::ToolInputAvailable(call)));
            }
            Content::Tool(call, outcome) => fold.apply(Chunk::ToolOutput(call, outcome)),
        }
    }
    if !fold.has_open_tools() && fold.in_step() {
        fold.apply(Chunk::StepFinish);
    }
    fold
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
