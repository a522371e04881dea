//! What the chunks of a turn amount to; mirrors [`copilot_shared::fold::Fold`], and is held to it by
//! the conformance tests.

use super::chunk::{Chunk, End, ErrorCode, List, Outcome, Said, Status};
use super::{Attempt, CallId};

/// The state after some chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fold {
    /// The last sequence number that was folded.
    pub sequence: u32,
    started: bool,
    items: List<Item, 64>,
    step_open: bool,
    parts: u8,
    status: Option<Status>,
    error: Option<ErrorCode>,
    end: Option<Chunk>,
}

/// What a client shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A step begins.
    StepStart,
    /// A step ends.
    StepFinish,
    /// A text begins.
    Text(u8),
    /// A piece of the text before it.
    Piece(u16),
    /// The text before it ends.
    TextEnd,
    /// A call: is its input complete, and what came of it?
    Tool(CallId, bool, Option<Outcome>),
}

impl Default for Fold {
    fn default() -> Self {
        Self {
            sequence: 0,
            started: false,
            items: List::empty(Item::StepStart),
            step_open: false,
            parts: 0,
            status: None,
            error: None,
            end: None,
        }
    }
}

impl Fold {
    /// `Fold::apply`.
    pub fn apply(&mut self, chunk: Chunk) {
        match chunk {
            Chunk::Start => self.started = true,
            Chunk::StepStart => {
                self.items.push(Item::StepStart);
                self.step_open = true;
            }
            Chunk::StepFinish => {
                self.items.push(Item::StepFinish);
                self.step_open = false;
            }
            Chunk::TextStart(part) => {
                self.parts = (self.parts + 1).max(part);
                self.items.push(Item::Text(part));
            }
            // Texts never interleave, so the piece belongs to the last one.
            Chunk::TextDelta(_, piece) => self.items.push(Item::Piece(piece)),
            Chunk::TextEnd(_) => self.items.push(Item::TextEnd),
            Chunk::ToolInputStart(call) => self.items.push(Item::Tool(call, false, None)),
            Chunk::ToolInputAvailable(call) => match self.tool(call) {
                Some(Item::Tool(_, available, _)) => *available = true,
                _ => self.items.push(Item::Tool(call, true, None)),
            },
            Chunk::ToolOutput(call, outcome) => {
                if let Some(Item::Tool(_, _, known)) = self.tool(call) {
                    *known = Some(outcome);
                }
            }
            Chunk::Retry(_) => self.hide_step(),
            Chunk::Metadata(status) => self.status = Some(status),
            Chunk::Error(code) => self.error = Some(code),
            Chunk::Abort | Chunk::Finish(_) => self.end = Some(chunk),
        }
    }

    /// Takes in the next chunk with its number.
    pub fn apply_next(&mut self, chunk: Chunk) {
        self.apply(chunk);
        self.sequence += 1;
    }

    fn tool(&mut self, call: CallId) -> Option<&mut Item> {
        self.items.as_mut_slice().iter_mut().rev().find(|item| matches!(item, Item::Tool(id, ..) if *id == call))
    }

    fn hide_step(&mut self) {
        if let Some(start) = self.last_step_start() {
            self.items.truncate(start);
        }
        self.step_open = false;
    }

    fn last_step_start(&self) -> Option<usize> {
        self.items.as_slice().iter().rposition(|item| *item == Item::StepStart)
    }

    /// `Fold::has_started`.
    pub fn has_started(&self) -> bool {
        self.started
    }

    /// `Fold::has_ended`.
    pub fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// The last chunk, once it is there.
    pub fn end(&self) -> Option<Chunk> {
        self.end
    }

    /// `Fold::in_step`.
    pub fn in_step(&self) -> bool {
        self.step_open
    }

    /// `Fold::steps_begun`.
    pub fn steps_begun(&self) -> usize {
        self.items.iter().filter(|item| *item == Item::StepStart).count()
    }

    /// `Fold::next_part`.
    pub fn next_part(&self) -> u8 {
        self.parts + 1
    }

    /// `Fold::has_tool_output`.
    pub fn has_tool_output(&self, call: CallId) -> bool {
        self.items.iter().any(|item| matches!(item, Item::Tool(id, _, Some(_)) if id == call))
    }

    /// `Fold::has_open_tools`.
    pub fn has_open_tools(&self) -> bool {
        self.items.iter().any(|item| matches!(item, Item::Tool(_, _, None)))
    }

    /// `Fold::closing`.
    pub fn closing(&self, unanswered: Outcome, mut push: impl FnMut(Chunk)) {
        if let Some(part) = self.open_text() {
            push(Chunk::TextEnd(part));
        }
        for item in self.items.iter() {
            if let Item::Tool(call, _, None) = item {
                push(Chunk::ToolOutput(call, unanswered));
            }
        }
        if self.step_open {
            push(Chunk::StepFinish);
        }
    }

    /// The text that has no end yet.
    pub fn open_text(&self) -> Option<u8> {
        let mut open = None;
        for item in self.items.iter() {
            match item {
                Item::Text(part) => open = Some(part),
                Item::TextEnd => open = None,
                Item::StepStart | Item::StepFinish | Item::Piece(_) | Item::Tool(..) => {}
            }
        }
        open
    }

    /// The first call without an outcome, and whether its input is complete.
    pub fn open_call(&self) -> Option<(CallId, bool)> {
        self.items.iter().find_map(|item| match item {
            Item::Tool(call, available, None) => Some((call, available)),
            _ => None,
        })
    }

    /// `Fold::retrying`.
    pub fn retrying(&self, attempt: Attempt, mut push: impl FnMut(Chunk)) {
        if self.step_open {
            self.closing(Outcome::WorkerLost, &mut push);
            push(Chunk::Retry(attempt));
        }
    }

    /// `Fold::ending`.
    pub fn ending(&self, end: End, mut push: impl FnMut(Chunk)) {
        if !self.started {
            push(Chunk::Start);
        }
        self.closing(end.unanswered(), &mut push);
        match end {
            End::Completed => push(Chunk::Finish(Status::Completed)),
            End::Cancelled => {
                push(Chunk::Metadata(Status::Cancelled));
                push(Chunk::Abort);
            }
            End::Failed(code) => {
                push(Chunk::Metadata(Status::Failed));
                push(Chunk::Error(code));
                push(Chunk::Finish(Status::Failed));
            }
        }
    }

    /// `Fold::open_step_parts`.
    pub fn open_step_parts(&self) -> Said {
        let mut said = Said::nothing();
        if !self.step_open {
            return said;
        }
        for item in self.items.as_slice().iter().skip(self.last_step_start().unwrap_or(0)) {
            match *item {
                Item::Text(part) => said.text.0 = part,
                Item::Piece(piece) => said.text.1.push(piece),
                Item::Tool(call, true, _) => said.calls.push(call),
                Item::StepStart | Item::StepFinish | Item::TextEnd | Item::Tool(_, false, _) => {}
            }
        }
        said
    }

    /// `Fold::replay`.
    pub fn replay(&self, mut push: impl FnMut(Chunk)) {
        if !self.started {
            return;
        }
        push(Chunk::Start);
        let mut part = 0;
        for item in self.items.iter() {
            match item {
                Item::StepStart => push(Chunk::StepStart),
                Item::StepFinish => push(Chunk::StepFinish),
                Item::Text(id) => {
                    part = id;
                    push(Chunk::TextStart(id));
                }
                Item::Piece(piece) => push(Chunk::TextDelta(part, piece)),
                Item::TextEnd => push(Chunk::TextEnd(part)),
                Item::Tool(call, available, outcome) => {
                    push(if available { Chunk::ToolInputAvailable(call) } else { Chunk::ToolInputStart(call) });
                    if let Some(outcome) = outcome {
                        push(Chunk::ToolOutput(call, outcome));
                    }
                }
            }
        }
        self.status.into_iter().for_each(|status| push(Chunk::Metadata(status)));
        self.error.into_iter().for_each(|code| push(Chunk::Error(code)));
        self.end.into_iter().for_each(push);
    }

    /// The message and where it ends, in words; how many parts were ever begun is told apart.
    pub fn told(&self) -> String {
        let Self { sequence, started, items, step_open, parts: _, status, error, end } = self;
        format!("up to {sequence}: {started} {items:?} {step_open} {status:?} {error:?} {end:?}")
    }

    /// Has every part an id of its own?
    pub fn has_distinct_parts(&self) -> bool {
        let mut seen = 0_u64;
        self.items.iter().all(|item| match item {
            Item::Text(part) => {
                let known = seen;
                seen |= 1 << part;
                known != seen
            }
            _ => true,
        })
    }

    /// What of the message the history must tell as well: the texts in order, and every outcome.
    pub fn shown(&self) -> impl Iterator<Item = Item> {
        self.items.as_slice().iter().copied().filter(|item| matches!(item, Item::Piece(_) | Item::Tool(_, true, _)))
    }
}
