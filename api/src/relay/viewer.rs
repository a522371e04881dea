//! One client's way through a turn.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use copilot_shared::chunk::{Chunk, DONE_FRAME, HEARTBEAT_FRAME, StatusData, error_text, write_bare_frame};
use copilot_shared::id::TurnId;
use copilot_shared::seal::seal;
use copilot_shared::turn::{ErrorCode, FinishReason, TurnStatus};
use rand::Rng;
use tokio::sync::watch;
use tokio::time::Instant;

use super::channel::Found;
use super::hub::Watching;
use super::{Frames, Relay, Start};

/// Proxies drop connections that are silent for 16 s; the wire promises 10.
const HEARTBEAT: Duration = Duration::from_secs(9);
/// How often a turn that has not begun is looked at: its place in the queue may have changed.
const WAITING_LOOK: Duration = Duration::from_secs(2);
/// Most turns have begun by then, and their row need not be looked at.
const FIRST_LOOK: Duration = Duration::from_millis(200);
/// How often the row of a silent turn is looked at, in case its last chunk was lost.
const SILENT_LOOK: Duration = Duration::from_secs(30);
/// How long to wait before Redis or PostgreSQL is asked again.
const PAUSE: Duration = Duration::from_millis(500);
/// After how long clients come back, in milliseconds: spread, so that a restart is no stampede.
const RETRY_MS: std::ops::Range<u32> = 500..3_000;

struct Viewer {
    relay: Relay,
    turn: TurnId,
    watching: Watching,
    changes: watch::Receiver<u64>,
    start: Start,
    /// The sequence number that comes next.
    next: u64,
    /// Everything stored was read since messages are received without a gap.
    synced: Option<u64>,
    spoke_at: Instant,
    /// When the last chunk was sent. A heartbeat is none: it says nothing about the turn.
    went_on_at: Instant,
    looked_at: Instant,
    position: i64,
    _counted: Counted,
}

/// One of the open streams that the process counts.
struct Counted;

impl Counted {
    fn new() -> Self {
        metrics::gauge!("copilot_open_streams").increment(1.0);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::gauge!("copilot_open_streams").decrement(1.0);
    }
}

/// What the viewer does next.
enum Next {
    /// Send these bytes.
    Send(Bytes),
    /// Send these bytes, which end the turn.
    End(Bytes),
    /// Look again at once.
    Again,
    /// Wait for a change, or for so long.
    Wait(Duration),
    /// Cut the connection.
    Cut(&'static str),
}

pub(super) fn follow(relay: &Relay, turn: TurnId, start: Start) -> Frames {
    let mut viewer = Viewer::new(relay, turn, start);
    let stop = relay.stop.clone();
    Box::pin(async_stream::stream! {
        yield Ok(opening());
        loop {
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => Next::Cut("shutting down"),
                next = viewer.advance() => next,
            };
            match next {
                Next::Send(frames) => {
                    viewer.spoke_at = Instant::now();
                    viewer.went_on_at = viewer.spoke_at;
                    yield Ok(frames);
                }
                Next::End(frames) => {
                    if !frames.is_empty() {
                        yield Ok(frames);
                    }
                    yield Ok(Bytes::from_static(DONE_FRAME));
                    return;
                }
                Next::Again => {}
                Next::Wait(longest) => {
                    if viewer.wait(longest).await {
                        viewer.spoke_at = Instant::now();
                        yield Ok(Bytes::from_static(HEARTBEAT_FRAME));
                    }
                }
                Next::Cut(why) => {
                    tracing::debug!(turn.id = %viewer.turn, why, "a viewer is cut off");
                    yield Err(io::Error::new(io::ErrorKind::ConnectionAborted, why));
                    return;
                }
            }
        }
    })
}

pub(super) async fn ended(relay: &Relay, turn: TurnId) {
    let watching = relay.hub.watch(turn);
    let mut changes = watching.channel.changes();
    loop {
        changes.mark_unchanged();
        if watching.channel.has_ended() {
            return;
        }
        if watching.channel.epoch().is_some()
            && let Ok(Some(meta)) = relay.streams.meta(turn).await
            && meta.closed
        {
            return;
        }
        // The hub outlives its channels, so the sender is there.
        if tokio::time::timeout(Duration::from_secs(1), changes.changed()).await.is_ok_and(|changed| changed.is_err()) {
            return;
        }
    }
}

fn opening() -> Bytes {
    format!("retry: {}\n: heartbeat\n\n", rand::rng().random_range(RETRY_MS)).into()
}

impl Viewer {
    fn new(relay: &Relay, turn: TurnId, start: Start) -> Self {
        let watching = relay.hub.watch(turn);
        let changes = watching.channel.changes();
        let next = match start {
            Start::Everything | Start::Compacted => 1,
            Start::After(sequence) => sequence + 1,
        };
        let now = Instant::now();
        Self {
            relay: relay.clone(),
            turn,
            watching,
            changes,
            start,
            next,
            synced: None,
            spoke_at: now,
            went_on_at: now,
            looked_at: now.checked_sub(WAITING_LOOK).map_or(now, |at| at + FIRST_LOOK),
            position: 0,
            _counted: Counted::new(),
        }
    }

    async fn advance(&mut self) -> Next {
        self.changes.mark_unchanged();
        let Some(epoch) = self.watching.channel.epoch() else { return Next::Wait(HEARTBEAT) };
        if self.synced != Some(epoch) {
            return match self.start {
                Start::Compacted => self.replay(epoch).await,
                Start::Everything | Start::After(_) => self.read_stored(epoch).await,
            };
        }
        match self.watching.channel.look(self.next) {
            Found::Frames { frames, next, ends } => {
                self.next = next;
                if ends { Next::End(frames) } else { Next::Send(frames) }
            }
            // A hole bumps the epoch, perhaps after this viewer looked at it.
            Found::Behind if self.watching.channel.epoch() != Some(epoch) => Next::Again,
            Found::Behind if self.watching.channel.has_overflowed() => Next::Cut("too slow"),
            Found::Behind => {
                self.synced = None;
                Next::Again
            }
            Found::Nothing => self.look_at_row().await,
        }
    }

    /// Waits for a change. True if a heartbeat is due.
    async fn wait(&mut self, longest: Duration) -> bool {
        let heartbeat_at = self.spoke_at + HEARTBEAT;
        let until = heartbeat_at.min(Instant::now() + longest);
        tokio::select! {
            () = self.relay.stop.cancelled() => {}
            changed = self.changes.changed() => {
                if changed.is_err() {
                    tracing::error!(turn.id = %self.turn, "a channel lost its hub");
                }
            }
            () = tokio::time::sleep_until(until) => {}
        }
        Instant::now() >= heartbeat_at
    }

    /// The shortest chunks for what was said so far; what follows comes as it comes.
    async fn replay(&mut self, epoch: u64) -> Next {
        match self.relay.streams.read_fold(self.turn).await {
            Ok(Some(fold)) if fold.has_started() => {
                self.start = Start::After(fold.sequence);
                self.next = fold.sequence + 1;
                self.synced = Some(epoch);
                let frames = fold.replay_frames(self.turn);
                if fold.has_ended() { Next::End(frames) } else { Next::Send(frames) }
            }
            Ok(_) => {
                self.start = Start::Everything;
                Next::Again
            }
            Err(error) => {
                tracing::debug!(turn.id = %self.turn, error = &error as &dyn std::error::Error, "a stream could not be read; trying again");
                Next::Wait(PAUSE)
            }
        }
    }

    /// What is stored behind the viewer's place.
    async fn read_stored(&mut self, epoch: u64) -> Next {
        let page = match self.relay.streams.read_after(self.turn, self.next - 1).await {
            Ok(page) => page,
            Err(error) => {
                tracing::debug!(turn.id = %self.turn, error = &error as &dyn std::error::Error, "a stream could not be read; trying again");
                return Next::Wait(PAUSE);
            }
        };
        if page.batches.is_empty() && self.next > 1 && self.is_lost().await {
            return lost();
        }
        if !page.more {
            self.synced = Some(epoch);
        }
        let mut frames = Vec::new();
        for batch in page.batches {
            if batch.first > self.next {
                return lost();
            }
            frames.extend_from_slice(&batch.frames_from(self.next));
            self.next = batch.last + 1;
            if batch.ends {
                return Next::End(frames.into());
            }
        }
        if frames.is_empty() { Next::Again } else { Next::Send(frames.into()) }
    }

    /// Is what the viewer waits for gone for good?
    async fn is_lost(&self) -> bool {
        match self.relay.streams.meta(self.turn).await {
            Ok(Some(meta)) => meta.base >= self.next || meta.last + 1 < self.next,
            Ok(None) => matches!(
                self.relay.store.turn_of_any_session(self.turn).await,
                Ok(None
                    | Some(copilot_shared::turn::Turn {
                        status: TurnStatus::Completed | TurnStatus::Failed | TurnStatus::Cancelled,
                        ..
                    }))
            ),
            Err(_) => false,
        }
    }

    /// While nothing comes, the row tells whether anything will.
    async fn look_at_row(&mut self) -> Next {
        let waiting = self.next == 1;
        let every = if waiting { WAITING_LOOK } else { SILENT_LOOK };
        let due = self.looked_at.max(if waiting { self.looked_at } else { self.went_on_at }) + every;
        if let Some(rest) = due.checked_duration_since(Instant::now())
            && !rest.is_zero()
        {
            return Next::Wait(rest);
        }
        self.looked_at = Instant::now();
        match self.relay.store.turn_of_any_session(self.turn).await {
            Ok(None) => return Next::Cut("the session was deleted"),
            Ok(Some(turn)) if turn.status.is_terminal() => {
                if let Err(error) = seal(&self.relay.store, &self.relay.streams, &turn).await {
                    tracing::debug!(turn.id = %self.turn, error = &error as &dyn std::error::Error, "a stream could not be sealed; trying again");
                }
                // Read again in any case: its end may have passed unheard.
                self.synced = None;
            }
            Ok(Some(turn)) if turn.status == TurnStatus::Queued => return self.tell_position().await,
            Ok(Some(_)) => {}
            Err(error) => {
                tracing::debug!(turn.id = %self.turn, error = &error as &dyn std::error::Error, "a turn could not be looked at; trying again");
            }
        }
        Next::Wait(PAUSE)
    }

    async fn tell_position(&mut self) -> Next {
        match self.relay.store.position(self.turn).await {
            Ok(position) if position > 0 && position != self.position => {
                self.position = position;
                let mut frame = Vec::new();
                let data = StatusData { status: "queued".into(), position };
                write_bare_frame(&mut frame, &Chunk::DataStatus { data, transient: true });
                Next::Send(frame.into())
            }
            Ok(_) | Err(_) => Next::Wait(WAITING_LOOK),
        }
    }
}

/// The stream server lost what the viewer had not seen yet. The history has it.
fn lost() -> Next {
    let sentence = "The live stream was lost. Reload the conversation to see the whole answer.";
    let mut frames = Vec::new();
    write_bare_frame(&mut frames, &Chunk::Error { error_text: error_text(ErrorCode::StreamLost, sentence) });
    write_bare_frame(&mut frames, &Chunk::Finish { finish_reason: Some(FinishReason::Error) });
    Next::End(frames.into())
}
