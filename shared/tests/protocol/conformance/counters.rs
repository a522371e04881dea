//! What users have used and reserved, on the real server.

use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use copilot_shared::id::{TurnId as RealTurnId, UserId as RealUserId};
use copilot_shared::usage::limits::TokenLimits;
use copilot_shared::windows::{Reserved, StepUse as RealStepUse, Then, Windows};

use super::operations::Operation;
use super::real::Real;
use crate::model::windows::StepUse;
use crate::model::{Ticket, USERS, UserId};
use crate::process::call::{Call, RESERVED};

fn users() -> impl Iterator<Item = UserId> {
    (0..USERS).map(|at| UserId(u8::try_from(at).unwrap()))
}

impl Real {
    fn windows(&self) -> Windows {
        Windows::over(&self.streams)
    }

    /// The real time of the model's.
    fn time(&self) -> DateTime<Utc> {
        self.began + TimeDelta::milliseconds(i64::from(self.now) * 100)
    }

    fn ticket_of(&self, id: RealTurnId) -> Ticket {
        let at = self.tickets.iter().position(|ticket| *ticket == id).unwrap();
        Ticket(u8::try_from(at).unwrap())
    }

    fn user_of(&self, id: &RealUserId) -> UserId {
        users().find(|user| self.user_id(*user) == *id).unwrap()
    }

    /// Leaves nothing reserved.
    pub async fn give_everything_back(&self) {
        for user in users() {
            for ticket in &self.tickets {
                self.windows().release(&self.user_id(user), *ticket).await.unwrap();
            }
        }
    }

    /// Reserves, settles or gives back.
    pub async fn count(&self, operation: &Operation) -> String {
        let windows = self.windows();
        match operation {
            Operation::Reserve(user, ticket, limit) => {
                let limits = TokenLimits { daily: i64::from(*limit), weekly: 0 };
                let (user, id) = (self.user_id(*user), self.tickets[ticket.at()]);
                let reserved = windows.reserve(&user, id, i64::from(RESERVED), limits, self.time()).await.unwrap();
                format!("{}", reserved == Reserved::Granted)
            }
            Operation::Settle(step, has_ended) => {
                let used = RealStepUse {
                    turn: self.tickets[step.ticket.at()],
                    step: step.step.into(),
                    weighted: step.weight.into(),
                    used_at: self.time(),
                };
                let then = if *has_ended { Then::HasEnded } else { Then::GoesOn };
                windows.settle(&self.user_id(step.user), &used, then, self.time()).await.unwrap();
                String::new()
            }
            Operation::Release(user, ticket) => {
                windows.release(&self.user_id(*user), self.tickets[ticket.at()]).await.unwrap();
                String::new()
            }
            other => panic!("{other:?} counts nothing"),
        }
    }

    /// Looks for what is not counted, or notes that it is.
    pub async fn ask_for_usage(&self, call: &Call) -> String {
        match call {
            Call::TakeOldReservations(age) => {
                let age = TimeDelta::milliseconds(i64::from(*age) * 100);
                let old = self.windows().take_old_reservations(age, 100, self.time()).await.unwrap();
                let mut old: Vec<_> = old.iter().map(|r| (self.user_of(&r.user), self.ticket_of(r.turn))).collect();
                old.sort_unstable_by_key(|(_, ticket)| *ticket);
                format!("Reservations({old:?})")
            }
            Call::TakeUnsettled => self.unsettled(&self.store.take_unsettled(100).await.unwrap()),
            Call::UnsettledOfTurn(turn) => {
                self.unsettled(&self.store.unsettled_of_turn(self.turns[turn.at()]).await.unwrap())
            }
            Call::NoteSettled(steps) => {
                let steps: Vec<_> = steps.iter().map(|(t, step)| (self.tickets[t.at()], i32::from(*step))).collect();
                self.store.note_settled(&steps).await.unwrap();
                "Done".to_owned()
            }
            other => panic!("{other:?} is about no usage"),
        }
    }

    fn unsettled(&self, steps: &[copilot_shared::store::UnsettledStep]) -> String {
        let mut steps: Vec<StepUse> = steps
            .iter()
            .map(|step| StepUse {
                user: self.user_of(&step.user_id),
                ticket: self.ticket_of(step.used.turn),
                step: u8::try_from(step.used.step).unwrap(),
                weight: u32::try_from(step.used.weighted).unwrap(),
            })
            .collect();
        steps.sort_unstable_by_key(|step| (step.ticket, step.step));
        format!("Unsettled({steps:?})")
    }

    /// What each user has used and reserved.
    pub async fn counters(&self) -> String {
        let (windows, mut lines) = (self.windows(), String::new());
        for user in users() {
            let id = self.user_id(user);
            let used = windows.look(&id, self.time()).await.unwrap().used.daily;
            let held = windows.reserved(&id).await.unwrap();
            let mut held: Vec<_> = held.iter().map(|(turn, amount)| (self.ticket_of(*turn), *amount)).collect();
            held.sort_unstable_by_key(|(ticket, _)| *ticket);
            writeln!(lines, "{user:?} used {used} holds {held:?}").unwrap();
        }
        lines
    }
}
