//! The part of a schedule in which nothing goes wrong any more: everything must come to rest.

use super::faults::{cut_broker, end, is_there};
use super::{Plan, Scheduler, connect, show_life};
use crate::model::{ProcessId, SECOND, Tick};
use crate::process::{Kind, Me, Stage, Work};
use crate::world::Weather;

/// More steps than this without a rest are a circle.
const ROUNDS: u32 = 20_000;

/// After this everything must have come to rest.
const PATIENCE: Tick = 900 * SECOND;

impl Scheduler {
    /// Stops all faults and waits for the rest.
    pub(super) fn heal(&mut self, plan: &Plan) {
        self.stop_faults();
        let deadline = self.world.now() + PATIENCE;
        let mut rounds = 0;
        while self.world.laws.broken().is_none() && !self.is_at_rest() {
            rounds += 1;
            if self.world.now() > deadline || rounds > ROUNDS {
                let left = self.what_is_left();
                self.world.laws.violate(|| format!("it does not come to rest: {left}"));
                return;
            }
            if !self.round(plan) {
                self.world.db.now = self.next_wake();
            }
        }
        if self.world.laws.broken().is_none() {
            let world = &mut self.world;
            world.laws.judge_rest(&world.db, &world.streams, &world.scripts);
            world.laws.judge_counters(&world.db, &world.windows);
        }
    }

    fn stop_faults(&mut self) {
        let world = &mut self.world;
        world.say(|| "    all faults stop".to_owned());
        world.weather = Weather::default();
        while !world.late.is_empty() {
            world.execute_late(0);
        }
        for at in 0..world.processes.len() {
            let id = ProcessId(u8::try_from(at).unwrap_or(0));
            world.processes[at].frozen = false;
            match world.processes[at].stage {
                Stage::Running => {}
                // Its connections are long gone.
                Stage::Gone => {
                    cut_broker(world, id);
                    world.db.locks[at] = false;
                }
                Stage::Draining | Stage::HandingBack | Stage::Cutting => end(world, id),
            }
        }
        for kind in [Kind::Api, Kind::Worker] {
            if !is_there(world, kind) {
                world.start(kind);
            }
        }
    }

    /// Lets everybody who can take a step take one. False if nobody can.
    fn round(&mut self, plan: &Plan) -> bool {
        let mut moved = false;
        for slot in 0..self.world.tasks.len() {
            let world = &self.world;
            let Some(task) = &world.tasks[slot] else { continue };
            let me = Me { process: task.process, task: slot };
            if task.hangs {
                moved |= self.wake(slot);
                continue;
            }
            if task.wake_at <= world.now() && (task.parked.is_some() || task.work.is_ready(world, me)) {
                self.world.step(slot);
                moved = true;
            }
        }
        for at in 0..self.world.processes.len() {
            moved |= self.serve(plan, ProcessId(u8::try_from(at).unwrap_or(0)));
        }
        moved
    }

    /// What hangs wakes up, unless its user wants it stopped: then only once somebody did that.
    fn wake(&mut self, slot: usize) -> bool {
        let world = &mut self.world;
        let Some(task) = &mut world.tasks[slot] else { return false };
        if let Work::Run(run) = &task.work {
            let row = world.db.turn(run.turn());
            task.hangs = row.cancel_requested_at.is_some() && !row.status.is_terminal();
        } else {
            task.hangs = false;
        }
        !task.hangs
    }

    /// A worker's connections, deliveries and cancels.
    fn serve(&mut self, plan: &Plan, worker: ProcessId) -> bool {
        let world = &mut self.world;
        let process = &world.processes[worker.at()];
        if process.kind != Kind::Worker || process.stage != Stage::Running {
            return false;
        }
        if !process.consuming {
            connect(world, worker);
            show_life(world, worker);
            return true;
        }
        if world.broker.cancels[worker.at()].is_some_and(|cancels| !cancels.is_empty()) {
            world.hear_cancels(worker);
            return true;
        }
        let takes = !world.broker.ready.is_empty() && world.broker.held_by(worker) < plan.prefetch;
        if takes {
            world.deliver(0, worker);
        }
        takes
    }

    /// When the next task wakes up.
    fn next_wake(&self) -> Tick {
        let now = self.world.now();
        let wakes = self.world.tasks.iter().flatten().map(|task| task.wake_at).filter(|at| *at > now);
        wakes.min().unwrap_or(now + 1).max(now + 1)
    }

    fn is_at_rest(&self) -> bool {
        let world = &self.world;
        let over = |task: &crate::process::Task| task.work.is_loop() && task.parked.is_none();
        world.db.rows().all(|(_, row)| row.status.is_terminal() && row.sealed)
            && world.db.outbox.iter().all(Option::is_none)
            && world.db.unsettled.is_empty()
            && world.windows.held.iter().all(Option::is_none)
            && world.windows.noted.iter().all(Option::is_none)
            && world.broker.ready.is_empty()
            && world.broker.unsettled.is_empty()
            && world.processes.iter().all(|process| process.running.iter().all(Option::is_none))
            && world.tasks.iter().flatten().all(|task| over(task))
    }

    fn what_is_left(&self) -> String {
        let world = &self.world;
        let rows: Vec<_> = world.db.rows().filter(|(_, row)| !row.status.is_terminal() || !row.sealed).collect();
        let tasks: Vec<_> = world.tasks.iter().flatten().filter(|task| !task.work.is_loop()).collect();
        let tasks: Vec<_> = tasks.iter().map(|task| (task.process, name_of(&task.work))).collect();
        let (unsettled, held, noted) = (&world.db.unsettled, &world.windows.held, &world.windows.noted);
        let held: Vec<_> = held.iter().enumerate().filter_map(|(at, held)| Some((at, (*held)?))).collect();
        let noted: Vec<_> = noted.iter().enumerate().filter_map(|(at, noted)| Some((at, (*noted)?))).collect();
        format!(
            "{rows:?}, {tasks:?}, outbox {:?}, {:?}, unsettled {unsettled:?}, reserved {held:?}, noted {noted:?}",
            world.db.outbox, world.broker
        )
    }
}

fn name_of(work: &Work) -> &'static str {
    work.name()
}
