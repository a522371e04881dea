//! One schedule: a small world, a few users, and whatever the seed has happen to them; then all
//! faults stop, and everything must come to rest.

mod faults;
mod heal;
mod users;

use crate::dice::Dice;
use crate::mechanism::Mechanisms;
use crate::model::database::Settings;
use crate::model::{ProcessId, SECOND, SessionId, Tick, UserId};
use crate::process::{Kind, Me, Stage};
use crate::world::{Script, Weather, World};
pub use faults::Fault;
pub use users::Wish;

/// What a schedule is made of, drawn from its seed.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Steps before everything heals.
    pub steps: u32,
    sessions: Vec<(SessionId, Option<UserId>)>,
    /// Messages that users send.
    submits: u32,
    /// Cancels, edits and drops.
    wishes: u32,
    wish: Wish,
    faults: Vec<Fault>,
    /// A fault comes once in so many steps.
    calm: u32,
    /// Time passes once in so many steps, so much at most.
    haste: u32,
    jump: Tick,
    prefetch: usize,
}

/// Runs schedules one after the other in the same world.
pub struct Scheduler {
    /// The world as the last schedule left it.
    pub world: World,
    mechanisms: Mechanisms,
    /// Changes what was drawn from the seed.
    favour: Option<Favour>,
}

/// A kind of schedule in which some mechanism matters more often than in others.
#[derive(Debug, Clone, Copy)]
pub struct Favour {
    /// The faults that come, some of them more often.
    pub faults: &'static [Fault],
    /// What users want besides answers.
    pub wish: Wish,
    /// How many of those wishes there are.
    pub wishes: u32,
    /// An answer is slow once in so many calls.
    pub slow: u32,
}

/// A law was broken.
#[derive(Debug, Clone)]
pub struct Violation {
    /// The schedule.
    pub seed: u64,
    /// How many of its steps were taken before it healed.
    pub steps: u32,
    /// What is wrong.
    pub what: String,
}

impl Scheduler {
    /// A scheduler with these mechanisms in force.
    pub fn new(mechanisms: Mechanisms) -> Self {
        Self { world: World::new(), mechanisms, favour: None }
    }

    /// A scheduler of one kind of schedules.
    pub fn favouring(mechanisms: Mechanisms, favour: Option<Favour>) -> Self {
        Self { favour, ..Self::new(mechanisms) }
    }

    /// Runs the schedule of a seed, or its first `steps` steps, to its rest.
    pub fn run(&mut self, seed: u64, steps: Option<u32>) -> Result<(), Violation> {
        let mut plan = self.plan(seed);
        plan.steps = plan.steps.min(steps.unwrap_or(u32::MAX));
        let taken = self.disturb(&mut plan);
        if self.world.laws.broken().is_none() {
            self.heal(&plan);
        }
        match self.world.laws.broken() {
            None => Ok(()),
            Some(what) => Err(Violation { seed, steps: taken, what: what.to_owned() }),
        }
    }

    /// Draws a world and starts its processes.
    fn plan(&mut self, seed: u64) -> Plan {
        let mut dice = Dice::new(seed);
        let settings = Settings {
            lease: 10 * SECOND,
            max_running: dice.pick(&[0, 0, 1, 2]),
            max_in_flight: dice.pick(&[0, 0, 2, 3]),
        };
        let world = &mut self.world;
        world.reset(seed ^ 0x5bd1_e995, self.mechanisms, settings);
        let users = [None, Some(UserId(0)), Some(UserId(0)), Some(UserId(1))];
        let sessions =
            (0..dice.between(1, 2)).map(|at| (SessionId(u8::try_from(at).unwrap_or(0)), dice.pick(&users))).collect();
        world.scripts = std::array::from_fn(|_| Script {
            steps: u8::try_from(dice.between(1, 3)).unwrap_or(1),
            fails: dice.one_in(8),
        });
        world.limit = dice.pick(&[None, Some(2_000), Some(1_000_000)]);
        world.longest_wait = dice.one_in(4).then_some(60 * SECOND);
        world.weather = weather(&mut dice);
        world.laws.viewers_are_eager = dice.one_in(2);
        (0..dice.between(1, 2)).for_each(|_| world.start(Kind::Api));
        (0..dice.between(2, 3)).for_each(|_| world.start(Kind::Worker));
        let mut plan = Plan {
            steps: dice.between(40, 300),
            sessions,
            submits: dice.between(1, 5),
            wishes: dice.below(5),
            wish: Wish::Any,
            faults: faults::draw(&mut dice),
            calm: dice.pick(&[12, 25, 60]),
            haste: dice.pick(&[5, 15, 40]),
            jump: dice.pick(&[4, 20, 70]),
            prefetch: dice.pick(&[1, 2, 4]),
        };
        if let Some(favour) = self.favour {
            plan.faults = favour.faults.to_vec();
            plan.calm = 12;
            plan.wish = favour.wish;
            plan.wishes = favour.wishes;
            self.world.weather = Weather { slow: favour.slow, ..Weather::default() };
        }
        plan
    }

    /// The part of the schedule in which things go wrong. Returns the steps taken.
    fn disturb(&mut self, plan: &mut Plan) -> u32 {
        for step in 0..plan.steps {
            if !plan.faults.is_empty() && self.world.dice.one_in(plan.calm) {
                let fault = self.world.dice.pick(&plan.faults);
                self.inject(fault);
            } else if (plan.submits > 0 || plan.wishes > 0) && self.world.dice.one_in(12) {
                self.wish(plan);
            } else if self.world.dice.one_in(plan.haste) || !self.act(plan) {
                self.pass(1 + plan.jump);
            }
            if self.world.laws.broken().is_some() {
                return step + 1;
            }
        }
        plan.steps
    }

    /// Lets some time pass.
    fn pass(&mut self, longest: Tick) {
        let ticks = 1 + self.world.dice.below(longest);
        self.world.db.now += ticks;
        self.world.say(|| format!("    {}.{} s pass", ticks / 10, ticks % 10));
    }

    /// Something that can happen does. False if nothing can.
    fn act(&mut self, plan: &Plan) -> bool {
        let world = &mut self.world;
        let mut able = [Act::Watch; 128];
        let mut count = 0;
        let mut add = |act| {
            if count < able.len() {
                able[count] = act;
                count += 1;
            }
        };
        for (slot, task) in world.tasks.iter().enumerate() {
            let Some(task) = task else { continue };
            let me = Me { process: task.process, task: slot };
            let due = !task.hangs && task.wake_at <= world.db.now && world.processes[task.process.at()].moves();
            if due && (task.parked.is_some() || task.work.is_ready(world, me)) {
                add(Act::Step(slot));
            }
        }
        for (at, process) in world.processes.iter().enumerate() {
            let id = ProcessId(u8::try_from(at).unwrap_or(0));
            if process.kind == Kind::Worker && process.moves() {
                add_worker_acts(world, plan.prefetch, id, &mut add);
            }
        }
        if count == 0 {
            return false;
        }
        match able[world.dice.index(count)] {
            Act::Step(slot) => world.step(slot),
            Act::Connect(worker) => connect(world, worker),
            Act::Deliver(worker) => {
                let nth = world.dice.index(world.broker.ready.len());
                world.deliver(nth, worker);
            }
            Act::Hear(worker) => world.hear_cancels(worker),
            Act::ShowLife(worker) => show_life(world, worker),
            Act::Watch => {}
        }
        true
    }
}

/// What can happen next.
#[derive(Debug, Clone, Copy)]
enum Act {
    Step(usize),
    Connect(ProcessId),
    Deliver(ProcessId),
    Hear(ProcessId),
    ShowLife(ProcessId),
    Watch,
}

fn add_worker_acts(world: &World, prefetch: usize, worker: ProcessId, add: &mut impl FnMut(Act)) {
    let process = &world.processes[worker.at()];
    let takes = process.stage == Stage::Running;
    if !world.weather.broker_away {
        if takes && !process.consuming {
            add(Act::Connect(worker));
        }
        if takes && process.consuming && !world.broker.ready.is_empty() && world.broker.held_by(worker) < prefetch {
            add(Act::Deliver(worker));
        }
        match world.broker.cancels[worker.at()] {
            None => add(Act::Connect(worker)),
            Some(cancels) if !cancels.is_empty() => add(Act::Hear(worker)),
            Some(_) => {}
        }
    }
    if !world.db.locks[worker.at()] && !world.weather.postgres_away {
        add(Act::ShowLife(worker));
    }
}

/// A worker's consumer and its cancel queue are there (`Intake::open`, `CancelListener::open`).
fn connect(world: &mut World, worker: ProcessId) {
    world.say(|| format!("{worker:?} consumes"));
    let takes = world.processes[worker.at()].stage == Stage::Running;
    world.processes[worker.at()].consuming = takes;
    world.broker.cancels[worker.at()].get_or_insert_default();
}

/// A worker holds the lock that shows its life (`lease::show_life`).
fn show_life(world: &mut World, worker: ProcessId) {
    world.say(|| format!("{worker:?} shows its life"));
    world.db.locks[worker.at()] = true;
}

/// How the network is in one schedule; every third is calm.
fn weather(dice: &mut Dice) -> Weather {
    if dice.one_in(3) {
        return Weather { slow: 4, ..Weather::default() };
    }
    let mut often = |of: &[u32]| dice.pick(of);
    Weather {
        failed: often(&[0, 0, 30, 8]),
        unanswered: often(&[0, 0, 30, 8]),
        late: often(&[0, 0, 0, 20]),
        slow: often(&[0, 8, 3]),
        ..Weather::default()
    }
}
