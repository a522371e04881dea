//! The stored stream of a turn: whole, in order, well formed, ended once.

use std::collections::{HashMap, HashSet};

use copilot_shared::chunk::{Chunk, Frame, parse_frames};
use copilot_shared::id::{PartId, ToolCallId, TurnId};
use copilot_shared::stream::{Meta, Streams};
use copilot_shared::turn::TurnStatus;

use super::Case;

/// Everything that Redis has of a turn.
pub struct Log {
    pub meta: Option<Meta>,
    /// The chunks with their numbers, in the order in which they are stored.
    pub chunks: Vec<(u64, Chunk)>,
}

impl Log {
    pub async fn read(streams: &Streams, turn: TurnId) -> Self {
        let meta = streams.meta(turn).await.expect("Redis can be read");
        let mut chunks = Vec::new();
        let mut after = 0;
        loop {
            let page = streams.read_after(turn, after).await.expect("Redis can be read");
            for batch in &page.batches {
                after = batch.last;
                let frames = parse_frames(&batch.frames).expect("stored batches are frames");
                chunks.extend(frames.into_iter().filter_map(numbered));
            }
            if !page.more {
                return Self { meta, chunks };
            }
        }
    }

    /// The chunk of this number.
    pub fn chunk(&self, sequence: u64) -> Option<&Chunk> {
        let first = self.chunks.first()?.0;
        self.chunks.get(usize::try_from(sequence.checked_sub(first)?).ok()?).map(|(_, chunk)| chunk)
    }

    /// The chunks without their numbers.
    pub fn all(&self) -> Vec<Chunk> {
        self.chunks.iter().map(|(_, chunk)| chunk.clone()).collect()
    }

    pub fn last(&self) -> u64 {
        self.chunks.last().map_or(0, |(sequence, _)| *sequence)
    }
}

fn numbered(frame: Frame) -> Option<(u64, Chunk)> {
    match frame {
        Frame::Chunk(Some(sequence), chunk) => Some((sequence, chunk)),
        Frame::Chunk(None, _) | Frame::Usage(_) => None,
    }
}

/// What is wrong with a stream.
pub fn findings(case: &Case<'_>) -> Vec<String> {
    let log = case.log;
    let mut findings = Vec::new();
    let Some(meta) = log.meta else {
        // What was lost after its end was seen by everybody who was there, and is in the history.
        return if case.lossy { findings } else { vec!["its stream is not there".into()] };
    };
    if !meta.closed || meta.last != log.last() {
        findings.push(format!("its stream ends at {} and its record says {meta:?}", log.last()));
    }
    let first = if case.lossy { meta.base + 1 } else { 1 };
    if let Some(at) = log.chunks.iter().zip(first..).position(|((sequence, _), wanted)| *sequence != wanted) {
        let around: Vec<u64> = log.chunks.iter().skip(at.saturating_sub(2)).take(5).map(|(n, _)| *n).collect();
        findings.push(format!("its chunks are not {first}, {}, …: {around:?}", first + 1));
    }
    findings.extend(wrong_end(case));
    if !case.lossy
        && let Err(finding) = well_formed(&log.all())
    {
        findings.push(finding);
    }
    findings
}

fn wrong_end(case: &Case<'_>) -> Option<String> {
    let ends: Vec<&Chunk> = case
        .log
        .chunks
        .iter()
        .map(|(_, chunk)| chunk)
        .filter(|chunk| matches!(chunk, Chunk::Finish { .. } | Chunk::Abort { .. }))
        .collect();
    let errors = case.log.chunks.iter().filter(|(_, chunk)| matches!(chunk, Chunk::Error { .. })).count();
    let fits = match (case.row.status, ends.as_slice()) {
        (TurnStatus::Completed, [Chunk::Finish { .. }]) | (TurnStatus::Cancelled, [Chunk::Abort { .. }]) => errors == 0,
        (TurnStatus::Failed, [Chunk::Finish { .. }]) => errors == 1,
        _ => false,
    };
    (!fits).then(|| format!("its stream ended with {ends:?} and {errors} errors"))
}

#[derive(Default)]
struct Grammar {
    started: bool,
    ended: bool,
    in_step: bool,
    parts: HashSet<PartId>,
    open_parts: HashSet<PartId>,
    /// Each call: has its input been sent whole, has its outcome?
    calls: HashMap<ToolCallId, (bool, bool)>,
}

fn well_formed(chunks: &[Chunk]) -> Result<(), String> {
    let mut grammar = Grammar::default();
    for (at, chunk) in chunks.iter().enumerate() {
        if !grammar.takes(chunk) {
            return Err(format!("chunk {} is out of place: {chunk:?}", at + 1));
        }
    }
    if grammar.ended { Ok(()) } else { Err("its stream has no end".into()) }
}

impl Grammar {
    fn takes(&mut self, chunk: &Chunk) -> bool {
        if self.ended || self.started == matches!(chunk, Chunk::Start { .. }) {
            return false;
        }
        let settled = self.open_parts.is_empty() && self.calls.values().all(|(_, answered)| *answered);
        match chunk {
            Chunk::Start { .. } => {
                self.started = true;
                true
            }
            Chunk::StartStep => !std::mem::replace(&mut self.in_step, true),
            Chunk::FinishStep => std::mem::take(&mut self.in_step) && settled,
            Chunk::TextStart { id } | Chunk::ReasoningStart { id } => {
                self.in_step && self.parts.insert(id.clone()) && self.open_parts.insert(id.clone())
            }
            Chunk::TextDelta { id, .. } | Chunk::ReasoningDelta { id, .. } => self.open_parts.contains(id),
            Chunk::TextEnd { id } | Chunk::ReasoningEnd { id } => self.open_parts.remove(id),
            Chunk::ToolInputStart { tool_call_id, .. } => {
                self.in_step && self.calls.insert(tool_call_id.clone(), (false, false)).is_none()
            }
            Chunk::ToolInputDelta { tool_call_id, .. } => self.calls.get(tool_call_id) == Some(&(false, false)),
            Chunk::ToolInputAvailable { tool_call_id, .. } => {
                self.calls.get_mut(tool_call_id).is_some_and(|(sent, _)| !std::mem::replace(sent, true))
            }
            Chunk::ToolOutputAvailable { tool_call_id, .. } | Chunk::ToolOutputError { tool_call_id, .. } => {
                self.calls.get_mut(tool_call_id).is_some_and(|(_, answered)| !std::mem::replace(answered, true))
            }
            Chunk::DataRetry { .. } | Chunk::MessageMetadata { .. } | Chunk::Error { .. } => settled && !self.in_step,
            Chunk::DataStatus { .. } => false,
            Chunk::Abort { .. } | Chunk::Finish { .. } => {
                self.ended = true;
                settled && !self.in_step
            }
        }
    }
}
