//! The real store and streams, which answer in the words of the model.

mod attempt;

use std::time::Duration;

use chrono::{DateTime, Utc};
use copilot_shared::chunk::write_frame;
use copilot_shared::id::{MessageId, SessionId as RealSessionId, TurnId as RealTurnId, UserId as RealUserId, WorkerId};
use copilot_shared::message::{Part, Speaker};
use copilot_shared::seal;
use copilot_shared::session::Caller;
use copilot_shared::store::{
    CancelRequest, Dropped, Idempotency, NewTurn, OnBusy, Store, StoreError, StoreSettings, SubmitError, Submitted,
};
use copilot_shared::stream::{Append, Batch, Streams};
use copilot_shared::testing::Services;
use copilot_shared::turn::{Attempt, Turn};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::operations::{Operation, WORKERS};
use super::pair::Model;
use super::told::{appended, broken, meta, real_fold, tenths, unless_fenced};
use super::{names, rows};
use crate::model::chunk::End;
use crate::model::database::{self as model, Settings};
use crate::model::streams as model_streams;
use crate::model::{ProcessId, SESSIONS, SessionId, Tick, TurnId, Turns, UserId};
use crate::process::call::Call;

/// The servers.
pub struct Real {
    database_url: String,
    /// For what is done and looked at beside the store; holds the workers' locks.
    pub(super) connection: PgConnection,
    pub(super) store: Store,
    pub(super) streams: Streams,
    pub(super) turns: Vec<RealTurnId>,
    /// Every id that a submit gave its turn, by its ticket.
    pub(super) tickets: Vec<RealTurnId>,
    /// The real time at which the model's begins.
    pub(super) began: DateTime<Utc>,
    pub(super) now: Tick,
    /// What tells the users of one sequence from those of the others, whose counters are kept.
    sequence: u32,
    pub(super) sessions: [RealSessionId; SESSIONS],
    callers: [Caller; SESSIONS],
    pub(super) workers: Vec<WorkerId>,
    alive: Vec<bool>,
}

fn store(url: &str, settings: Settings) -> Store {
    Store::new(
        url,
        StoreSettings {
            lease: Duration::from_millis(u64::from(settings.lease) * 100),
            max_running: i64::try_from(settings.max_running).unwrap(),
            max_in_flight: i64::try_from(settings.max_in_flight).unwrap(),
            connections: 2,
        },
    )
    .unwrap()
}

impl Real {
    /// Puts the clock into the database.
    pub async fn new(services: &Services) -> Self {
        services.sql(rows::CLOCK).await;
        let settings = Settings { lease: 0, max_running: 0, max_in_flight: 0 };
        Self {
            database_url: services.database_url.clone(),
            connection: PgConnection::connect(&services.database_url).await.unwrap(),
            store: store(&services.database_url, settings),
            streams: services.streams(),
            turns: Vec::new(),
            tickets: Vec::new(),
            began: Utc::now(),
            now: 0,
            sequence: 0,
            sessions: std::array::from_fn(|_| RealSessionId::random()),
            callers: std::array::from_fn(|_| Caller::Claim([0; 32])),
            workers: Vec::new(),
            alive: Vec::new(),
        }
    }

    /// Begins a sequence with nothing stored.
    pub async fn begin(&mut self, settings: Settings, users: &[Option<UserId>; SESSIONS]) {
        self.store.close().await;
        self.store = store(&self.database_url, settings);
        self.sql("TRUNCATE users, sessions CASCADE").await;
        self.sql("SELECT pg_advisory_unlock_all()").await;
        self.sql("TRUNCATE unsettled_steps").await;
        self.give_everything_back().await;
        self.turns.clear();
        self.tickets.clear();
        // The same day as the system's clock, which sealing goes by.
        self.began = Utc::now().date_naive().and_time(chrono::NaiveTime::MIN).and_utc();
        self.sequence += 1;
        self.workers = (0..WORKERS).map(|_| WorkerId::generate()).collect();
        self.alive = vec![false; usize::from(WORKERS)];
        // In the order in which they are read back.
        self.sessions = std::array::from_fn(|_| RealSessionId::random());
        self.sessions.sort_unstable_by_key(|session| session.0);
        for (at, user) in users.iter().enumerate() {
            self.callers[at] = match user {
                Some(user) => Caller::User(self.user_id(*user)),
                None => Caller::Claim([u8::try_from(at).unwrap(); 32]),
            };
            self.store.create_session(self.sessions[at], &self.callers[at]).await.unwrap();
        }
    }

    async fn sql(&mut self, statement: &str) {
        sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut self.connection).await.unwrap();
    }

    /// Turns the clock.
    pub async fn set_time(&mut self, now: Tick) {
        self.now = now;
        let at = format!("'2026-01-01T00:00:00Z'::timestamptz + interval '{} milliseconds'", u64::from(now) * 100);
        self.sql(&format!("UPDATE clock.hands SET at = {at}")).await;
    }

    /// A user of this sequence.
    pub(super) fn user_id(&self, user: UserId) -> RealUserId {
        RealUserId::parse(&format!("{user:?} of {}", self.sequence)).unwrap()
    }

    fn turn(&self, turn: TurnId) -> RealTurnId {
        self.turns[turn.at()]
    }

    fn set_of(&self, ids: impl IntoIterator<Item = RealTurnId>) -> Turns {
        ids.into_iter().map(|id| self.name_of(id)).collect()
    }

    fn name_of(&self, id: RealTurnId) -> TurnId {
        let at = self.turns.iter().position(|turn| *turn == id).expect("a turn of this sequence");
        TurnId(u8::try_from(at).unwrap())
    }

    fn ids(&self, set: Turns) -> Vec<RealTurnId> {
        set.filter_map(|turn| self.turns.get(turn.at()).copied()).collect()
    }

    fn worker_name(&self, id: WorkerId) -> ProcessId {
        ProcessId(u8::try_from(self.workers.iter().position(|worker| *worker == id).unwrap()).unwrap())
    }

    fn user(&self, session: SessionId) -> Option<&RealUserId> {
        self.callers[session.at()].user_id()
    }

    /// Has the servers carry out an operation, which the model has carried out already.
    pub async fn carry_out(&mut self, model: &Model, operation: &Operation, accepted: Option<TurnId>) -> String {
        match operation {
            Operation::Call(call) => self.ask(call, accepted).await,
            Operation::RequestCancel(session, _) => {
                let id = self.sessions[session.at()];
                match self.store.request_cancel(id, self.user(*session), "ann").await.unwrap() {
                    CancelRequest::Idle => "idle".to_owned(),
                    CancelRequest::Requested(turn) => format!("requested {:?}", self.name_of(turn)),
                    CancelRequest::Dropped(dropped) => self.dropped(&dropped),
                }
            }
            Operation::TakeSteering(turn, attempt) => {
                let taken = self
                    .store
                    .take_steering(self.turn(*turn), Attempt((*attempt).into()))
                    .await
                    .map(|taken| !taken.is_empty());
                format!("{:?}", unless_fenced(taken))
            }
            Operation::PromoteStuck => format!("{:?}", self.set_of(self.store.promote_stuck().await.unwrap())),
            Operation::ListQueue(session) => self.queue(*session).await,
            Operation::Seal(turn) => self.seal(*turn).await,
            Operation::EndWithoutWorker(turn, end) => self.end_without_worker(*turn, *end).await,
            Operation::Reserve(..) | Operation::Settle(..) | Operation::Release(..) => self.count(operation).await,
            Operation::LoseStream(turn) => {
                self.streams.forget(self.turn(*turn)).await.unwrap();
                String::new()
            }
            Operation::ShowLife(worker, alive) => {
                self.show_life(*worker, *alive).await;
                String::new()
            }
            Operation::Pass(_) => {
                self.set_time(model.now()).await;
                String::new()
            }
        }
    }

    async fn show_life(&mut self, worker: ProcessId, alive: bool) {
        if std::mem::replace(&mut self.alive[worker.at()], alive) != alive {
            let what = if alive { "pg_advisory_lock" } else { "pg_advisory_unlock" };
            let id = self.workers[worker.at()];
            self.sql(&format!("SELECT {what}(worker_lock_key('{id}'))")).await;
        }
    }

    fn dropped(&self, dropped: &Dropped) -> String {
        let turns = self.set_of(dropped.turns.iter().map(|turn| turn.id));
        let next = self.set_of(dropped.next.iter().copied());
        format!("{:?}", model::Dropped { turns, next })
    }

    async fn queue(&self, session: SessionId) -> String {
        let queue = self.store.list_queue(self.sessions[session.at()]).await.unwrap();
        let turns: Vec<TurnId> = queue.iter().map(|message| self.name_of(message.turn_id)).collect();
        let mut positions = Vec::new();
        for message in &queue {
            positions.push(self.store.position(message.turn_id).await.unwrap());
        }
        format!("{turns:?} at {positions:?}")
    }

    async fn row(&self, turn: TurnId) -> Option<Turn> {
        self.store.turn_of_any_session(self.turn(turn)).await.unwrap()
    }

    async fn seal(&self, turn: TurnId) -> String {
        let Some(row) = self.row(turn).await else { return "sealed false".to_owned() };
        format!("sealed {}", seal::seal(&self.store, &self.streams, &row).await.unwrap())
    }

    async fn end_without_worker(&self, turn: TurnId, end: End) -> String {
        let Some(row) = self.row(turn).await else { return "None".to_owned() };
        let ended = seal::end_without_worker(&self.store, &self.streams, &row, &names::end(end)).await.unwrap();
        format!("{:?}", ended.map(|next| self.set_of(next)))
    }

    async fn ask(&mut self, call: &Call, accepted: Option<TurnId>) -> String {
        match call {
            Call::Submit(new) => self.submit(new, accepted).await,
            Call::Claim { turn, worker, redelivered } => self.claim(*turn, *worker, *redelivered).await,
            Call::Append(batch) => {
                let append = self.append(batch);
                appended(self.streams.append(&append).await.unwrap())
            }
            Call::Meta(turn) => format!("Meta({:?})", meta(self.streams.meta(self.turn(*turn)).await.unwrap())),
            Call::RequestCancelBefore(session, turn) => {
                let id = self.sessions[session.at()];
                let stopped = self.store.request_cancel_before(id, self.turn(*turn), "ann").await.unwrap();
                format!("Turn({:?})", stopped.map(|id| self.name_of(id)))
            }
            Call::DropWaiting(session, _, only) => {
                let (id, only) = (self.sessions[session.at()], only.map(|turn| self.turn(turn)));
                let dropped = self.store.drop_waiting(id, self.user(*session), only, "ann").await.unwrap();
                format!("Dropped({})", self.dropped(&dropped))
            }
            Call::EditQueued(session, turn, text) => {
                let (id, text) = (self.sessions[session.at()], names::piece(*text));
                format!("Is({})", self.store.edit_queued(id, self.turn(*turn), &text).await.unwrap())
            }
            Call::Renew(worker, held) => self.renew(*worker, held).await,
            _ => self.ask_more(call).await,
        }
    }

    async fn ask_more(&mut self, call: &Call) -> String {
        let store = &self.store;
        let done = || "Done".to_owned();
        match *call {
            Call::TakeDue => format!("Turns({:?})", self.set_of(store.take_due(100).await.unwrap())),
            Call::NotePublished(set) => {
                store.note_published(&self.ids(set)).await.map_or_else(|error| broken(&error), |()| done())
            }
            Call::NoteUnpublished(set) => {
                store.note_unpublished(&self.ids(set)).await.map_or_else(|error| broken(&error), |()| done())
            }
            Call::NoteSealed(set) => {
                store.note_sealed(&self.ids(set)).await.map_or_else(|error| broken(&error), |()| done())
            }
            Call::EnqueueLapsed => store.enqueue_lapsed().await.map_or_else(|error| broken(&error), |_| done()),
            Call::EnqueueForgotten => store.enqueue_forgotten().await.map_or_else(|error| broken(&error), |_| done()),
            Call::OverdueTurns(since) => self.found(store.overdue_turns(tenths(since)).await),
            Call::UncancelledTurns(since) => self.found(store.uncancelled_turns(tenths(since)).await),
            Call::UnsealedTurns(since) => self.found(store.unsealed_turns(tenths(since)).await),
            Call::TakeOldReservations(_) | Call::TakeUnsettled | Call::UnsettledOfTurn(_) | Call::NoteSettled(_) => {
                self.ask_for_usage(call).await
            }
            _ => self.ask_for_attempt(call).await,
        }
    }

    fn found(&self, turns: Result<Vec<Turn>, StoreError>) -> String {
        format!("{:?}", self.set_of(turns.unwrap().iter().map(|turn| turn.id)))
    }

    async fn submit(&mut self, new: &model::NewTurn, accepted: Option<TurnId>) -> String {
        let submission = NewTurn {
            id: RealTurnId::generate(),
            message_id: MessageId::generate(),
            ui_id: None,
            speaker: Speaker::User,
            parts: vec![Part::Text { id: None, text: names::piece(new.text) }],
            on_busy: match new.on_busy {
                model::OnBusy::Enqueue => OnBusy::Enqueue,
                model::OnBusy::Reject => OnBusy::Reject,
                model::OnBusy::Interrupt => OnBusy::Interrupt,
                model::OnBusy::Steer => OnBusy::Steer,
            },
            idempotency: new.key.map(|key| Idempotency { key: key.word.to_string(), body_hash: [key.body; 32] }),
        };
        debug_assert_eq!(self.tickets.len(), new.ticket.at());
        self.tickets.push(submission.id);
        if accepted.is_some() {
            self.turns.push(submission.id);
        }
        let (session, caller) = (self.sessions[new.session.at()], &self.callers[new.session.at()]);
        match self.store.submit(session, caller, &submission).await {
            Ok(Submitted::Ready(turn)) => format!("Ready({:?})", self.name_of(turn.id)),
            Ok(Submitted::Waiting(turn, position)) => format!("waiting {:?} at {position}", self.name_of(turn.id)),
            Ok(Submitted::Steering(turn)) => format!("steering {:?}", self.name_of(turn.id)),
            Ok(Submitted::Repeated(turn)) => format!("Repeated({:?})", self.name_of(turn.id)),
            Err(SubmitError::TooManyTurns(_)) => "TooManyTurns".to_owned(),
            Err(SubmitError::Busy(turn)) => format!("Busy({:?})", self.name_of(turn)),
            Err(SubmitError::KeyConflict) => "KeyConflict".to_owned(),
            Err(error) => format!("{error:?}"),
        }
    }

    fn append(&self, batch: &model_streams::Batch) -> Append {
        let turn = self.turn(batch.turn);
        let (first, last) = (u64::from(batch.first), u64::from(batch.last()));
        let mut payload = Batch::header(batch.attempt.into(), first, last, batch.ends()).into_bytes();
        for (sequence, chunk) in (first..).zip(&batch.chunks) {
            write_frame(&mut payload, turn, sequence, &names::chunk(turn, *chunk));
        }
        if batch.chunks.is_empty() {
            payload.clear();
        }
        Append {
            turn,
            attempt: Attempt(batch.attempt.into()),
            first,
            last,
            ends: batch.ends(),
            payload: payload.into(),
            snapshot: batch.snapshot.as_deref().map(|fold| real_fold(turn, fold).to_snapshot()),
            anew: batch.anew,
        }
    }
}
