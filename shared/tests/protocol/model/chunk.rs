//! Chunks, and what of them the laws tell apart: every piece of text and every outcome is unique.

use super::{Attempt, CallId};

/// The states of a turn (`copilot_shared::turn::TurnStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Accepted; no worker has it.
    Queued,
    /// A worker has it, or had it.
    Running,
    /// Answered.
    Completed,
    /// Broken.
    Failed,
    /// Stopped.
    Cancelled,
}

impl Status {
    /// No further change is possible.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// Why a turn failed (`copilot_shared::turn::ErrorCode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// The model's provider broke off.
    ProviderError,
    /// No worker took the turn in time.
    QueueTimeout,
    /// Every worker that took the turn died of it.
    AttemptsExhausted,
    /// A usage limit was reached.
    LimitReached,
    /// Nobody knows what was used.
    UsageUnavailable,
}

/// How a turn ends (`copilot_shared::turn::TurnEnd`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Answered.
    Completed,
    /// Broken.
    Failed(ErrorCode),
    /// Stopped.
    Cancelled,
}

impl End {
    /// The terminal state.
    pub fn status(self) -> Status {
        match self {
            Self::Completed => Status::Completed,
            Self::Failed(_) => Status::Failed,
            Self::Cancelled => Status::Cancelled,
        }
    }

    /// What is said of calls that have no outcome.
    pub fn unanswered(self) -> Outcome {
        if self == Self::Cancelled { Outcome::Stopped } else { Outcome::NotCompleted }
    }
}

/// How a tool call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// What the tool answered; no two answers are the same.
    Output(u8),
    /// "The outcome is unknown."
    Unknown,
    /// "The call was not completed."
    NotCompleted,
    /// "Stopped by the user."
    Stopped,
    /// "The worker that ran this call was lost."
    WorkerLost,
}

/// A chunk of a turn's stream (`copilot_shared::chunk::Chunk`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk {
    /// The answer begins.
    Start,
    /// A model call begins.
    StepStart,
    /// A model call and its tools are done.
    StepFinish,
    /// A part begins.
    TextStart(u8),
    /// A piece of text, unique in the schedule.
    TextDelta(u8, u16),
    /// A part ends.
    TextEnd(u8),
    /// The model begins to ask for a tool.
    ToolInputStart(CallId),
    /// The arguments are complete.
    ToolInputAvailable(CallId),
    /// The tool's outcome.
    ToolOutput(CallId, Outcome),
    /// The step before is to be hidden.
    Retry(Attempt),
    /// The turn did not end well.
    Metadata(Status),
    /// The turn failed.
    Error(ErrorCode),
    /// The turn was stopped. The last chunk.
    Abort,
    /// The turn is over. The last chunk.
    Finish(Status),
}

impl Chunk {
    /// May nothing follow?
    pub fn is_last(self) -> bool {
        matches!(self, Self::Abort | Self::Finish(_))
    }
}

/// What a committed model call said: one text, then calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// The part's id, and its pieces.
    pub text: (u8, List<u16, 4>),
    /// The calls that it asks for.
    pub calls: List<CallId, 2>,
}

impl Said {
    /// Nothing.
    pub fn nothing() -> Self {
        Self { text: (0, List::empty(0)), calls: List::empty(CallId(0)) }
    }

    /// Was nothing said?
    pub fn is_empty(&self) -> bool {
        self.text.1.is_empty() && self.calls.is_empty()
    }
}

/// A short list in place.
#[derive(Clone, Copy)]
pub struct List<T, const N: usize> {
    items: [T; N],
    length: u8,
}

impl<T: Copy, const N: usize> List<T, N> {
    /// No items; `filler` stands where none is.
    pub fn empty(filler: T) -> Self {
        Self { items: [filler; N], length: 0 }
    }

    /// Adds an item; the worlds are small enough for `N` of them.
    pub fn push(&mut self, item: T) {
        self.items[self.length as usize] = item;
        self.length += 1;
    }

    /// Drops what is behind the first `length` items.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(u8::try_from(length).unwrap_or(u8::MAX));
    }

    /// Drops all items.
    pub fn clear(&mut self) {
        self.length = 0;
    }

    /// The items.
    pub fn as_slice(&self) -> &[T] {
        &self.items[..self.length as usize]
    }

    /// The items, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.items[..self.length as usize]
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.length as usize
    }

    /// Copies of the items.
    pub fn iter(&self) -> std::iter::Copied<std::slice::Iter<'_, T>> {
        self.as_slice().iter().copied()
    }
}

impl<T: PartialEq + Copy, const N: usize> PartialEq for List<T, N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<T: Eq + Copy, const N: usize> Eq for List<T, N> {}

impl<T: std::fmt::Debug + Copy, const N: usize> std::fmt::Debug for List<T, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_slice().fmt(f)
    }
}
