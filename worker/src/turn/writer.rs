//! The hot path: chunks in, fenced batches out.
//!
//! The first chunk after a silence leaves at once; while an append is under way, and for a few
//! milliseconds after one that held text, chunks gather for the next one. So a slow model costs no
//! delay, the first token no wait, and a fast model few round trips. The wire bytes are made here, once, and nobody changes them later.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use copilot_shared::chunk::{Chunk, write_bare_frame, write_usage};
use copilot_shared::fold::Fold;
use copilot_shared::id::TurnId;
use copilot_shared::store::Store;
use copilot_shared::stream::{Append, Appended, Batch, Streams};
use copilot_shared::turn::{Attempt, Turn, TurnEnd};
use copilot_shared::usage::TokenUsage;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Stopped;
use crate::running::Signals;

/// How long chunks gather after an append.
const GATHER: Duration = Duration::from_millis(5);

/// A snapshot is written after this many chunks at least …
const SNAPSHOT_CHUNKS: u64 = 256;
/// … and once the tail behind the last one is this share of it, so that writing them stays linear
/// in the length of the answer.
const SNAPSHOT_SHARE: usize = 4;

/// A full buffer waits for Redis instead of growing: this many bytes of frames.
const BUFFER_BYTES: usize = 4 << 20;

/// Writes the chunks of one attempt. Appends run in a task of its own, which ends with it.
pub(super) struct TurnWriter {
    shared: Arc<Shared>,
    done: watch::Receiver<Progress>,
    _appender: AbortOnDropHandle<()>,
}

#[derive(Debug, Clone, Copy)]
enum Progress {
    /// Everything up to this sequence number is stored.
    Stored(u64),
    /// The attempt may write no more.
    Refused,
}

struct Shared {
    buffer: Mutex<Buffer>,
    filled: Notify,
    /// Somebody waits for what is in the buffer: no gathering.
    urgent: Notify,
}

struct Buffer {
    turn: TurnId,
    id_prefix: String,
    fold: Fold,
    /// Frames that wait, the first of which has this sequence number.
    first: u64,
    frames: Vec<u8>,
    ends: bool,
    /// A piece of text or of a thought waits.
    speaks: bool,
    snapshot: SnapshotPace,
}

#[derive(Default)]
struct SnapshotPace {
    sequence: u64,
    bytes: usize,
    tail_bytes: usize,
}

impl Buffer {
    fn push(&mut self, chunk: Chunk) {
        self.fold.sequence += 1;
        let sequence = self.fold.sequence;
        let before = self.frames.len();
        let id = writeln!(self.frames, "{}{sequence}", self.id_prefix);
        debug_assert!(id.is_ok(), "writing into a Vec cannot fail");
        write_bare_frame(&mut self.frames, &chunk);
        self.snapshot.tail_bytes += self.frames.len() - before;
        self.speaks |= matches!(chunk, Chunk::TextDelta { .. } | Chunk::ReasoningDelta { .. });
        self.ends |= matches!(chunk, Chunk::Finish { .. } | Chunk::Abort { .. });
        self.fold.apply(chunk);
    }

    fn is_empty(&self) -> bool {
        self.first > self.fold.sequence
    }

    /// Everything that waits, as one batch.
    fn take(&mut self, attempt: Attempt) -> Append {
        let (first, last) = (self.first, self.fold.sequence);
        let mut payload = Batch::header(attempt.0, first, last, self.ends).into_bytes();
        payload.extend_from_slice(&self.frames);
        self.frames.clear();
        self.first = last + 1;
        let snapshot = self.snapshot.is_due(last, self.ends).then(|| self.snapshot());
        Append {
            turn: self.turn,
            attempt,
            first,
            last,
            ends: self.ends,
            payload: payload.into(),
            snapshot,
            anew: false,
        }
    }

    fn snapshot(&mut self) -> Bytes {
        let snapshot = self.fold.to_snapshot();
        self.snapshot = SnapshotPace { sequence: self.fold.sequence, bytes: snapshot.len(), tail_bytes: 0 };
        snapshot
    }
}

impl SnapshotPace {
    fn is_due(&self, last: u64, ends: bool) -> bool {
        let long = last - self.sequence >= SNAPSHOT_CHUNKS;
        long && (ends || self.tail_bytes * SNAPSHOT_SHARE >= self.bytes)
    }
}

impl TurnWriter {
    /// A writer that goes on behind `fold`.
    pub(super) fn new(streams: &Streams, store: &Store, turn: &Turn, fold: Fold, signals: &Signals) -> Self {
        let stored = fold.sequence;
        let buffer = Buffer {
            turn: turn.id,
            id_prefix: format!("id: {}:", turn.id),
            first: stored + 1,
            frames: Vec::with_capacity(512),
            ends: false,
            speaks: false,
            snapshot: SnapshotPace { sequence: stored, ..SnapshotPace::default() },
            fold,
        };
        let shared = Arc::new(Shared { buffer: Mutex::new(buffer), filled: Notify::new(), urgent: Notify::new() });
        let (progress, done) = watch::channel(Progress::Stored(stored));
        let appender = Appender {
            shared: Arc::clone(&shared),
            streams: streams.clone(),
            store: store.clone(),
            turn: turn.id,
            attempt: turn.attempt,
            progress,
            row: Arc::clone(&signals.stored),
            lost: signals.lost.clone(),
        };
        Self { shared, done, _appender: AbortOnDropHandle::new(tokio::spawn(appender.run())) }
    }

    /// Sends a chunk on its way. Whether it arrived is told by [`Self::flush`].
    pub(super) fn send(&self, chunk: Chunk) {
        self.shared.lock().push(chunk);
        self.shared.filled.notify_one();
    }

    /// Sends several chunks, of which some depend on the state, on their way.
    pub(super) fn send_from_state(&self, chunks: impl FnOnce(&Fold) -> Vec<Chunk>) {
        let mut buffer = self.shared.lock();
        for chunk in chunks(&buffer.fold) {
            buffer.push(chunk);
        }
        drop(buffer);
        self.shared.filled.notify_one();
    }

    /// Looks at the state that a client is in.
    pub(super) fn state<T>(&self, look: impl FnOnce(&Fold) -> T) -> T {
        look(&self.shared.lock().fold)
    }

    /// Is a step open?
    pub(super) fn in_step(&self) -> bool {
        self.state(Fold::in_step)
    }

    /// Sends the last chunks, with the usage comment before the very last.
    pub(super) fn end(&self, end: &TurnEnd, usage: TokenUsage) {
        let mut buffer = self.shared.lock();
        let mut chunks = buffer.fold.ending(buffer.turn, end);
        let last = chunks.pop();
        for chunk in chunks {
            buffer.push(chunk);
        }
        if !usage.is_zero() {
            write_usage(&mut buffer.frames, &usage);
            buffer.fold.note_usage(usage);
        }
        if let Some(last) = last {
            buffer.push(last);
        }
        drop(buffer);
        self.shared.filled.notify_one();
    }

    /// Waits until everything sent so far is stored. Returns the last sequence number.
    pub(super) async fn flush(&mut self) -> Result<u64, Stopped> {
        let wanted = self.shared.lock().fold.sequence;
        self.shared.urgent.notify_one();
        let progress = self.done.wait_for(|progress| match progress {
            Progress::Stored(stored) => *stored >= wanted,
            Progress::Refused => true,
        });
        match progress.await.map(|progress| *progress) {
            Ok(Progress::Stored(_)) => Ok(wanted),
            Ok(Progress::Refused) | Err(_) => Err(Stopped::Lost),
        }
    }

    /// Waits while the buffer is full, so that a fast model cannot outrun a lost Redis.
    pub(super) async fn room(&mut self) -> Result<(), Stopped> {
        if self.shared.lock().frames.len() < BUFFER_BYTES { Ok(()) } else { self.flush().await.map(|_| ()) }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Appender {
    shared: Arc<Shared>,
    streams: Streams,
    store: Store,
    turn: TurnId,
    attempt: Attempt,
    progress: watch::Sender<Progress>,
    /// What the next renewal of the lease tells the row.
    row: Arc<AtomicU64>,
    lost: CancellationToken,
}

impl Appender {
    async fn run(self) {
        loop {
            self.shared.filled.notified().await;
            let began = Instant::now();
            let (batch, speaks) = {
                let mut buffer = self.shared.lock();
                if buffer.is_empty() {
                    continue;
                }
                (buffer.take(self.attempt), std::mem::take(&mut buffer.speaks))
            };
            let Some(stored) = self.store_batch(batch).await else {
                self.progress.send_replace(Progress::Refused);
                self.lost.cancel();
                return;
            };
            self.row.store(stored, Ordering::Relaxed);
            self.progress.send_replace(Progress::Stored(stored));
            if speaks {
                self.gather(began).await;
            }
        }
    }

    /// Lets chunks gather, but not while somebody waits for them to be stored.
    async fn gather(&self, began: Instant) {
        tokio::select! {
            () = tokio::time::sleep_until(began + GATHER) => {}
            () = self.shared.urgent.notified() => {}
        }
    }

    /// Appends a batch, however long Redis is away. `None` if the attempt may write no more.
    async fn store_batch(&self, mut batch: Append) -> Option<u64> {
        let mut pause = Duration::from_millis(20);
        loop {
            match self.streams.append(&batch).await {
                Ok(Appended::Stored) => return Some(batch.last),
                Ok(Appended::Fenced | Appended::Closed) => return None,
                Ok(Appended::Lost) => {
                    self.begin_anew(&mut batch).await?;
                    continue;
                }
                // Redis came back without the stream's end.
                Ok(Appended::Gap(last)) if last + 1 < batch.first => {
                    self.begin_anew(&mut batch).await?;
                    continue;
                }
                Ok(Appended::Gap(last)) => {
                    tracing::error!(turn.id = %self.turn, expected = batch.first, stored = last, "the stream does not end where it should");
                    return None;
                }
                Err(error) => {
                    tracing::warn!(turn.id = %self.turn, error = &error as &dyn std::error::Error, "an append failed; trying again");
                }
            }
            tokio::select! {
                () = self.lost.cancelled() => return None,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(1)),
            }
        }
    }

    /// Redis has lost the stream: begins it again at this batch, with all that came before as its
    /// snapshot. Only after PostgreSQL has said that the turn is still ours.
    async fn begin_anew(&self, batch: &mut Append) -> Option<()> {
        loop {
            match self.store.holds(self.turn, self.attempt).await {
                Ok(true) => break,
                Ok(false) => return None,
                Err(error) => {
                    tracing::warn!(turn.id = %self.turn, error = &error as &dyn std::error::Error, "the lease could not be looked at; trying again");
                }
            }
            tokio::select! {
                () = self.lost.cancelled() => return None,
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
        }
        tracing::warn!(turn.id = %self.turn, "the stream server lost the stream; beginning it anew");
        let mut buffer = self.shared.lock();
        // The snapshot holds what the fold holds, so the batch must reach as far.
        let first = batch.first;
        let old = Batch::parse(&batch.payload).ok()?;
        let mut frames = old.frames.to_vec();
        frames.extend_from_slice(&buffer.frames);
        buffer.frames = frames;
        buffer.first = first;
        let mut whole = buffer.take(self.attempt);
        whole.snapshot = Some(buffer.snapshot());
        whole.anew = true;
        *batch = whole;
        Some(())
    }
}
