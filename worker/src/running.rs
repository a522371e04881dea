//! What runs in this process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use copilot_shared::id::TurnId;
use copilot_shared::queue::TurnDelivery;
use copilot_shared::turn::Attempt;
use tokio_util::sync::CancellationToken;

/// How an attempt hears from the rest of the process.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// The user wants the turn stopped.
    pub cancel: CancellationToken,
    /// The attempt may write no more: another worker has the turn, or it is gone.
    pub lost: CancellationToken,
    /// The grace of a shutdown is over: hand the turn back at the next step boundary.
    pub hand_back: CancellationToken,
    /// The other way round: the last chunk that is in the stream, for the row.
    pub stored: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Entry {
    attempt: Attempt,
    signals: Signals,
    delivery: Option<TurnDelivery>,
    row: RowKnows,
}

/// What a turn's row knows of this attempt's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowKnows {
    Nothing,
    /// That it has begun, and how far it was at the last renewal.
    Stream,
}

impl Entry {
    fn held(&self, turn: TurnId) -> Held {
        (turn, self.attempt, self.signals.stored.load(Ordering::Relaxed))
    }
}

/// A turn and its attempt, with the last chunk in its stream.
pub type Held = (TurnId, Attempt, u64);

/// The turns that this process has claimed.
#[derive(Debug, Clone, Default)]
pub struct Running {
    entries: Arc<Mutex<HashMap<TurnId, Entry>>>,
}

impl Running {
    /// Takes a claimed turn up, with the delivery that is settled when it ends. Returns with its
    /// signals the delivery whose place it took, to be settled now.
    pub fn enter(&self, turn: TurnId, attempt: Attempt, delivery: TurnDelivery) -> (Signals, Option<TurnDelivery>) {
        let signals = Signals::default();
        let entry = Entry { attempt, signals: signals.clone(), delivery: Some(delivery), row: RowKnows::Nothing };
        let replaced = self.lock().insert(turn, entry).and_then(|old| {
            // We claimed our own turn anew: the attempt before it was lost and is on its way out.
            old.signals.lost.cancel();
            old.delivery
        });
        (signals, replaced)
    }

    /// The turn is over in this process. Returns the delivery to settle, unless a newer attempt
    /// of ours has taken the turn's place.
    pub fn leave(&self, turn: TurnId, attempt: Attempt) -> Option<TurnDelivery> {
        let mut entries = self.lock();
        if entries.get(&turn)?.attempt != attempt {
            return None;
        }
        entries.remove(&turn)?.delivery
    }

    /// The broker gave a turn out again, to us, who run it: mostly because it lost our delivery with
    /// its channel. The new delivery takes the old one's place. Returns the one that is to be settled
    /// now: the old one, which may be alive after all, or the new one if the turn does not run here.
    pub fn adopt(&self, turn: TurnId, delivery: TurnDelivery) -> Option<TurnDelivery> {
        match self.lock().get_mut(&turn) {
            Some(entry) => entry.delivery.replace(delivery),
            None => Some(delivery),
        }
    }

    /// Takes deliveries that have been unsettled for too long; their turns go on under their lease.
    pub fn take_old_deliveries(&self) -> Vec<TurnDelivery> {
        let limit = copilot_shared::queue::LONGEST_UNACKNOWLEDGED;
        self.lock()
            .values_mut()
            .filter_map(|entry| entry.delivery.take_if(|delivery| delivery.received_at.elapsed() > limit))
            .collect()
    }

    /// The user wants a turn stopped. False if it does not run here.
    pub fn cancel(&self, turn: TurnId) -> bool {
        self.lock().get(&turn).inspect(|entry| entry.signals.cancel.cancel()).is_some()
    }

    /// An attempt has lost its turn.
    pub fn lose(&self, turn: TurnId, attempt: Attempt) {
        if let Some(entry) = self.lock().get(&turn)
            && entry.attempt == attempt
        {
            entry.signals.lost.cancel();
        }
    }

    /// The grace of a shutdown is over.
    pub fn hand_back_all(&self) {
        for entry in self.lock().values() {
            entry.signals.hand_back.cancel();
        }
    }

    /// Every attempt is to stop where it stands.
    pub fn lose_all(&self) {
        for entry in self.lock().values() {
            entry.signals.lost.cancel();
        }
    }

    /// The turns and attempts that are to be renewed.
    pub fn held(&self) -> Vec<Held> {
        self.lock().iter().map(|(turn, entry)| entry.held(*turn)).collect()
    }

    /// Those of them whose stream has begun, which their row does not know yet.
    pub fn newly_begun(&self) -> Vec<Held> {
        let entries = self.lock();
        let unknown = entries.iter().filter(|(_, entry)| entry.row == RowKnows::Nothing);
        unknown.map(|(turn, entry)| entry.held(*turn)).filter(|(_, _, stored)| *stored > 0).collect()
    }

    /// An attempt's row knows how far its stream is.
    pub fn renewed(&self, (turn, attempt, stored): Held) {
        if let Some(entry) = self.lock().get_mut(&turn)
            && entry.attempt == attempt
            && stored > 0
        {
            entry.row = RowKnows::Stream;
        }
    }

    /// How many turns run.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Does nothing run?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TurnId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
