//! What users do.

use super::{Plan, Scheduler};
use crate::model::database::{Key, NewTurn, OnBusy};
use crate::model::{ProcessId, TURNS, Ticket, TurnId};
use crate::process::cancel::Cancel;
use crate::process::submit::{Edit, Submit};
use crate::process::{Kind, Process, Stage, Work};

/// What a user wants besides an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Any of them.
    Any,
    /// What runs is to stop.
    Cancel,
    /// A waiting message is to say something else.
    Edit,
    /// A waiting message is to go.
    Drop,
}

impl Scheduler {
    /// A user wants something of an API.
    pub(super) fn wish(&mut self, plan: &mut Plan) {
        let Some(api) = self.any_api() else { return };
        let world = &mut self.world;
        if let Some(new) = world.resubmits.pop() {
            world.say(|| format!("a client sends {new:?} to {api:?} again"));
            world.spawn(api, Work::Submit(Submit::new(new)));
            return;
        }
        let (session, user) = plan.sessions[world.dice.index(plan.sessions.len())];
        let submits = world.dice.below(plan.submits + plan.wishes) < plan.submits;
        if submits {
            plan.submits -= 1;
            if !self.may_submit() {
                return;
            }
            let new = self.message(plan, session, user);
            self.world.say(|| format!("a client sends {new:?} to {api:?}"));
            self.world.spawn(api, Work::Submit(Submit::new(new)));
            return;
        }
        plan.wishes -= 1;
        let waiting = world.db.select(|_, row| row.session == session && row.is_waiting());
        let wish = match plan.wish {
            Wish::Any => world.dice.pick(&[Wish::Drop, Wish::Edit, Wish::Cancel, Wish::Cancel]),
            wish => wish,
        };
        let work = match (wish, waiting.clone().next()) {
            (Wish::Drop, Some(turn)) => Work::Cancel(Cancel::queued(session, user, turn)),
            (Wish::Edit, Some(turn)) => {
                let text = world.new_piece();
                Work::Edit(Edit::new(session, turn, text))
            }
            _ => Work::Cancel(Cancel::session(session, user)),
        };
        world.say(|| format!("a client of {session:?} asks {api:?} for {}", work.name()));
        world.spawn(api, work);
    }

    /// Submits that are on their way take their places, too: a schedule has so many turns at most.
    fn may_submit(&self) -> bool {
        let world = &self.world;
        let submits = world.tasks.iter().flatten().filter(|task| matches!(task.work, Work::Submit(_))).count();
        let late = world.late.iter().filter(|call| call.may_accept()).count();
        world.db.turns.len() + submits + late + world.resubmits.len() < TURNS
    }

    fn message(
        &mut self,
        plan: &Plan,
        session: crate::model::SessionId,
        user: Option<crate::model::UserId>,
    ) -> NewTurn {
        let dice = &mut self.world.dice;
        let on_busy = dice.pick(&[
            OnBusy::Enqueue,
            OnBusy::Enqueue,
            OnBusy::Enqueue,
            OnBusy::Interrupt,
            OnBusy::Steer,
            OnBusy::Reject,
        ]);
        // A key that was used before, now and then with another body.
        let key = dice.one_in(2).then(|| {
            let key = u8::try_from(dice.below(plan.submits + 3)).unwrap_or(0);
            let body = key * 2 + u8::from(dice.one_in(6));
            Key::new(session, user, key, body)
        });
        let text = self.world.new_piece();
        NewTurn { ticket: Ticket(0), session, user, text, on_busy, key }
    }

    fn any_api(&mut self) -> Option<ProcessId> {
        let works = |process: &Process| process.kind == Kind::Api && process.stage == Stage::Running && !process.frozen;
        let apis: Vec<usize> = (0..self.world.processes.len()).filter(|at| works(&self.world.processes[*at])).collect();
        let nth = if apis.is_empty() { return None } else { self.world.dice.index(apis.len()) };
        Some(ProcessId(u8::try_from(apis[nth]).unwrap_or(0)))
    }

    /// One of the turns, if there is any.
    pub(super) fn any_turn(&mut self) -> Option<TurnId> {
        let turns = self.world.db.turns.len();
        (turns > 0).then(|| TurnId(u8::try_from(self.world.dice.index(turns)).unwrap_or(0)))
    }
}
