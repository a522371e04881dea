//! Processes and what runs in them. Between any two calls a process may die, freeze, or not hear
//! the answer of a call that was carried out.

pub mod attempt;
pub mod call;
pub mod cancel;
pub mod intake;
pub mod lease;
pub mod publish;
pub mod reconcile;
pub mod recovery;
pub mod seal;
pub mod step;
pub mod submit;
pub mod usage;
pub mod writer;

use crate::model::{Attempt, ProcessId, TURNS, Tick, Ticket, Turns};
use crate::world::World;
use call::{Answer, Call};

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Api,
    Worker,
}

/// How far a process is on its way out (`worker/src/worker.rs`, `drain`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It takes turns.
    Running,
    /// It takes no more turns, and lets those that it has end.
    Draining,
    /// It hands turns back at their next step boundary.
    HandingBack,
    /// It cuts what is left.
    Cutting,
    /// It is dead.
    Gone,
}

/// A turn that a worker has claimed (`worker/src/running.rs`, `Entry`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub attempt: Attempt,
    /// The task that runs it.
    pub task: usize,
    /// The delivery that is settled when it ends.
    pub delivery: Option<u16>,
}

/// How an attempt hears from the rest of its process (`worker/src/running.rs`, `Signals`).
#[derive(Debug, Clone, Copy, Default)]
pub struct Signals {
    pub cancel: bool,
    pub lost: bool,
    pub hand_back: bool,
    pub stored: u32,
}

/// A process.
#[derive(Debug, Clone)]
pub struct Process {
    pub kind: Kind,
    pub stage: Stage,
    pub frozen: bool,
    /// The broker gives it deliveries.
    pub consuming: bool,
    /// It keeps a lock that shows its life, or is about to take it again.
    pub running: [Option<Entry>; TURNS],
    /// Streams that it has sealed and not noted yet.
    pub sealed: Turns,
    /// Publications that it has not noted yet.
    pub published: Turns,
    /// Steps that it has counted and not noted yet.
    pub settled: Vec<(Ticket, u8)>,
}

impl Process {
    /// A process that has just started.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            stage: Stage::Running,
            frozen: false,
            consuming: false,
            running: [None; TURNS],
            sealed: Turns::default(),
            published: Turns::default(),
            settled: Vec::new(),
        }
    }

    /// Does it take steps?
    pub fn moves(&self) -> bool {
        self.stage != Stage::Gone && !self.frozen
    }
}

/// Who takes a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Me {
    pub process: ProcessId,
    pub task: usize,
}

impl std::fmt::Debug for Me {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}#{}", self.process, self.task)
    }
}

/// What a task does after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// It goes on.
    Go,
    /// It goes on later.
    Sleep(Tick),
    /// It is over.
    Done,
}

/// Something that makes one call after the other.
pub trait Steps {
    /// The next call. Depends on the state alone, so that it can be asked again.
    fn next(&self, world: &World, me: Me) -> Call;

    /// Takes the answer in.
    fn take(&mut self, world: &mut World, me: Me, answer: Answer) -> Flow;

    /// Could it go on now? A task that waits for another one could not.
    fn is_ready(&self, _world: &World, _me: Me) -> bool {
        true
    }
}

/// What runs in a process.
pub enum Work {
    Submit(submit::Submit),
    Edit(submit::Edit),
    Publish(publish::Publish),
    NotePublished(publish::NotePublished),
    Cancel(cancel::Cancel),
    Reconcile(reconcile::Reconcile),
    Renew(lease::Renew),
    NoteSealed(lease::NoteSealed),
    NoteSettled(lease::NoteSettled),
    Run(intake::Run),
    Append(writer::Append),
}

/// A task of a process.
pub struct Task {
    pub process: ProcessId,
    pub wake_at: Tick,
    /// An answer that has arrived and was not looked at yet.
    pub parked: Option<Answer>,
    /// It does not go on, though its process lives.
    pub hangs: bool,
    pub work: Work,
}

impl Work {
    /// The task as something that takes steps.
    pub fn steps(&mut self) -> &mut dyn Steps {
        match self {
            Self::Submit(task) => task,
            Self::Edit(task) => task,
            Self::Publish(task) => task,
            Self::NotePublished(task) => task,
            Self::Cancel(task) => task,
            Self::Reconcile(task) => task,
            Self::Renew(task) => task,
            Self::NoteSealed(task) => task,
            Self::NoteSettled(task) => task,
            Self::Run(task) => task,
            Self::Append(task) => task,
        }
    }

    /// Could it go on now?
    pub fn is_ready(&self, world: &World, me: Me) -> bool {
        match self {
            Self::Cancel(task) => task.is_ready(world, me),
            Self::Run(task) => task.is_ready(world, me),
            Self::Append(task) => task.is_ready(world, me),
            _ => true,
        }
    }

    /// Does it never end?
    pub fn is_loop(&self) -> bool {
        matches!(
            self,
            Self::NotePublished(_) | Self::Reconcile(_) | Self::Renew(_) | Self::NoteSealed(_) | Self::NoteSettled(_)
        )
    }

    /// What a trace calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Submit(_) => "submit",
            Self::Edit(_) => "edit",
            Self::Publish(_) => "publish",
            Self::NotePublished(_) => "note published",
            Self::Cancel(_) => "cancel",
            Self::Reconcile(_) => "reconciler",
            Self::Renew(_) => "renew",
            Self::NoteSealed(_) => "note sealed",
            Self::NoteSettled(_) => "note settled",
            Self::Run(_) => "run",
            Self::Append(_) => "append",
        }
    }
}
