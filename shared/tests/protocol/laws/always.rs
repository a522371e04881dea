//! What must hold after every step.

use std::cmp::Reverse;

use super::{Before, Laws, ledger_of, sessions};
use crate::model::database::{Database, Dropped, Submitted, TurnRow};
use crate::model::streams::{Appended, Batch, Meta, Streams};
use crate::model::windows::Windows;
use crate::model::{TurnId, Turns};
use crate::process::call::{Answer, Call, broken};

impl Laws {
    /// Judges a call that a server has carried out.
    pub fn judge(
        &mut self,
        (db, streams, windows): (&Database, &Streams, &Windows),
        call: &Call,
        before: &Before,
        answer: &Answer,
    ) {
        if let Some(broken) = broken(answer) {
            let repeated = matches!(call, Call::CommitStep(..) | Call::Finish(..));
            if !repeated {
                self.violate(|| format!("a statement broke the constraint {broken:?}: {call:?}"));
            }
        }
        match (call, answer) {
            (Call::Append(batch), Answer::Appended(Appended::Stored)) => {
                self.appended(db, streams, batch, before.meta);
            }
            (Call::Claim { turn, worker, .. }, Answer::Claimed(Some(_))) => {
                let row = before.row.as_ref();
                let held = row.filter(|row| row.worker.is_some() && row.lease_until >= db.now && before.holder_lives);
                if let Some(row) = held {
                    let holder = row.worker;
                    self.violate(|| {
                        format!("{worker:?} claimed {turn:?} from {holder:?}, which lives and holds its lease")
                    });
                }
            }
            (Call::InFlightOf(tickets), Answer::Tickets(in_flight)) => {
                // A submit that takes so long is not waited for.
                for ticket in tickets.iter().filter(|ticket| !in_flight.contains(ticket)) {
                    self.doomed |= 1 << ticket.0;
                }
            }
            (Call::ReadFold(turn), Answer::Fold(fold)) => {
                self.taken(db, *turn, fold.as_deref().map_or(0, |fold| fold.sequence));
            }
            (Call::CancelRunning(_), Answer::Turn(Some(turn))) => self.stopped.insert(*turn),
            (Call::RequestCancelBefore(_, turn), Answer::Turn(stopped)) => {
                self.interrupts.insert(*turn);
                self.interrupted(*turn, *stopped, before.waiting);
            }
            (Call::DropWaiting(..), Answer::Dropped(dropped)) => self.drop(*dropped),
            (Call::Submit(new) | Call::Accept(new, _), Answer::Submitted(submitted)) => {
                self.submitted(db, windows, new.session, *submitted);
            }
            (Call::NoteSealed(turns), Answer::Done) => self.sealed(db, windows, *turns),
            _ => {}
        }
        if before.row.is_some() && !matches!(call, Call::Claim { .. }) {
            self.fenced(db, call, before, answer);
        }
        if call.changes_rows() {
            self.look_at_rows(db);
        }
    }

    fn interrupted(&mut self, turn: TurnId, stopped: Option<TurnId>, waiting: bool) {
        let Some(stopped) = stopped else { return };
        self.stopped.insert(stopped);
        if !waiting {
            self.violate(|| format!("{turn:?} was to interrupt what ran before it, and stopped {stopped:?} behind it"));
        }
    }

    fn drop(&mut self, dropped: Dropped) {
        self.dropped.0 |= dropped.turns.0;
    }

    fn submitted(&mut self, db: &Database, windows: &Windows, session: crate::model::SessionId, submitted: Submitted) {
        let (Submitted::Ready(turn) | Submitted::Waiting(turn) | Submitted::Steering(_, turn)) = submitted else {
            return;
        };
        let user = db.turn(turn).user;
        let ticket = db.turn(turn).ticket;
        if windows.held[ticket.at()].is_some() && self.doomed & (1 << ticket.0) == 0 {
            self.reserved.insert(turn);
        }
        let cap = db.settings.max_in_flight;
        let in_flight = db.rows().filter(|(_, row)| row.user == user && row.is_in_flight()).count();
        if user.is_some() && cap > 0 && in_flight > cap {
            self.violate(|| {
                format!("{user:?} has {in_flight} turns in flight in {session:?} and elsewhere, {cap} allowed")
            });
        }
    }

    /// Whoever sees a turn end may use at once what it had reserved: that went before its last chunk.
    fn sealed(&mut self, db: &Database, windows: &Windows, turns: Turns) {
        for turn in turns {
            if let Some(held) = windows.held[db.turn(turn).ticket.at()] {
                self.violate(|| format!("{turn:?} is sealed and still has {held} reserved"));
            }
        }
    }

    /// A write in the name of an older attempt changes nothing.
    fn fenced(&mut self, db: &Database, call: &Call, before: &Before, answer: &Answer) {
        let Some((turn, attempt)) = call.writes_as() else { return };
        let succeeded = matches!(answer, Answer::Written(Ok(())) | Answer::Finished(Ok(_)) | Answer::Steered(Ok(true)));
        let same = before.row.as_ref() == Some(db.turn(turn)) && before.ledger == ledger_of(db, turn);
        if succeeded || !same {
            self.violate(|| format!("attempt {attempt} of {turn:?} wrote after a newer claim: {call:?}"));
        }
    }

    fn appended(&mut self, db: &Database, streams: &Streams, batch: &Batch, before: Option<Meta>) {
        let turn = batch.turn;
        if batch.attempt < self.newest[turn.at()] && !batch.chunks.is_empty() {
            // Redis cannot know what it has lost.
            if before.is_none() {
                self.mistaken.insert(turn);
            } else if !self.mistaken.contains(turn) {
                self.violate(|| format!("attempt {} of {turn:?} appended after a newer one", batch.attempt));
            }
        }
        self.newest[turn.at()] = self.newest[turn.at()].max(batch.attempt);
        let stream = &streams.of[turn.at()];
        let Some(meta) = stream.meta else { return };
        if before.is_none_or(|before| before.base != meta.base) {
            self.newest[turn.at()] = batch.attempt;
        }
        if batch.chunks.is_empty() {
            self.taken(db, turn, meta.last);
            return;
        }
        if before.is_some_and(|before| before.closed) && before != Some(meta) {
            self.violate(|| format!("a chunk follows the last one of {turn:?}"));
        }
        if meta.base as usize + stream.chunks.len() != meta.last as usize {
            self.violate(|| {
                format!("{turn:?} has {} chunks behind {} and says {}", stream.chunks.len(), meta.base, meta.last)
            });
        }
        self.renumbered(batch);
        if batch.ends() {
            self.closed.insert(turn);
            if !db.turn(turn).status.is_terminal() {
                self.violate(|| format!("the stream of {turn:?} ended before its row"));
            }
        }
        if self.viewers_are_eager {
            self.watch(db, streams, turn);
        }
    }

    /// A number that clients may have seen never gets another chunk.
    fn renumbered(&mut self, batch: &Batch) {
        let turn = batch.turn;
        let same = self.published[turn.at()].takes(batch.first, &batch.chunks);
        if !same && !self.mistaken.contains(turn) {
            let first = batch.first;
            self.violate(|| format!("{turn:?} had other chunks from {first} on, and clients may have them"));
        }
    }

    /// A running turn changes hands. If its stream was lost before the row knew how far it had
    /// reached, it is taken for one that never did (`deploy/RELIABILITY.md`, What is not promised).
    fn taken(&mut self, db: &Database, turn: TurnId, last: u32) {
        let forgotten = last < self.published[turn.at()].end();
        if forgotten && self.lost.contains(turn) && !db.turn(turn).status.is_terminal() {
            self.mistaken.insert(turn);
        }
    }

    /// The steady client of a turn reads what there is.
    pub fn watch(&mut self, db: &Database, streams: &Streams, turn: TurnId) {
        self.viewers[turn.at()].read(db, streams, turn);
    }

    fn look_at_rows(&mut self, db: &Database) {
        for (at, row) in db.turns.iter().enumerate() {
            self.look_at_row(db, TurnId(u8::try_from(at).unwrap_or(0)), row);
        }
        for session in sessions() {
            let one = |row: &TurnRow| row.session == session && (row.is_ready() || runs(row));
            let ready = db.select(|_, row| one(row));
            if ready.count() > 1 {
                self.violate(|| format!("{ready:?} of {session:?} run at the same time"));
            }
        }
        let cap = db.settings.max_running;
        if cap > 0 {
            for (_, row) in db.rows() {
                let Some(user) = row.user else { continue };
                let ready = db.select(|_, row| row.user == Some(user) && row.is_ready());
                if ready.count() > cap {
                    self.violate(|| format!("{ready:?} of {user:?} run at the same time, {cap} may"));
                }
            }
        }
    }

    fn look_at_row(&mut self, db: &Database, turn: TurnId, row: &TurnRow) {
        let ended = &mut self.ended[turn.at()];
        match *ended {
            // What an unfinished step said comes in the same transaction, after the end.
            Some(then) if (TurnRow { sealed: row.sealed, ..then }) != *row => {
                self.violate(|| format!("{turn:?} had ended as {then:?} and is now {row:?}"));
            }
            None if row.status.is_terminal() => {
                *ended = Some(*row);
                self.look_at_end(turn, row);
            }
            _ => {}
        }
        if row.is_ready() && !self.ready.contains(turn) {
            self.ready.insert(turn);
            let rank = |turn: TurnId, row: &TurnRow| (row.priority, Reverse(turn));
            let passed = db
                .rows()
                .find(|(other, r)| r.session == row.session && r.is_waiting() && rank(*other, r) > rank(turn, row));
            if let Some((passed, _)) = passed {
                self.violate(|| format!("{turn:?} overtook {passed:?}"));
            }
        }
    }

    fn look_at_end(&mut self, turn: TurnId, row: &TurnRow) {
        let cancelled = row.status == crate::model::chunk::Status::Cancelled;
        let wanted = self.stopped.contains(turn);
        if wanted && !cancelled {
            self.violate(|| format!("{turn:?} was to be stopped and ended as {:?}", row.status));
        }
        if cancelled && !wanted && !self.dropped.contains(turn) {
            self.violate(|| format!("{turn:?} was stopped and nobody wanted it"));
        }
    }

    /// The turns that a client was told of.
    pub fn accepted(&self) -> Turns {
        self.accepted
    }
}

fn runs(row: &TurnRow) -> bool {
    !row.deleted && row.status == crate::model::chunk::Status::Running
}
