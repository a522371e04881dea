//! Mirrors `shared/src/store/submit.rs`.

use super::{Broken, Content, DISPATCH_GRACE, Database, KeyRow, MessageRow, OutboxRow, TurnRow};
use crate::mechanism::Mechanism;
use crate::model::chunk::Status;
use crate::model::{SessionId, Ticket, TurnId, UserId};

/// `copilot_shared::store::OnBusy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBusy {
    Enqueue,
    Reject,
    Interrupt,
    Steer,
}

/// An idempotency key with its owner and the body that it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    pub owner: (Option<UserId>, Option<SessionId>),
    pub word: u8,
    pub body: u8,
}

impl Key {
    /// Keys belong to the user; an anonymous session's keys belong to the session.
    pub fn new(session: SessionId, user: Option<UserId>, word: u8, body: u8) -> Self {
        let owner = if user.is_some() { (user, None) } else { (None, Some(session)) };
        Self { owner, word, body }
    }
}

/// `copilot_shared::store::NewTurn`, and who submits it where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewTurn {
    pub ticket: Ticket,
    pub session: SessionId,
    pub user: Option<UserId>,
    pub text: u16,
    pub on_busy: OnBusy,
    pub key: Option<Key>,
}

/// What became of a submit (`copilot_shared::store::{Submitted, SubmitError}`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submitted {
    Ready(TurnId),
    Waiting(TurnId),
    /// The turn to follow, and the one that waits.
    Steering(TurnId, TurnId),
    Repeated(TurnId),
    TooManyTurns,
    Busy(TurnId),
    KeyConflict,
    Broken(Broken),
}

/// What a submit decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    pub user_in_flight: usize,
    pub user_ready: usize,
    pub session_in_flight: usize,
    pub current: Option<TurnId>,
}

impl Database {
    /// `Store::submit`.
    pub fn submit(&mut self, new: &NewTurn) -> Submitted {
        if let Some(repeated) = self.find_repeated(new) {
            return repeated;
        }
        let traffic = self.measure_traffic(new);
        self.accept(new, &traffic)
    }

    /// `find_repeated`.
    pub fn find_repeated(&self, new: &NewTurn) -> Option<Submitted> {
        let key = new.key.filter(|_| self.has(Mechanism::IdempotencyKey))?;
        let row = self.keys.iter().find(|row| (row.key.owner, row.key.word) == (key.owner, key.word))?;
        let same = row.key.body == key.body;
        Some(if same { Submitted::Repeated(self.turn_to_follow(row.turn)) } else { Submitted::KeyConflict })
    }

    /// `turn_to_follow`.
    pub fn turn_to_follow(&self, turn: TurnId) -> TurnId {
        let row = self.turn(turn);
        let steered = row.steers.filter(|steered| row.is_waiting() && self.turn(*steered).is_in_flight());
        steered.unwrap_or(turn)
    }

    /// `measure_traffic`.
    pub fn measure_traffic(&self, new: &NewTurn) -> Traffic {
        let of_user = |row: &TurnRow| new.user.is_some() && row.user == new.user;
        let current = self
            .rows()
            .filter(|(_, row)| row.session == new.session && row.is_in_flight())
            .min_by_key(|(turn, row)| (row.ready_at.is_none(), row.ready_at, *turn));
        Traffic {
            user_in_flight: self.rows().filter(|(_, row)| of_user(row) && row.is_in_flight()).count(),
            user_ready: self.rows().filter(|(_, row)| of_user(row) && row.is_ready()).count(),
            session_in_flight: self.rows().filter(|(_, r)| r.session == new.session && r.is_in_flight()).count(),
            current: current.map(|(turn, _)| turn),
        }
    }

    /// The rest of `Store::submit`, after the traffic was measured by a transaction that lacks one
    /// of its locks: what the other one keeps is as it was measured.
    pub fn accept_unlocked(&mut self, new: &NewTurn, measured: &Traffic) -> Submitted {
        let mut traffic = self.measure_traffic(new);
        if !self.has(Mechanism::SessionLock) {
            traffic.session_in_flight = measured.session_in_flight;
            traffic.current = measured.current;
        }
        if !self.has(Mechanism::UserLock) {
            traffic.user_in_flight = measured.user_in_flight;
            traffic.user_ready = measured.user_ready;
        }
        self.accept(new, &traffic)
    }

    /// The rest of `Store::submit`, after the traffic was measured.
    fn accept(&mut self, new: &NewTurn, traffic: &Traffic) -> Submitted {
        let cap = self.settings.max_in_flight;
        let in_flight = if new.user.is_some() { traffic.user_in_flight } else { traffic.session_in_flight };
        if cap > 0 && in_flight >= cap {
            return Submitted::TooManyTurns;
        }
        if let Some(current) = traffic.current.filter(|_| new.on_busy == OnBusy::Reject) {
            return Submitted::Busy(current);
        }
        let cap = self.settings.max_running;
        let capped = new.user.is_some() && cap > 0 && traffic.user_ready >= cap;
        let ready = traffic.session_in_flight == 0 && !capped;
        let steered = traffic.current.filter(|_| new.on_busy == OnBusy::Steer);
        let turn = match self.insert_turn(new, ready, steered) {
            Ok(turn) => turn,
            Err(broken) => return Submitted::Broken(broken),
        };
        let follow = steered.map(|steered| self.turn_to_follow(steered));
        if let Some(key) = new.key {
            self.keys.push(KeyRow { key, turn });
        }
        match follow {
            Some(follow) => Submitted::Steering(follow, turn),
            None if ready => Submitted::Ready(turn),
            None => Submitted::Waiting(turn),
        }
    }

    fn insert_turn(&mut self, new: &NewTurn, ready: bool, steers: Option<TurnId>) -> Result<TurnId, Broken> {
        let busy = self.rows().any(|(_, row)| row.session == new.session && row.is_ready());
        if ready && busy && self.has(Mechanism::OneAtATimeIndex) {
            return Err(Broken::OneAtATime);
        }
        let turn = TurnId(u8::try_from(self.turns.len()).unwrap_or(u8::MAX));
        self.turns.push(TurnRow {
            ticket: new.ticket,
            session: new.session,
            user: new.user,
            priority: u8::from(matches!(new.on_busy, OnBusy::Interrupt | OnBusy::Steer)),
            status: Status::Queued,
            ready_at: ready.then_some(self.now),
            attempt: 0,
            losses: 0,
            worker: None,
            lease_until: 0,
            steps: 0,
            chunk_sequence: 0,
            cancel_requested_at: None,
            created_at: self.now,
            started: false,
            finished_at: None,
            error: None,
            sealed: false,
            used: 0,
            steers,
            deleted: false,
        });
        let sequence = ready.then(|| self.place(new.session));
        self.messages.push(MessageRow { session: new.session, turn, sequence, content: Content::User(new.text) });
        if ready && self.has(Mechanism::Outbox) {
            self.outbox[turn.at()] = Some(OutboxRow { due_at: self.now + DISPATCH_GRACE, publishes: 0 });
        }
        Ok(turn)
    }
}
