//! Reserving, settling and giving back: mirrors `shared/src/windows.rs` and `settlement.rs`.

use std::rc::Rc;

use super::call::{Answer, Call};
use super::seal::Progress;
use crate::mechanism::Mechanism;
use crate::model::windows::StepUse;
use crate::model::{Ticket, TurnId, UserId};
use crate::world::World;

/// `Windows::reserve`. Over with false if a limit is reached.
#[derive(Debug, Clone, Copy)]
pub struct Reserve {
    user: UserId,
    ticket: Ticket,
    stage: ReserveStage,
}

#[derive(Debug, Clone, Copy)]
enum ReserveStage {
    Reserve,
    // The halves of the script, where they are two acts.
    Note,
    DropNote,
}

impl Reserve {
    /// Reserves for a turn.
    pub fn new(world: &World, user: UserId, ticket: Ticket) -> Self {
        let one_act = world.db.has(Mechanism::NoteWithReservation);
        Self { user, ticket, stage: if one_act { ReserveStage::Reserve } else { ReserveStage::Note } }
    }

    /// The next call.
    pub fn next(self, world: &World) -> Call {
        match self.stage {
            ReserveStage::Note => Call::NoteReservation(self.user, self.ticket),
            ReserveStage::Reserve => Call::Reserve(self.user, self.ticket, world.limit.unwrap_or(0)),
            ReserveStage::DropNote => Call::DropNote(self.ticket),
        }
    }

    /// Takes the answer in.
    pub fn take(&mut self, world: &World, answer: &Answer) -> Progress<bool> {
        self.stage = match (self.stage, answer) {
            (_, Answer::Unavailable) => return Progress::Failed,
            (ReserveStage::Note, _) => ReserveStage::Reserve,
            (ReserveStage::Reserve, Answer::Is(false)) if !world.db.has(Mechanism::NoteWithReservation) => {
                ReserveStage::DropNote
            }
            (ReserveStage::Reserve, Answer::Is(false)) | (ReserveStage::DropNote, _) => return Progress::Over(false),
            (ReserveStage::Reserve, _) => return Progress::Over(true),
        };
        Progress::More
    }
}

/// `Windows::release`, or `Windows::settle` of a turn's last step.
#[derive(Debug, Clone)]
pub struct GiveBack {
    first: Option<Call>,
    second: Option<Call>,
}

impl GiveBack {
    /// Gives back what a turn has reserved.
    pub fn release(world: &World, ticket: Ticket) -> Self {
        Self::both(world, Call::Release(ticket), ticket)
    }

    /// Counts a turn's last step, and gives back what is left.
    pub fn settle(world: &World, step: StepUse) -> Self {
        Self::both(world, Call::Settle(step, true), step.ticket)
    }

    fn both(world: &World, release: Call, ticket: Ticket) -> Self {
        if world.db.has(Mechanism::ReleaseWithNote) {
            return Self { first: Some(release), second: None };
        }
        Self { first: Some(Call::DropNote(ticket)), second: Some(release) }
    }

    /// The next call.
    pub fn next(&self) -> Call {
        self.first.clone().or_else(|| self.second.clone()).unwrap_or(Call::Local)
    }

    /// Takes the answer in.
    pub fn take(&mut self, answer: &Answer) -> Progress<()> {
        if matches!(answer, Answer::Unavailable) {
            return Progress::Failed;
        }
        if self.first.take().is_none() {
            self.second = None;
        }
        if self.second.is_none() { Progress::Over(()) } else { Progress::More }
    }
}

/// `settlement::settle_all`, of steps that one of two queries finds.
#[derive(Debug, Clone)]
pub struct SettleAll {
    find: Call,
    found: Option<Vec<StepUse>>,
    counted: Vec<(Ticket, u8)>,
}

impl SettleAll {
    /// Steps whose settlement is overdue.
    pub fn overdue() -> Self {
        Self { find: Call::TakeUnsettled, found: None, counted: Vec::new() }
    }

    /// What is left of a turn.
    pub fn of_turn(turn: TurnId) -> Self {
        Self { find: Call::UnsettledOfTurn(turn), found: None, counted: Vec::new() }
    }

    /// The next call.
    pub fn next(&self) -> Call {
        match &self.found {
            None => self.find.clone(),
            Some(left) => left.last().map_or_else(
                || Call::NoteSettled(Rc::from(self.counted.as_slice())),
                |step| Call::Settle(*step, false),
            ),
        }
    }

    /// Takes the answer in.
    pub fn take(&mut self, answer: &Answer) -> Progress<()> {
        match (&mut self.found, answer) {
            (_, Answer::Unavailable) => return Progress::Failed,
            (None, Answer::Unsettled(steps)) => self.found = Some(steps.clone()),
            (Some(left), _) => match left.pop() {
                Some(step) => {
                    self.counted.push((step.ticket, step.step));
                    return Progress::More;
                }
                None => return Progress::Over(()),
            },
            (None, answer) => unreachable!("{:?} got {answer:?}", self.find),
        }
        let nothing = self.found.as_ref().is_some_and(Vec::is_empty);
        if nothing { Progress::Over(()) } else { Progress::More }
    }
}
