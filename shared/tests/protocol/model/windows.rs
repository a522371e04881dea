//! Redis: what users have used, and what their turns have reserved. Mirrors the scripts and
//! commands of `shared/src/windows`, one function each. One window stands for the day and the week.

use super::{TICKETS, Tick, Ticket, USERS, UserId};
use crate::mechanism::{Mechanism, Mechanisms};

/// `copilot_shared::windows::StepUse`, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepUse {
    pub user: UserId,
    pub ticket: Ticket,
    pub step: u8,
    pub weight: u32,
}

/// The server.
#[derive(Debug)]
pub struct Windows {
    /// The counter of each user.
    pub used: [u32; USERS],
    /// What turns have reserved; a turn is one user's.
    pub held: [Option<u32>; TICKETS],
    /// The index of all reservations: when each was made, or looked at.
    pub noted: [Option<(UserId, Tick)>; TICKETS],
    settled: Vec<(Ticket, u8)>,
    holders: [UserId; TICKETS],
    mechanisms: Mechanisms,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            used: [0; USERS],
            held: [None; TICKETS],
            noted: [None; TICKETS],
            settled: Vec::new(),
            holders: [UserId(0); TICKETS],
            mechanisms: Mechanisms::default(),
        }
    }
}

impl Windows {
    /// Empties the server.
    pub fn reset(&mut self, mechanisms: Mechanisms) {
        self.settled.clear();
        *self = Self { settled: std::mem::take(&mut self.settled), mechanisms, ..Self::default() };
    }

    /// Half of `reserve.lua`, where the other half is another act.
    pub fn note_reservation(&mut self, user: UserId, ticket: Ticket, now: Tick) {
        self.noted[ticket.at()] = Some((user, now));
    }

    /// `reserve.lua`. False if a limit is reached.
    pub fn reserve(&mut self, (user, ticket): (UserId, Ticket), amount: u32, limit: u32, now: Tick) -> bool {
        let others = self.held.iter().enumerate().filter(|(at, _)| self.holders[*at] == user && *at != ticket.at());
        let others: u32 = others.filter_map(|(_, held)| *held).sum();
        if limit > 0 && self.used[usize::from(user.0)] + others >= limit {
            return false;
        }
        if self.mechanisms.has(Mechanism::NoteWithReservation) {
            self.note_reservation(user, ticket, now);
        }
        self.held[ticket.at()] = Some(amount);
        self.holders[ticket.at()] = user;
        true
    }

    /// `release.lua`.
    pub fn release(&mut self, ticket: Ticket) {
        self.held[ticket.at()] = None;
        if self.mechanisms.has(Mechanism::ReleaseWithNote) {
            self.drop_note(ticket);
        }
    }

    /// Half of `release.lua`, where the other half is another act.
    pub fn drop_note(&mut self, ticket: Ticket) {
        self.noted[ticket.at()] = None;
    }

    /// `settle.lua`.
    pub fn settle(&mut self, step: StepUse, has_ended: bool) {
        let known = self.settled.contains(&(step.ticket, step.step));
        if !known || !self.mechanisms.has(Mechanism::SettledOnce) {
            self.settled.push((step.ticket, step.step));
            self.used[usize::from(step.user.0)] += step.weight;
            if let Some(held) = &mut self.held[step.ticket.at()] {
                *held = held.saturating_sub(step.weight);
            }
        }
        if has_ended {
            self.release(step.ticket);
        }
    }

    /// `Windows::reserved`.
    pub fn held_by(&self, user: UserId) -> impl Iterator<Item = (Ticket, u32)> {
        let held = (0..).map(Ticket).zip(self.held);
        held.filter_map(move |(ticket, held)| Some((ticket, held.filter(|_| self.holders[ticket.at()] == user)?)))
    }

    /// `look.lua`.
    pub fn look(&self, user: UserId) -> u32 {
        self.used[usize::from(user.0)]
    }

    /// `Windows::take_old_reservations`.
    pub fn take_old_reservations(&mut self, age: Tick, now: Tick) -> Vec<(UserId, Ticket)> {
        let mut old = Vec::new();
        if !self.mechanisms.has(Mechanism::OrphanLook) {
            return old;
        }
        for (at, noted) in self.noted.iter_mut().enumerate() {
            if let Some((user, since)) = noted
                && *since + age <= now
            {
                *since = now;
                old.push((*user, Ticket(u8::try_from(at).unwrap_or(0))));
            }
        }
        old
    }
}
