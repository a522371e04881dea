//! What a worker asks the real store for in the name of an attempt.

use copilot_shared::store::{Claim, Fenced, Renewal};
use copilot_shared::turn::{Attempt, Turn};

use super::Real;
use crate::conformance::names;
use crate::conformance::told::{broken, broken_by, commit, pending, told_call, unless_fenced, written};
use crate::model::database as model;
use crate::model::{ProcessId, TURNS, TurnId};
use crate::process::call::Call;

impl Real {
    pub(super) async fn claim(&self, turn: TurnId, worker: ProcessId, redelivered: bool) -> String {
        match self.store.claim(self.turn(turn), self.workers[worker.at()], redelivered).await.unwrap() {
            Claim::Claimed(claimed) => format!(
                "claimed as {} after {} steps and {} losses, stopped {}, steered {}, reaches {}",
                claimed.turn.attempt.0,
                claimed.steps,
                claimed.losses,
                claimed.cancel_requested,
                claimed.is_steered,
                claimed.turn.chunk_sequence
            ),
            Claim::Held(holder) => format!("held by {:?}", self.worker_name(holder)),
            Claim::NotReady => "not ready".to_owned(),
            Claim::Ended(_) => "ended".to_owned(),
            Claim::Missing => "missing".to_owned(),
        }
    }

    pub(super) async fn renew(&self, worker: ProcessId, held: &[Option<(u8, u32)>; TURNS]) -> String {
        let held: Vec<_> = (0..)
            .map(TurnId)
            .zip(held)
            .filter_map(|(turn, held)| {
                let (attempt, stored) = (*held)?;
                Some((self.turn(turn), Attempt(attempt.into()), u64::from(stored)))
            })
            .collect();
        let renewed = self.store.renew(self.workers[worker.at()], &held).await.unwrap();
        let kept = self.set_of(renewed.iter().map(|(turn, _)| *turn));
        let cancelled =
            self.set_of(renewed.iter().filter(|(_, renewal)| *renewal == Renewal::ToStop).map(|(turn, _)| *turn));
        format!("Renewed {{ kept: {kept:?}, cancelled: {cancelled:?} }}")
    }

    pub(super) async fn ask_for_attempt(&self, call: &Call) -> String {
        let store = &self.store;
        let (turn, attempt) = match *call {
            Call::CallsOfStep(turn, _) => (turn, 0),
            Call::Holds(turn, attempt) | Call::HasFinishedCall(turn, attempt, _) => (turn, attempt),
            _ => call.writes_as().expect("a call of an attempt"),
        };
        let (id, attempt) = (self.turn(turn), Attempt(attempt.into()));
        match *call {
            Call::CommitStep(_, _, ref step) => written(store.commit_step(id, attempt, &commit(step)).await),
            Call::StartCalls(_, _, ref calls) => {
                let calls: Vec<_> = calls.iter().map(names::call).collect();
                written(store.start_calls(id, attempt, &calls).await)
            }
            Call::FinishCall(_, _, call, outcome) => {
                let outcome = names::outcome(outcome);
                written(store.finish_call(id, attempt, &pending(call), &outcome).await)
            }
            Call::HasFinishedCall(.., call) => {
                format!("Is({})", store.has_finished_call(id, attempt, &names::call(call)).await.unwrap())
            }
            Call::HandBack(..) => written(store.hand_back(id, attempt).await),
            Call::GiveUp(..) => {
                store.give_up(id, attempt).await.map_or_else(|error| broken(&error), |()| "Done".to_owned())
            }
            Call::Holds(..) => format!("Is({})", store.holds(id, attempt).await.unwrap()),
            Call::CallsOfStep(_, step) => {
                let calls = store.calls_of_step(id, step.into()).await.unwrap();
                let told: Vec<_> = calls.iter().map(told_call).collect();
                format!("{told:?}")
            }
            Call::Seize(..) => self.seize(turn, attempt).await,
            Call::Finish(_, _, end, ref last, reaches) => {
                let turn = self.as_attempt(turn, attempt, reaches).await;
                let last = last.as_ref().map(commit);
                self.finished(store.finish(&turn, &names::end(end), last.as_ref()).await)
            }
            _ => panic!("the servers are not asked for {call:?}"),
        }
    }

    /// A turn as the worker of an attempt knows it.
    async fn as_attempt(&self, turn: TurnId, attempt: Attempt, reaches: u32) -> Turn {
        let row = self.row(turn).await;
        let known = match row {
            Some(row) => row,
            None => self.store.turn_of_any_session(self.turns[0]).await.unwrap().expect("the first turn stays"),
        };
        Turn { id: self.turn(turn), attempt, chunk_sequence: reaches.into(), ..known }
    }

    async fn seize(&self, turn: TurnId, attempt: Attempt) -> String {
        let turn = self.as_attempt(turn, attempt, 0).await;
        let seized = self.store.seize(&turn).await;
        let told =
            unless_fenced(seized).map(|seized| (seized.turn.attempt.0, seized.steps, seized.turn.chunk_sequence));
        format!("{told:?}")
    }

    fn finished(&self, result: Result<copilot_shared::store::Finished, Fenced>) -> String {
        if let Err(Fenced::Store(error)) = &result {
            return broken_by(error);
        }
        let finished = unless_fenced(result)
            .map(|finished| model::Finished { end: names::end_of(&finished.end), next: self.set_of(finished.next) });
        format!("Finished({finished:?})")
    }
}
