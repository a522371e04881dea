//! The servers, the processes, and the network between them.

use std::fmt::Write as _;

use crate::dice::Dice;
use crate::laws::Laws;
use crate::mechanism::{Mechanism, Mechanisms};
use crate::model::broker::Broker;
use crate::model::chunk::Outcome;
use crate::model::database::{Database, NewTurn, Settings, Submitted};
use crate::model::streams::Streams;
use crate::model::windows::Windows;
use crate::model::{CallId, PROCESSES, ProcessId, TICKETS, TURNS, Tick, Ticket, TurnId};
use crate::process::call::{Answer, Call, Server, ask_broker, ask_database, ask_redis};
use crate::process::intake::Run;
use crate::process::lease::{NoteSealed, NoteSettled, Renew};
use crate::process::publish::NotePublished;
use crate::process::reconcile::Reconcile;
use crate::process::writer::Writer;
use crate::process::{Flow, Kind, Me, Process, Signals, Stage, Task, Work};

/// Tasks that may live at once.
const TASKS: usize = 96;

/// What the model of a turn is to answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Script {
    /// Model calls.
    pub steps: u8,
    /// The provider breaks off in the last one.
    pub fails: bool,
}

/// What a tool tells of itself (`copilot_shared::tool`).
#[derive(Debug, Clone, Copy, Default)]
pub struct Tool {
    /// `Repeat::Never`.
    pub never: bool,
    /// `Concurrency::Alone`.
    pub alone: bool,
}

/// How often the network fails, as "once in so many calls"; 0 for never.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// A call is not carried out.
    pub failed: u32,
    /// A call is carried out, and its answer is lost.
    pub unanswered: u32,
    /// A call is carried out after its caller has given it up.
    pub late: u32,
    /// An answer arrives after other things have happened.
    pub slow: u32,
    /// The servers that cannot be reached at all.
    pub postgres_away: bool,
    pub redis_away: bool,
    pub broker_away: bool,
}

/// The whole world.
pub struct World {
    pub db: Database,
    pub streams: Streams,
    pub windows: Windows,
    pub broker: Broker,
    pub processes: Vec<Process>,
    pub tasks: Vec<Option<Box<Task>>>,
    pub signals: Vec<Signals>,
    pub writers: Vec<Writer>,
    writing: Vec<bool>,
    pub scripts: [Script; TURNS],
    tools: Vec<Tool>,
    pub longest_wait: Option<Tick>,
    /// Weighted tokens that a user may use; none for no limit.
    pub limit: Option<u32>,
    pub weather: Weather,
    /// Calls that were given up and are still on their way.
    pub late: Vec<Call>,
    /// Submits that clients send again.
    pub resubmits: Vec<NewTurn>,
    pub dice: Dice,
    pub laws: Laws,
    /// What happened, in words, if anybody wants to know.
    pub trace: Option<Vec<String>>,
    stepping: Option<usize>,
    pieces: u16,
    outcomes: u8,
    tickets: u8,
}

impl World {
    /// An empty world.
    pub fn new() -> Self {
        Self {
            db: Database::default(),
            streams: Streams::default(),
            windows: Windows::default(),
            broker: Broker::default(),
            processes: Vec::new(),
            tasks: Vec::with_capacity(TASKS),
            signals: vec![Signals::default(); TASKS],
            writers: vec![Writer::default(); TASKS],
            writing: vec![false; TASKS],
            scripts: [Script::default(); TURNS],
            tools: Vec::new(),
            longest_wait: None,
            limit: None,
            weather: Weather::default(),
            late: Vec::new(),
            resubmits: Vec::new(),
            dice: Dice::new(0),
            laws: Laws::default(),
            trace: None,
            stepping: None,
            pieces: 0,
            outcomes: 0,
            tickets: 0,
        }
    }

    /// Begins again; what was allocated is kept.
    pub fn reset(&mut self, seed: u64, mechanisms: Mechanisms, settings: Settings) {
        self.db.reset(settings, mechanisms);
        self.streams.reset(mechanisms);
        self.windows.reset(mechanisms);
        self.broker.reset();
        self.processes.clear();
        self.tasks.clear();
        self.writing.fill(false);
        self.tools.clear();
        self.longest_wait = None;
        self.limit = None;
        self.tickets = 0;
        self.weather = Weather::default();
        self.late.clear();
        self.resubmits.clear();
        self.dice = Dice::new(seed);
        self.laws.reset();
        if let Some(trace) = &mut self.trace {
            trace.clear();
        }
        self.pieces = 0;
        self.outcomes = 0;
    }

    /// The time.
    pub fn now(&self) -> Tick {
        self.db.now
    }

    /// The process of a task.
    pub fn process_mut(&mut self, me: Me) -> &mut Process {
        &mut self.processes[me.process.at()]
    }

    /// Does the turn's stream have its last chunk? What viewers see of it.
    pub fn is_closed(&self, turn: TurnId) -> bool {
        self.streams.meta(turn).is_some_and(|meta| meta.closed)
    }

    /// A tool as it is declared.
    pub fn tool(&self, call: CallId) -> Tool {
        self.tools.get(call.at()).copied().unwrap_or_default()
    }

    /// A call that a model asks for.
    pub fn new_call(&mut self) -> CallId {
        let id = CallId(u16::try_from(self.tools.len()).unwrap_or(u16::MAX));
        let tool = Tool { never: self.dice.one_in(2), alone: self.dice.one_in(3) };
        self.tools.push(tool);
        self.laws.declare(tool.never);
        id
    }

    /// An id for a turn that is to be submitted; none if the world has no more.
    pub fn new_ticket(&mut self) -> Option<Ticket> {
        let ticket = Ticket(self.tickets);
        (ticket.at() < TICKETS).then(|| {
            self.tickets += 1;
            ticket
        })
    }

    /// A piece of text that nobody has said.
    pub fn new_piece(&mut self) -> u16 {
        self.pieces += 1;
        self.pieces
    }

    /// An outcome that no call came to.
    pub fn new_outcome(&mut self) -> Outcome {
        self.outcomes = self.outcomes.wrapping_add(1);
        Outcome::Output(self.outcomes)
    }

    /// The writer of a task's attempt.
    pub fn begin_writer(&mut self, task: usize, writer: Writer) {
        self.writers[task] = writer;
        self.writing[task] = true;
    }

    /// Is there one?
    pub fn has_writer(&self, task: usize) -> bool {
        self.writing[task]
    }

    /// The attempt is over, and with it the task that appends.
    pub fn end_writer(&mut self, task: usize) {
        self.writing[task] = false;
        for slot in &mut self.tasks {
            if matches!(slot.as_deref(), Some(Task { work: Work::Append(append), .. }) if append.of == task) {
                *slot = None;
            }
        }
    }

    /// Tells the client what became of its submit.
    pub fn answer_submit(&mut self, new: &NewTurn, submitted: Submitted) {
        self.laws.answered(&self.db, new, submitted);
    }

    /// Starts a process.
    pub fn start(&mut self, kind: Kind) {
        if self.processes.len() == PROCESSES {
            return;
        }
        let id = ProcessId(u8::try_from(self.processes.len()).unwrap_or(u8::MAX));
        self.processes.push(Process::new(kind));
        self.say(|| format!("{id:?} starts as {kind:?}"));
        self.spawn(id, Work::Reconcile(Reconcile::default()));
        match kind {
            Kind::Api => self.spawn(id, Work::NotePublished(NotePublished::default())),
            Kind::Worker => {
                self.spawn(id, Work::Renew(Renew::default()));
                self.spawn(id, Work::NoteSealed(NoteSealed::default()));
                self.spawn(id, Work::NoteSettled(NoteSettled::default()));
            }
        }
    }

    /// Starts a task in a process.
    pub fn spawn(&mut self, process: ProcessId, work: Work) {
        let free = (0..self.tasks.len()).find(|slot| self.tasks[*slot].is_none() && self.stepping != Some(*slot));
        let slot = free.unwrap_or_else(|| {
            self.tasks.push(None);
            self.tasks.len() - 1
        });
        assert!(slot < TASKS, "more than {TASKS} tasks");
        self.writing[slot] = false;
        self.tasks[slot] = Some(Box::new(Task { process, wake_at: self.now(), parked: None, hangs: false, work }));
    }

    /// Gives a message to a worker.
    pub fn deliver(&mut self, nth: usize, worker: ProcessId) {
        let delivery = self.broker.deliver(nth, worker);
        self.say(|| format!("{worker:?} is given {delivery:?}"));
        self.spawn(worker, Work::Run(Run::new(delivery)));
    }

    /// A worker hears what is in its cancel queue.
    pub fn hear_cancels(&mut self, worker: ProcessId) {
        let Some(cancels) = self.broker.cancels[worker.at()].replace(crate::model::Turns::default()) else { return };
        self.say(|| format!("{worker:?} hears that {cancels:?} are to stop"));
        for turn in cancels {
            let session = self.db.turn(turn).session;
            for (at, entry) in self.processes[worker.at()].running.iter().enumerate() {
                let hit = if self.db.has(Mechanism::CancelNamesTurn) {
                    at == turn.at()
                } else {
                    self.db.turns.get(at).is_some_and(|row| row.session == session)
                };
                if let Some(entry) = entry.filter(|_| hit) {
                    self.signals[entry.task].cancel = true;
                }
            }
        }
    }

    /// A process is gone, and nobody has noticed yet.
    pub fn kill(&mut self, process: ProcessId) {
        self.say(|| format!("{process:?} dies"));
        self.processes[process.at()].stage = Stage::Gone;
        self.processes[process.at()].running = [None; TURNS];
        for slot in 0..self.tasks.len() {
            let Some(task) = self.tasks[slot].take_if(|task| task.process == process) else { continue };
            self.writing[slot] = false;
            if let Work::Submit(submit) = &task.work {
                self.resubmits.extend(submit.unanswered());
            }
        }
    }

    /// Takes one step of a task.
    pub fn step(&mut self, slot: usize) {
        let Some(mut task) = self.tasks[slot].take() else { return };
        self.stepping = Some(slot);
        let me = Me { process: task.process, task: slot };
        let answer = task.parked.take().or_else(|| {
            let call = task.work.steps().next(self, me);
            let (answer, slow) = self.ask(me, task.work.name(), &call);
            if slow {
                task.parked = Some(answer);
                return None;
            }
            Some(answer)
        });
        let flow = answer.map_or(Flow::Go, |answer| task.work.steps().take(self, me, answer));
        self.stepping = None;
        match flow {
            Flow::Go => {}
            Flow::Sleep(ticks) => task.wake_at = self.now() + ticks,
            Flow::Done => return,
        }
        // A process that died in this very step takes its tasks with it.
        self.tasks[slot] = Some(task);
    }

    /// Sends a call through the network. True if the answer is to be looked at later.
    fn ask(&mut self, me: Me, who: &'static str, call: &Call) -> (Answer, bool) {
        let server = call.server();
        if server == Server::Itself {
            return (Answer::Done, false);
        }
        let weather = self.weather;
        let away = match server {
            Server::Postgres => weather.postgres_away,
            Server::Redis => weather.redis_away,
            Server::RabbitMq => weather.broker_away,
            Server::Itself => false,
        };
        // A settlement that is lost with its connection is one that was never sent.
        let settles = matches!(call, Call::Ack(_) | Call::Requeue(_));
        if settles {
            return (self.execute(me, who, call), false);
        }
        if away || self.dice.one_in(weather.failed) {
            self.say(|| format!("{me:?} {who}: {call:?} is not carried out"));
            return (Answer::Unavailable, false);
        }
        if self.dice.one_in(weather.late) {
            self.say(|| format!("{me:?} {who}: {call:?} is given up on its way"));
            self.late.push(call.clone());
            return (Answer::Unavailable, false);
        }
        let answer = self.execute(me, who, call);
        if self.dice.one_in(weather.unanswered) {
            self.say(|| "    … and the answer is lost".to_owned());
            return (Answer::Unavailable, false);
        }
        (answer, self.dice.one_in(weather.slow))
    }

    /// Carries out a call that was given up long ago.
    pub fn execute_late(&mut self, nth: usize) {
        let call = self.late.swap_remove(nth);
        let nobody = Me { process: ProcessId(u8::MAX), task: 0 };
        self.execute(nobody, "late", &call);
    }

    /// A server carries out a call, under the eyes of the laws.
    fn execute(&mut self, me: Me, who: &'static str, call: &Call) -> Answer {
        let before = Laws::look(&self.db, &self.streams, call);
        let answer = match call.server() {
            Server::Postgres => ask_database(&mut self.db, call),
            Server::Redis => ask_redis(&mut self.streams, &mut self.windows, self.db.now, call),
            Server::RabbitMq => ask_broker(&mut self.broker, call),
            Server::Itself => Answer::Done,
        };
        self.say(|| {
            let mut line = format!("{me:?} {who}: {call:?}");
            let written = write!(line, " → {answer:?}");
            debug_assert!(written.is_ok());
            line
        });
        self.laws.judge((&self.db, &self.streams, &self.windows), call, &before, &answer);
        answer
    }

    /// Adds a line to the trace, if there is one.
    pub fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let at = self.db.now;
            trace.push(format!("{:>4}.{}s  {}", at / 10, at % 10, line()));
        }
    }
}
