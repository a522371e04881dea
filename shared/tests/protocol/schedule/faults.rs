//! What can go wrong besides the network.

use super::Scheduler;
use crate::dice::Dice;
use crate::model::ProcessId;
use crate::process::{Kind, Process, Stage};
use crate::world::World;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A process dies, and another is started.
    Kill,
    /// A process stands still.
    Freeze,
    /// A process that stands still goes on.
    Thaw,
    /// A process is asked to end, or is further on its way out.
    Terminate,
    /// The broker loses a process and gives its deliveries out again.
    CutBroker,
    /// PostgreSQL ends the session that shows a worker's life.
    CutLock,
    /// Redis loses a stream.
    LoseStream,
    /// Redis comes back without the newest chunks of a stream.
    LoseTail,
    /// Redis loses what users have used and reserved.
    LoseCounters,
    /// The broker loses a message.
    LoseMessage,
    /// A message about some turn comes again: an operator moved the dead letters back.
    StrayMessage,
    /// An attempt hangs, in a process that lives.
    Hang,
    /// A call that was given up is carried out.
    Late,
    /// A server goes away, or comes back.
    Outage,
}

const ALL: [Fault; 12] = [
    Fault::Kill,
    Fault::Freeze,
    Fault::Terminate,
    Fault::CutBroker,
    Fault::CutLock,
    Fault::LoseStream,
    Fault::LoseTail,
    Fault::LoseCounters,
    Fault::LoseMessage,
    Fault::StrayMessage,
    Fault::Hang,
    Fault::Outage,
];

/// The faults of one schedule: none, one kind, or several.
pub fn draw(dice: &mut Dice) -> Vec<Fault> {
    let chance = dice.pick(&[0, 4, 2]);
    let mut faults: Vec<Fault> = ALL.into_iter().filter(|_| dice.one_in(chance)).collect();
    if faults.contains(&Fault::Freeze) {
        faults.push(Fault::Thaw);
    }
    faults.push(Fault::Late);
    faults
}

impl Scheduler {
    /// Has something go wrong, if it can.
    pub(super) fn inject(&mut self, fault: Fault) {
        let world = &mut self.world;
        match fault {
            Fault::Kill => {
                if let Some(process) = any(world, |process| process.stage != Stage::Gone) {
                    die(world, process);
                }
            }
            Fault::Freeze => {
                if let Some(process) = any(world, Process::moves) {
                    world.say(|| format!("{process:?} stands still"));
                    world.processes[process.at()].frozen = true;
                }
            }
            Fault::Thaw => {
                if let Some(process) = any(world, |process| process.frozen && process.stage != Stage::Gone) {
                    world.say(|| format!("{process:?} goes on"));
                    world.processes[process.at()].frozen = false;
                }
            }
            Fault::Terminate => {
                if let Some(process) = any(world, |process| process.stage != Stage::Gone) {
                    terminate(world, process);
                }
            }
            Fault::CutBroker => {
                if let Some(process) = any(world, |process| process.consuming) {
                    world.say(|| format!("the broker loses {process:?}"));
                    cut_broker(world, process);
                }
            }
            Fault::CutLock => {
                let world_locks = world.db.locks;
                let held = (0..world.processes.len()).filter(|at| world_locks[*at]).collect::<Vec<_>>();
                if !held.is_empty() {
                    let at = world.dice.pick(&held);
                    world.say(|| format!("PostgreSQL ends the sign of life of process-{at}"));
                    world.db.locks[at] = false;
                }
            }
            Fault::LoseStream | Fault::LoseTail => {
                let Some(turn) = self.any_turn() else { return };
                let world = &mut self.world;
                world.say(|| format!("Redis has a {fault:?} of {turn:?}"));
                world.laws.lose_stream(turn);
                match fault {
                    Fault::LoseStream => world.streams.lose(turn.at()),
                    _ => world.streams.lose_tail(turn.at(), 1 + world.dice.below(5)),
                }
            }
            Fault::LoseCounters => {
                world.say(|| "Redis loses the counters".to_owned());
                let mechanisms = world.db.mechanisms;
                world.windows.reset(mechanisms);
                world.laws.lose_counters();
            }
            Fault::LoseMessage => {
                if !world.broker.ready.is_empty() {
                    let nth = world.dice.index(world.broker.ready.len());
                    let message = world.broker.ready.remove(nth);
                    world.say(|| format!("the broker loses {message:?}"));
                }
            }
            Fault::StrayMessage => {
                if let Some(turn) = self.any_turn() {
                    self.world.say(|| format!("a message about {turn:?} comes again"));
                    self.world.broker.publish_turn(turn);
                }
            }
            Fault::Hang => hang(world),
            Fault::Late => {
                if !world.late.is_empty() {
                    let nth = world.dice.index(world.late.len());
                    world.execute_late(nth);
                }
            }
            Fault::Outage => outage(world),
        }
    }
}

/// One of the processes of which this is true.
fn any(world: &mut World, of: impl Fn(&Process) -> bool) -> Option<ProcessId> {
    let count = world.processes.iter().filter(|process| of(process)).count();
    if count == 0 {
        return None;
    }
    let nth = world.dice.index(count);
    let mut found = world.processes.iter().enumerate().filter(|(_, process)| of(process));
    found.nth(nth).map(|(at, _)| ProcessId(u8::try_from(at).unwrap_or(0)))
}

/// A process dies. The servers notice at once or later, each by itself.
fn die(world: &mut World, process: ProcessId) {
    world.kill(process);
    if world.dice.one_in(2) {
        notice(world, process);
    }
    let kind = world.processes[process.at()].kind;
    if has_room(world) {
        world.start(kind);
    }
}

/// Keeps room for the processes that healing may have to start.
fn has_room(world: &World) -> bool {
    world.processes.len() + 4 < crate::model::PROCESSES
}

/// The broker or PostgreSQL notices that a process is gone.
pub(super) fn notice(world: &mut World, process: ProcessId) {
    if world.dice.one_in(2) {
        cut_broker(world, process);
    } else {
        world.db.locks[process.at()] = false;
    }
}

/// The connection of a process to the broker ends.
pub(super) fn cut_broker(world: &mut World, process: ProcessId) {
    world.processes[process.at()].consuming = false;
    world.broker.disconnect(process);
}

/// `SIGTERM`, and what follows it (`worker/src/worker.rs`, `drain`).
fn terminate(world: &mut World, process: ProcessId) {
    let next = match world.processes[process.at()].stage {
        Stage::Running => Stage::Draining,
        Stage::Draining => Stage::HandingBack,
        Stage::HandingBack => Stage::Cutting,
        Stage::Cutting | Stage::Gone => Stage::Gone,
    };
    world.say(|| format!("{process:?} is {next:?}"));
    world.processes[process.at()].stage = next;
    world.processes[process.at()].consuming &= next == Stage::Running;
    let running = world.processes[process.at()].running;
    for entry in running.iter().flatten() {
        match next {
            Stage::HandingBack => world.signals[entry.task].hand_back = true,
            Stage::Cutting => world.signals[entry.task].lost = true,
            Stage::Running | Stage::Draining | Stage::Gone => {}
        }
    }
    if next == Stage::Draining && has_room(world) {
        let kind = world.processes[process.at()].kind;
        world.start(kind);
    }
    if next == Stage::Gone {
        end(world, process);
    }
}

/// A process ends in good order: its connections are closed.
pub(super) fn end(world: &mut World, process: ProcessId) {
    world.kill(process);
    cut_broker(world, process);
    world.db.locks[process.at()] = false;
}

/// An attempt hangs, until its turn is no longer its own.
fn hang(world: &mut World) {
    let running: Vec<usize> = world.processes.iter().flat_map(|p| p.running.iter().flatten()).map(|e| e.task).collect();
    if running.is_empty() {
        return;
    }
    let slot = world.dice.pick(&running);
    world.say(|| format!("task {slot} hangs"));
    if let Some(task) = &mut world.tasks[slot] {
        task.hangs = true;
    }
}

/// A server goes away or comes back.
fn outage(world: &mut World) {
    match world.dice.below(3) {
        0 => world.weather.postgres_away = !world.weather.postgres_away,
        1 => world.weather.redis_away = !world.weather.redis_away,
        _ => {
            world.weather.broker_away = !world.weather.broker_away;
            if world.weather.broker_away {
                let workers = world.processes.len();
                (0..workers).for_each(|at| cut_broker(world, ProcessId(u8::try_from(at).unwrap_or(0))));
            }
        }
    }
    let weather = world.weather;
    world.say(|| format!("{weather:?}"));
}

/// Is there a process of this kind that takes work?
pub(super) fn is_there(world: &World, kind: Kind) -> bool {
    world.processes.iter().any(|process| process.kind == kind && process.stage == Stage::Running)
}
