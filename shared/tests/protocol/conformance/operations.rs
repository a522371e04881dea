//! Random operations: what processes ask for, in any order, in the name of any attempt.

use crate::dice::Dice;
use crate::model::chunk::{Chunk, End, ErrorCode, Outcome, Said};
use crate::model::database::{Key, NewTurn, OnBusy, StepCommit};
use crate::model::streams::Batch;
use crate::model::windows::StepUse;
use crate::model::{Attempt, CallId, ProcessId, SECOND, SessionId, TURNS, Tick, Ticket, TurnId, Turns, UserId};
use crate::process::call::{Call, Calls};

use super::pair::Model;

/// One operation: a call, or what the store offers only as several of them.
#[derive(Debug, Clone)]
pub enum Operation {
    Call(Call),
    /// `Store::request_cancel`.
    RequestCancel(SessionId, Option<UserId>),
    /// `Store::take_steering`.
    TakeSteering(TurnId, Attempt),
    /// `Store::promote_stuck`.
    PromoteStuck,
    /// `Store::list_queue` and `Store::position`.
    ListQueue(SessionId),
    /// `seal::seal`.
    Seal(TurnId),
    /// `seal::end_without_worker`.
    EndWithoutWorker(TurnId, End),
    /// `Windows::reserve`, with a limit.
    Reserve(UserId, Ticket, u32),
    /// `Windows::settle`; does the turn end?
    Settle(StepUse, bool),
    /// `Windows::release`.
    Release(UserId, Ticket),
    /// Redis loses a stream.
    LoseStream(TurnId),
    /// A worker's sign of life comes or goes.
    ShowLife(ProcessId, bool),
    /// Time passes.
    Pass(Tick),
}

/// Workers that claim.
pub const WORKERS: u8 = 3;

impl Operation {
    /// The next operation; `None` if it would make no sense.
    pub fn draw(dice: &mut Dice, model: &mut Model) -> Option<Self> {
        let turn = any_turn(dice, model);
        match (dice.below(23), turn) {
            (0..=3, _) | (_, None) => submit(dice, model).map(|new| Self::Call(Call::Submit(new))),
            (4, Some(_)) => Some(Self::Pass(dice.pick(&[1, 5, 30, 101, 103, 700]))),
            (5, Some(turn)) => Some(of_session(dice, model, turn)),
            (6, Some(_)) => Some(Self::reconciling(dice, model)),
            (7, Some(turn)) => Some(ending(dice, model, turn)),
            (8..=10, Some(turn)) => Some(claiming(dice, model, turn)),
            (11..=13, Some(turn)) => streaming(dice, model, turn),
            (14..=16, Some(turn)) => counting(dice, model, turn),
            (_, Some(turn)) => attempting(dice, model, turn).map(Self::Call),
        }
    }

    /// The turn whose stream it may change.
    pub fn stream(&self) -> Turns {
        match self {
            Self::Call(Call::Append(batch)) => Turns::of(batch.turn),
            Self::Seal(turn) | Self::EndWithoutWorker(turn, _) | Self::LoseStream(turn) => Turns::of(*turn),
            _ => Turns::default(),
        }
    }

    /// May it change what users have used or reserved?
    pub fn counts(&self) -> bool {
        matches!(
            self,
            Self::Reserve(..) | Self::Settle(..) | Self::Release(..) | Self::Seal(_) | Self::EndWithoutWorker(..)
        )
    }

    fn reconciling(dice: &mut Dice, model: &Model) -> Self {
        let turns: Turns = model.db.rows().filter(|_| dice.one_in(2)).map(|(turn, _)| turn).collect();
        match dice.below(11) {
            0 => Self::Call(Call::TakeDue),
            1 => Self::Call(Call::NotePublished(turns)),
            2 => Self::Call(Call::NoteUnpublished(turns)),
            3 => Self::Call(Call::EnqueueLapsed),
            4 => Self::Call(Call::EnqueueForgotten),
            5 => Self::PromoteStuck,
            6 => Self::Call(Call::OverdueTurns(60 * SECOND)),
            7 => Self::Call(Call::UncancelledTurns(6 * SECOND)),
            8 => Self::Call(Call::UnsealedTurns(3 * SECOND)),
            9 => Self::Call(Call::NoteSealed(turns)),
            _ => Self::ListQueue(SessionId(u8::from(dice.one_in(2)))),
        }
    }
}

fn any_turn(dice: &mut Dice, model: &Model) -> Option<TurnId> {
    let turns = model.db.turns.len();
    (turns > 0).then(|| TurnId(u8::try_from(dice.index(turns)).unwrap_or(0)))
}

fn submit(dice: &mut Dice, model: &mut Model) -> Option<NewTurn> {
    if model.db.turns.len() == TURNS {
        return None;
    }
    let session = SessionId(u8::from(dice.one_in(2)));
    let user = model.users[session.at()];
    let on_busy = dice.pick(&[OnBusy::Enqueue, OnBusy::Enqueue, OnBusy::Reject, OnBusy::Interrupt, OnBusy::Steer]);
    let key = dice.one_in(2).then(|| {
        let key = u8::try_from(dice.below(3)).unwrap_or(0);
        Key::new(session, user, key, key * 2 + u8::from(dice.one_in(4)))
    });
    Some(NewTurn { ticket: model.new_ticket()?, session, user, text: model.new_piece(), on_busy, key })
}

fn of_session(dice: &mut Dice, model: &mut Model, turn: TurnId) -> Operation {
    let row = model.db.turn(turn);
    let (session, user) = (row.session, row.user);
    match dice.below(4) {
        0 => Operation::RequestCancel(session, user),
        1 => Operation::Call(Call::RequestCancelBefore(session, turn)),
        2 => Operation::Call(Call::DropWaiting(session, user, dice.one_in(2).then_some(turn))),
        _ => Operation::Call(Call::EditQueued(session, turn, model.new_piece())),
    }
}

fn counting(dice: &mut Dice, model: &Model, turn: TurnId) -> Option<Operation> {
    let row = model.db.turn(turn);
    let (user, ticket) = (row.user?, row.ticket);
    match dice.below(8) {
        0..=1 => Some(Operation::Reserve(user, ticket, dice.pick(&[0, 700, 2_000]))),
        2 => Some(Operation::Release(user, ticket)),
        3 => Some(Operation::Call(Call::TakeOldReservations(20 * SECOND))),
        4 => Some(Operation::Call(Call::TakeUnsettled)),
        5 => Some(Operation::Call(Call::UnsettledOfTurn(turn))),
        6 => Some(Operation::Call(Call::NoteSettled([(ticket, row.steps)].into()))),
        _ => {
            let step = u8::try_from(dice.between(1, 3)).unwrap_or(1);
            let weight = 1 + dice.below(600);
            Some(Operation::Settle(StepUse { user, ticket, step, weight }, dice.one_in(3)))
        }
    }
}

fn claiming(dice: &mut Dice, model: &Model, turn: TurnId) -> Operation {
    let worker = ProcessId(u8::try_from(dice.below(u32::from(WORKERS))).unwrap_or(0));
    match dice.below(8) {
        0 => Operation::ShowLife(worker, dice.one_in(2)),
        1..=2 => {
            let mut held = [None; TURNS];
            for (turn, row) in model.db.rows() {
                let stale = u8::from(row.attempt > 0 && dice.one_in(5));
                let stored = dice.below(12);
                held[turn.at()] = dice.one_in(2).then_some((row.attempt - stale, stored));
            }
            Operation::Call(Call::Renew(worker, held))
        }
        _ => Operation::Call(Call::Claim { turn, worker, redelivered: dice.one_in(3) }),
    }
}

/// Mostly the newest attempt.
fn some_attempt(dice: &mut Dice, model: &Model, turn: TurnId) -> Attempt {
    let newest = model.db.turn(turn).attempt;
    match dice.below(8) {
        0 => newest.saturating_sub(1),
        1 => newest + 1,
        _ => newest,
    }
}

fn attempting(dice: &mut Dice, model: &mut Model, turn: TurnId) -> Option<Call> {
    let attempt = some_attempt(dice, model, turn);
    let call = match dice.below(12) {
        0..=2 => Call::CommitStep(turn, attempt, commit(dice, model, turn)),
        3..=4 => Call::StartCalls(turn, attempt, some_calls(dice, model, turn)?),
        5..=6 => {
            let call = some_calls(dice, model, turn)?.as_slice().first().copied()?;
            Call::FinishCall(turn, attempt, call, Outcome::Output(u8::try_from(dice.below(200)).unwrap_or(0)))
        }
        7 => Call::HasFinishedCall(turn, attempt, some_calls(dice, model, turn)?.as_slice().first().copied()?),
        8 => Call::HandBack(turn, attempt),
        9 => Call::GiveUp(turn, attempt),
        10 => Call::Holds(turn, attempt),
        _ => Call::CallsOfStep(turn, model.db.turn(turn).steps),
    };
    Some(call)
}

fn commit(dice: &mut Dice, model: &mut Model, turn: TurnId) -> StepCommit {
    let row = *model.db.turn(turn);
    let mut said = Said::nothing();
    (0..dice.below(4)).for_each(|_| said.text.1.push(model.new_piece()));
    if !said.text.1.is_empty() {
        said.text.0 = u8::try_from(dice.between(1, 3)).unwrap_or(1);
    }
    (0..dice.below(3)).for_each(|_| said.calls.push(model.new_call()));
    StepCommit {
        step: row.steps + u8::from(!dice.one_in(6) || row.steps == 0),
        said,
        used: dice.below(1_000),
        estimated: dice.one_in(4),
        chunk_sequence: row.chunk_sequence + dice.below(4),
    }
}

fn some_calls(dice: &mut Dice, model: &Model, turn: TurnId) -> Option<Calls> {
    let mut calls = Calls::empty(CallId(0));
    let of_turn = model.db.calls.iter().filter(|call| call.turn == turn);
    of_turn.filter(|_| !dice.one_in(3)).take(3).for_each(|call| calls.push(call.id));
    (!calls.is_empty()).then_some(calls)
}

fn ending(dice: &mut Dice, model: &mut Model, turn: TurnId) -> Operation {
    let end = dice.pick(&[End::Completed, End::Failed(ErrorCode::ProviderError), End::Cancelled]);
    let attempt = some_attempt(dice, model, turn);
    match dice.below(6) {
        0 => Operation::Seal(turn),
        1 => Operation::EndWithoutWorker(turn, end),
        2 => Operation::TakeSteering(turn, attempt),
        3 => Operation::Call(Call::Seize(turn, attempt)),
        _ => {
            let last = dice.one_in(2).then(|| commit(dice, model, turn));
            Operation::Call(Call::Finish(turn, attempt, end, last, dice.below(20)))
        }
    }
}

fn streaming(dice: &mut Dice, model: &mut Model, turn: TurnId) -> Option<Operation> {
    let attempt = some_attempt(dice, model, turn);
    let meta = model.streams.meta(turn);
    let last = meta.map_or(0, |meta| meta.last);
    let append = |batch| Some(Operation::Call(Call::append(batch)));
    match dice.below(14) {
        0 => Some(Operation::LoseStream(turn)),
        1 => Some(Operation::Call(Call::Meta(turn))),
        2..=3 => append(Batch::raise(turn, attempt, dice.pick(&[0, 0, last, last + 2]))),
        4 => {
            let mut fold = model.streams.read_fold(turn).unwrap_or_default();
            fold.sequence = last + dice.pick(&[0, 3, 1_000_000]);
            fold.has_started().then(|| append(Batch::begin_anew(turn, attempt, &fold)))?
        }
        _ => {
            let first = dice.pick(&[last, last, last, last, last.saturating_sub(2), last + 2]) + 1;
            let mut fold = model.streams.read_fold(turn).unwrap_or_default();
            fold.sequence = first - 1;
            let mut batch = Batch::raise(turn, attempt, first - 1);
            for _ in 0..dice.between(1, 4) {
                let chunk = next_chunk(dice, model, &fold);
                fold.apply_next(chunk);
                batch.chunks.push(chunk);
            }
            if dice.one_in(8) && !fold.has_ended() {
                fold.ending(End::Completed, |chunk| batch.chunks.push(chunk));
            } else if dice.one_in(4) {
                batch.snapshot = Some(Box::new(fold));
            }
            batch.anew = batch.snapshot.is_some() && dice.one_in(3);
            append(batch)
        }
    }
}

/// A chunk that may follow, so that the stream stays one that a worker could write.
fn next_chunk(dice: &mut Dice, model: &mut Model, fold: &crate::model::fold::Fold) -> Chunk {
    if !fold.has_started() {
        return Chunk::Start;
    }
    if !fold.in_step() {
        return if fold.steps_begun() > 0 && dice.one_in(8) { Chunk::Retry(2) } else { Chunk::StepStart };
    }
    match (fold.open_text(), fold.open_call(), dice.below(4)) {
        (Some(part), _, 0) => Chunk::TextEnd(part),
        (Some(part), _, _) => Chunk::TextDelta(part, model.new_piece()),
        (None, Some((call, false)), _) => Chunk::ToolInputAvailable(call),
        (None, Some((call, true)), _) => Chunk::ToolOutput(call, Outcome::Output(7)),
        (None, None, 0) => Chunk::StepFinish,
        (None, None, 1) => Chunk::ToolInputStart(model.new_call()),
        (None, None, _) => Chunk::TextStart(fold.next_part()),
    }
}
