//! How the servers carry a call out.

use super::{Answer, Call, RESERVED};
use crate::model::broker::Broker;
use crate::model::chunk::Chunk;
use crate::model::database::{Content, Database, Finished, Refused};
use crate::model::fold::Fold;
use crate::model::streams::Streams;
use crate::model::windows::Windows;
use crate::model::{Tick, TurnId, Turns};

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
        Call::Reserve(user, ticket, limit) => return Answer::Is(windows.reserve((user, ticket), RESERVED, limit, now)),
        Call::Release(ticket) => windows.release(ticket),
        Call::DropNote(ticket) => windows.drop_note(ticket),
        Call::Settle(step, has_ended) => windows.settle(step, has_ended),
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
fn text_of(db: &Database, turn: TurnId) -> u16 {
    let said = db.turn_messages(turn).find_map(|message| match message.content {
        Content::User(text) => Some(text),
        Content::Assistant(_) | Content::Tool(..) => None,
    });
    said.unwrap_or(0)
}

/// `seal::rebuild`, less the jump: the state of a turn's stream as its committed messages tell it.
fn fold_of_history(db: &Database, turn: TurnId) -> Fold {
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
