//! RabbitMQ: one queue of turns that all workers share, and one queue of cancels for each worker.

use super::{PROCESSES, ProcessId, TurnId, Turns};

/// "This turn may be run."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// The turn.
    pub turn: TurnId,
    /// It was given out before.
    pub redelivered: bool,
}

/// A message that a worker has and did not settle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Its tag.
    pub tag: u16,
    /// Who has it.
    pub worker: ProcessId,
    /// What it says.
    pub message: Message,
}

/// The server.
#[derive(Debug, Default)]
pub struct Broker {
    /// `copilot.turns.run`.
    pub ready: Vec<Message>,
    /// What is given out.
    pub unsettled: Vec<Delivery>,
    /// The exclusive queue of each worker on the fanout exchange; `None` while it is not there.
    pub cancels: [Option<Turns>; PROCESSES],
    tags: u16,
}

impl Broker {
    /// Empties the server.
    pub fn reset(&mut self) {
        self.ready.clear();
        self.unsettled.clear();
        self.cancels = [None; PROCESSES];
        self.tags = 0;
    }

    /// `Publisher::publish_turn`.
    pub fn publish_turn(&mut self, turn: TurnId) {
        self.ready.push(Message { turn, redelivered: false });
    }

    /// `Publisher::publish_cancel`: to every queue that is there.
    pub fn publish_cancel(&mut self, turn: TurnId) {
        for queue in self.cancels.iter_mut().flatten() {
            queue.insert(turn);
        }
    }

    /// Gives the `nth` ready message to a worker.
    pub fn deliver(&mut self, nth: usize, worker: ProcessId) -> Delivery {
        let message = self.ready.remove(nth);
        self.tags += 1;
        let delivery = Delivery { tag: self.tags, worker, message };
        self.unsettled.push(delivery);
        delivery
    }

    /// `TurnDelivery::ack`; nothing happens if the connection that it came on is gone.
    pub fn ack(&mut self, tag: u16) {
        self.unsettled.retain(|delivery| delivery.tag != tag);
    }

    /// `TurnDelivery::requeue`.
    pub fn requeue(&mut self, tag: u16) {
        if let Some(at) = self.unsettled.iter().position(|delivery| delivery.tag == tag) {
            let message = self.unsettled.remove(at).message;
            self.ready.push(Message { redelivered: true, ..message });
        }
    }

    /// A worker's connection is gone: what it did not settle is given out again.
    pub fn disconnect(&mut self, worker: ProcessId) {
        self.cancels[worker.at()] = None;
        let Self { ready, unsettled, .. } = self;
        unsettled.retain(|delivery| {
            if delivery.worker == worker {
                ready.push(Message { redelivered: true, ..delivery.message });
            }
            delivery.worker != worker
        });
    }

    /// How many messages a worker has not settled.
    pub fn held_by(&self, worker: ProcessId) -> usize {
        self.unsettled.iter().filter(|delivery| delivery.worker == worker).count()
    }
}
