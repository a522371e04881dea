//! Publishing what was accepted, and noting what was published in batches.

use std::time::Duration;

use copilot_shared::id::TurnId;
use copilot_shared::queue::Publisher;
use copilot_shared::store::Store;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often the notes are written down.
const EVERY: Duration = Duration::from_millis(500);
/// Notes that may wait. A note that is dropped costs one needless publication.
const WAITING: usize = 10_000;

/// Publishes turns. Cheap to clone.
#[derive(Clone)]
pub struct Publications {
    store: Store,
    publisher: Publisher,
    done: mpsc::Sender<TurnId>,
}

impl Publications {
    /// Starts the task that notes what was published, until `stop`.
    pub fn start(store: &Store, publisher: &Publisher, stop: &CancellationToken, tasks: &TaskTracker) -> Self {
        let (done, waiting) = mpsc::channel(WAITING);
        tasks.spawn(stop.clone().run_until_cancelled_owned(note(store.clone(), waiting)));
        Self { store: store.clone(), publisher: publisher.clone(), done }
    }

    /// Publishes a turn; if that fails, its outbox entry is due soon.
    pub async fn publish(self, turn: TurnId) {
        match self.publisher.publish_turn(turn).await {
            Ok(()) => {
                tracing::debug!(turn.id = %turn, "a turn was published");
                if self.done.try_send(turn).is_err() {
                    tracing::debug!(turn.id = %turn, "a publication was not noted; it is repeated at worst");
                }
            }
            Err(error) => {
                tracing::warn!(turn.id = %turn, error = &error as &dyn std::error::Error, "a turn could not be published yet");
                if let Err(error) = self.store.note_unpublished(&[turn]).await {
                    tracing::warn!(turn.id = %turn, error = &error as &dyn std::error::Error, "the dispatcher will publish a turn later than it could");
                }
            }
        }
    }
}

async fn note(store: Store, mut notes: mpsc::Receiver<TurnId>) {
    let mut batch = Vec::new();
    while notes.recv_many(&mut batch, WAITING).await > 0 {
        tokio::time::sleep(EVERY).await;
        while let Ok(turn) = notes.try_recv() {
            batch.push(turn);
        }
        if let Err(error) = store.note_published(&batch).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "publications were not noted; they are repeated at worst"
            );
        }
        batch.clear();
    }
}
