//! What viewers saw must be what is stored: each chunk once, in order, up to the end.

use copilot_shared::chunk::Chunk;

use super::super::ledger::{Ending, Seen, Viewer};
use super::log::Log;
use crate::client::{Event, message_of};

pub fn judge(seen: &Seen, log: &Log, lossy: bool) -> Result<(), String> {
    match seen.ending {
        Ending::OutOfTime => return Err(format!("waited in vain behind chunk {}", last(seen))),
        Ending::StreamLost | Ending::Refused(_) if !lossy => {
            return Err(format!("was sent away ({:?}) behind chunk {} of {}", seen.ending, last(seen), log.last()));
        }
        Ending::Done | Ending::StreamLost | Ending::Refused(_) => {}
    }
    match seen.viewer {
        Viewer::ByCursor => by_cursor(seen, log, lossy),
        Viewer::Compacted => compacted(seen, log, lossy),
    }
}

fn last(seen: &Seen) -> u64 {
    seen.events.last().and_then(|event| event.id).map_or(0, |id| id.sequence)
}

fn by_cursor(seen: &Seen, log: &Log, lossy: bool) -> Result<(), String> {
    let sequences: Vec<u64> = seen.events.iter().filter_map(|event| event.id).map(|id| id.sequence).collect();
    if let Some(at) = sequences.iter().zip(1..).position(|(got, wanted)| *got != wanted) {
        let around = &sequences[at.saturating_sub(2)..(at + 3).min(sequences.len())];
        return Err(format!("did not get 1, 2, 3, …: {around:?} (of {})", log.last()));
    }
    // A stream that was lost with its worker before the row knew of it is begun anew at 1, which is
    // known and not promised otherwise (RELIABILITY.md).
    if lossy && log.chunks.first().is_some_and(|(sequence, _)| *sequence == 1) {
        return Ok(());
    }
    for event in &seen.events {
        let sequence = event.id.map_or(0, |id| id.sequence);
        if let Some(stored) = log.chunk(sequence)
            && *stored != event.chunk()
        {
            return Err(format!("got {} where {stored:?} is stored as chunk {sequence}", event.data));
        }
    }
    // A stream that was lost after its end may have been made anew, at other numbers.
    if seen.ending == Ending::Done && !lossy && last(seen) != log.last() {
        return Err(format!("was told that all is said at chunk {} of {}", last(seen), log.last()));
    }
    Ok(())
}

fn compacted(seen: &Seen, log: &Log, lossy: bool) -> Result<(), String> {
    if seen.ending != Ending::Done || lossy {
        return Ok(());
    }
    let chunks: Vec<Chunk> =
        seen.events.iter().map(Event::chunk).filter(|c| !matches!(c, Chunk::DataStatus { .. })).collect();
    let (mine, stored) = (message_of(chunks), message_of(log.all()));
    if mine == stored { Ok(()) } else { Err(format!("folded {mine:?} where {stored:?} is stored")) }
}
