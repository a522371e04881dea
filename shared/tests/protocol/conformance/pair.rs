//! The model and the servers, side by side.

use std::fmt::Write as _;

use copilot_shared::testing::Services;

use super::operations::{Operation, WORKERS};
use super::real::Real;
use super::rows;
use crate::dice::Dice;
use crate::mechanism::Mechanisms;
use crate::model::chunk::End;
use crate::model::database::{Database, Refused, Settings};
use crate::model::{ProcessId, SECOND, SESSIONS, SessionId, TurnId, Turns, UserId};
use crate::process::call::{Answer, Call, Server, ask_database, ask_redis};
use crate::process::seal::{EndWithoutWorker, Progress, Seal};
use crate::process::usage::{GiveBack, Reserve};
use crate::world::World;

/// When every sequence begins, so that nothing happens before the beginning of time.
const BEGINNING: u32 = 100 * SECOND;

/// The model, and who owns its sessions.
pub struct Model {
    pub world: World,
    pub users: [Option<UserId>; SESSIONS],
}

impl std::ops::Deref for Model {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl std::ops::DerefMut for Model {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

/// Both.
pub struct Pair {
    pub model: Model,
    real: Real,
}

impl Pair {
    /// Prepares both.
    pub async fn new(services: &Services) -> Self {
        Self { model: Model { world: World::new(), users: [None; SESSIONS] }, real: Real::new(services).await }
    }

    /// Begins a sequence with nothing in either.
    pub async fn begin(&mut self, dice: &mut Dice) {
        let settings =
            Settings { lease: 10 * SECOND, max_running: dice.pick(&[0, 1, 2]), max_in_flight: dice.pick(&[0, 3, 5]) };
        self.model.world.reset(0, Mechanisms::default(), settings);
        self.model.world.db.now = BEGINNING;
        let anybody = [None, Some(UserId(0)), Some(UserId(0)), Some(UserId(1))];
        self.model.users = std::array::from_fn(|_| dice.pick(&anybody));
        self.real.begin(settings, &self.model.users).await;
        self.real.set_time(BEGINNING).await;
        for worker in 0..WORKERS {
            self.carry_out(&Operation::ShowLife(ProcessId(worker), true)).await;
        }
    }

    /// Has both carry out an operation. Returns what each of them answers.
    pub async fn carry_out(&mut self, operation: &Operation) -> (String, String) {
        let before = self.model.world.db.turns.len();
        let answer = self.model.carry_out(operation);
        let accepted = (self.model.world.db.turns.len() > before).then(|| TurnId(u8::try_from(before).unwrap_or(0)));
        (answer, self.real.carry_out(&self.model, operation, accepted).await)
    }

    /// Every row of both, and the streams of some turns.
    pub async fn state(&mut self, of: Turns) -> (String, String) {
        let model = rows::of_model(&self.model.world.db, &self.model.world.streams, of);
        (model, self.real.state(of).await)
    }

    /// What users have used and reserved, of both.
    pub async fn counters(&mut self) -> (String, String) {
        let windows = &self.model.world.windows;
        let mut lines = String::new();
        for (at, used) in windows.used.iter().enumerate() {
            let held: Vec<_> = windows.held_by(UserId(u8::try_from(at).unwrap_or(0))).collect();
            writeln!(lines, "user-{at} used {used} holds {held:?}").unwrap();
        }
        (lines, self.real.counters().await)
    }

    /// Every turn.
    pub fn turns(&self) -> Turns {
        (0..self.model.world.db.turns.len()).map(|at| TurnId(u8::try_from(at).unwrap_or(0))).collect()
    }
}

impl Model {
    fn ask(&mut self, call: &Call) -> Answer {
        match call.server() {
            Server::Redis => {
                let now = self.world.db.now;
                ask_redis(&mut self.world.streams, &mut self.world.windows, now, call)
            }
            _ => ask_database(&mut self.world.db, call),
        }
    }

    fn carry_out(&mut self, operation: &Operation) -> String {
        match operation {
            Operation::Call(call) => {
                let answer = self.ask(call);
                told(&self.world.db, call, &answer)
            }
            Operation::RequestCancel(session, user) => request_cancel(&mut self.world.db, *session, *user),
            Operation::TakeSteering(turn, attempt) => match self.world.db.look_for_steering(*turn, *attempt) {
                Ok(true) => {
                    let taken = self.world.db.move_steering(*turn, *attempt);
                    format!("{:?}", taken.map(|taken| !taken.is_empty()))
                }
                answer => format!("{answer:?}"),
            },
            Operation::PromoteStuck => {
                let stuck = self.world.db.stuck_sessions();
                let next = stuck.into_iter().map(|(session, user)| self.world.db.promote_stuck(session, user).0);
                format!("{:?}", Turns(next.fold(0, |all, some| all | some)))
            }
            Operation::ListQueue(session) => {
                let queue = self.world.db.list_queue(*session);
                let positions: Vec<_> = queue.iter().map(|turn| self.world.db.position(*turn)).collect();
                format!("{queue:?} at {positions:?}")
            }
            Operation::Seal(turn) => self.seal(*turn),
            Operation::EndWithoutWorker(turn, end) => self.end_without_worker(*turn, *end),
            Operation::Reserve(user, ticket, limit) => {
                let mut reserve = Reserve::new(&self.world, *user, *ticket);
                self.world.limit = Some(*limit);
                loop {
                    let answer = self.ask(&reserve.next(&self.world));
                    if let Progress::Over(granted) = reserve.take(&self.world, &answer) {
                        return format!("{granted}");
                    }
                }
            }
            Operation::Settle(step, false) => {
                self.world.windows.settle(*step, false);
                String::new()
            }
            Operation::Settle(step, true) => self.give_back(GiveBack::settle(&self.world, *step)),
            Operation::Release(_, ticket) => self.give_back(GiveBack::release(&self.world, *ticket)),
            Operation::LoseStream(turn) => {
                self.world.streams.lose(turn.at());
                String::new()
            }
            Operation::ShowLife(worker, alive) => {
                self.world.db.locks[worker.at()] = *alive;
                String::new()
            }
            Operation::Pass(ticks) => {
                self.world.db.now += ticks;
                String::new()
            }
        }
    }

    fn give_back(&mut self, mut give_back: GiveBack) -> String {
        loop {
            let answer = self.ask(&give_back.next());
            if let Progress::Over(()) = give_back.take(&answer) {
                return String::new();
            }
        }
    }

    fn seal(&mut self, turn: TurnId) -> String {
        let row = *self.world.db.turn(turn);
        let Some(mut seal) = Seal::new(&self.world, turn, row).filter(|_| !row.deleted) else {
            return "sealed false".to_owned();
        };
        loop {
            let answer = self.ask(&seal.next());
            match seal.take(&self.world, answer) {
                Progress::More => {}
                Progress::Failed => unreachable!("the model's servers are there"),
                Progress::Over(sealed) => return format!("sealed {sealed}"),
            }
        }
    }

    fn end_without_worker(&mut self, turn: TurnId, end: End) -> String {
        let row = *self.world.db.turn(turn);
        if row.deleted {
            return "None".to_owned();
        }
        let mut ending = EndWithoutWorker::new(&self.world, turn, row, end);
        loop {
            let answer = self.ask(&ending.next(&self.world));
            match ending.take(&self.world, answer) {
                Progress::More => {}
                Progress::Failed => unreachable!("the model's servers are there"),
                Progress::Over(next) => return format!("{next:?}"),
            }
        }
    }
}

fn request_cancel(db: &mut Database, session: SessionId, user: Option<UserId>) -> String {
    if let Some(turn) = db.cancel_running(session) {
        return format!("requested {turn:?}");
    }
    let dropped = db.drop_waiting(session, user, None);
    if !dropped.turns.is_empty() {
        return format!("{dropped:?}");
    }
    db.cancel_running(session).map_or_else(|| "idle".to_owned(), |turn| format!("requested {turn:?}"))
}

/// An answer, less what the rows tell anyway.
fn told(db: &Database, call: &Call, answer: &Answer) -> String {
    match (call, answer) {
        (Call::Submit(_), Answer::Submitted(submitted)) => {
            use crate::model::database::Submitted;
            match submitted {
                Submitted::Waiting(turn) => format!("waiting {turn:?} at {}", db.position(*turn)),
                Submitted::Steering(follow, _) => format!("steering {follow:?}"),
                other => format!("{other:?}"),
            }
        }
        (_, Answer::Claimed(Some(claimed))) => format!(
            "claimed as {} after {} steps and {} losses, stopped {}, steered {}, reaches {}",
            claimed.row.attempt,
            claimed.row.steps,
            claimed.row.losses,
            claimed.row.cancel_requested_at.is_some(),
            claimed.is_steered,
            claimed.row.chunk_sequence
        ),
        (Call::Claim { turn, .. }, Answer::Claimed(None)) => {
            let row = db.turn(*turn);
            match (row.deleted, row.status.is_terminal(), row.worker) {
                (true, ..) => "missing".to_owned(),
                (_, true, _) => "ended".to_owned(),
                (.., Some(holder)) => format!("held by {holder:?}"),
                (.., None) => "not ready".to_owned(),
            }
        }
        (_, Answer::Seized(result)) => {
            let seized = result.map(|row| (row.attempt, row.steps, row.chunk_sequence));
            format!("{seized:?}")
        }
        (_, Answer::Finished(Err(Refused::Broken(broken))) | Answer::Written(Err(Refused::Broken(broken)))) => {
            format!("broken {broken:?}")
        }
        (_, Answer::Rows(rows)) => {
            let turns: Turns = rows.iter().map(|(turn, _)| *turn).collect();
            format!("{turns:?}")
        }
        (_, Answer::Unsettled(steps)) => {
            let mut steps = steps.clone();
            steps.sort_unstable_by_key(|step| (step.ticket, step.step));
            format!("Unsettled({steps:?})")
        }
        (_, Answer::Calls(calls)) => {
            let calls: Vec<_> = calls.iter().map(|call| (call.id, call.status, call.outcome)).collect();
            format!("{calls:?}")
        }
        _ => format!("{answer:?}"),
    }
}
