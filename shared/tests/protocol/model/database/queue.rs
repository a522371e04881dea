//! Mirrors `shared/src/store/queue.rs`.

use super::{Content, Database};
use crate::model::{SessionId, TurnId};

impl Database {
    /// `Store::list_queue`.
    pub fn list_queue(&self, session: SessionId) -> Vec<TurnId> {
        let waiting = self.rows().filter(|(_, row)| row.session == session && row.is_waiting());
        let mut queue: Vec<TurnId> = waiting.map(|(turn, _)| turn).collect();
        queue.sort_by_key(|turn| (std::cmp::Reverse(self.turn(*turn).priority), *turn));
        queue
    }

    /// The first statement of `Store::edit_queued`: what its lock would keep.
    pub fn is_editable(&self, session: SessionId, turn: TurnId) -> bool {
        self.turn(turn).session == session && self.turn(turn).is_waiting()
    }

    /// The second statement of `Store::edit_queued`.
    pub fn edit(&mut self, turn: TurnId, text: u16) {
        let message = self.messages.iter_mut().find(|m| m.turn == turn && matches!(m.content, Content::User(_)));
        if let Some(message) = message {
            message.content = Content::User(text);
        }
    }

    /// `Store::edit_queued`.
    pub fn edit_queued(&mut self, session: SessionId, turn: TurnId, text: u16) -> bool {
        let editable = self.is_editable(session, turn);
        if editable {
            self.edit(turn, text);
        }
        editable
    }
}
