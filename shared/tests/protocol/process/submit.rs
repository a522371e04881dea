//! A request that submits a message, and one that edits a waiting one: mirrors
//! `api/src/app/submit_turn.rs` and `edit_queue.rs`.

use super::call::{Answer, Call};
use super::publish::Publish;
use super::seal::Progress;
use super::usage::{GiveBack, Reserve};
use super::{Flow, Me, Steps, Work};
use crate::mechanism::Mechanism;
use crate::model::database::{NewTurn, OnBusy, Submitted, Traffic};
use crate::model::{SECOND, SessionId, TurnId, UserId};
use crate::world::World;

/// A submit.
pub struct Submit {
    new: NewTurn,
    stage: Stage,
    /// How often the client sends it again under the same key.
    retries: u8,
}

#[derive(Debug, Clone)]
enum Stage {
    /// A request arrives.
    Begin,
    /// `find_submitted`.
    Find,
    Reserve(Reserve),
    Submit,
    // The halves of the transaction, where no lock holds them together.
    Measure,
    Accept(Traffic),
    /// The turn was not accepted: what was reserved for it is given back.
    Release(GiveBack, Option<Submitted>),
    // An interrupt that waits.
    CancelBefore(Submitted, TurnId),
    PublishCancel(Submitted, TurnId),
}

impl Submit {
    /// A submit; with a key the client tries again if it hears nothing.
    pub fn new(new: NewTurn) -> Self {
        Self { new, stage: Stage::Begin, retries: if new.key.is_some() { 4 } else { 0 } }
    }

    /// What the client sends again when the API that it spoke to is gone.
    pub fn unanswered(&self) -> Option<NewTurn> {
        self.new.key.map(|_| self.new)
    }

    /// Whose usage limits apply.
    fn limited(&self, world: &World) -> Option<UserId> {
        self.new.user.filter(|_| world.limit.is_some())
    }

    fn reserve(&mut self, world: &World) -> Flow {
        self.stage = match self.limited(world) {
            Some(user) => Stage::Reserve(Reserve::new(world, user, self.new.ticket)),
            None => Stage::Submit,
        };
        Flow::Go
    }

    fn submitted(&mut self, world: &mut World, me: Me, submitted: Submitted) -> Flow {
        use Submitted::{Ready, Steering, Waiting};
        let accepted = matches!(submitted, Ready(_) | Waiting(_) | Steering(..));
        if !accepted && self.limited(world).is_some() {
            self.stage = Stage::Release(GiveBack::release(world, self.new.ticket), Some(submitted));
            return Flow::Go;
        }
        self.answer(world, me, submitted)
    }

    fn answer(&mut self, world: &mut World, me: Me, submitted: Submitted) -> Flow {
        match submitted {
            Submitted::Ready(turn) => world.spawn(me.process, Work::Publish(Publish::new(turn))),
            Submitted::Waiting(turn) | Submitted::Repeated(turn) if self.new.on_busy == OnBusy::Interrupt => {
                self.stage = Stage::CancelBefore(submitted, turn);
                return Flow::Go;
            }
            _ => {}
        }
        world.answer_submit(&self.new, submitted);
        Flow::Done
    }

    /// The client hears that something is not available.
    fn fail(&mut self) -> Flow {
        if self.retries == 0 {
            return Flow::Done;
        }
        self.retries -= 1;
        self.stage = Stage::Begin;
        Flow::Sleep(SECOND)
    }

    /// A server could not be reached, or its answer was lost.
    fn unavailable(&mut self, world: &World) -> Flow {
        let ambiguous = matches!(self.stage, Stage::Submit | Stage::Measure | Stage::Accept(_));
        if ambiguous && self.limited(world).is_some() && !world.db.has(Mechanism::AmbiguousKeepsReservation) {
            self.stage = Stage::Release(GiveBack::release(world, self.new.ticket), None);
            return Flow::Go;
        }
        self.fail()
    }

    fn released(&mut self, world: &mut World, me: Me, submitted: Option<Submitted>) -> Flow {
        match submitted {
            Some(submitted) => self.answer(world, me, submitted),
            None => self.fail(),
        }
    }
}

impl Steps for Submit {
    fn next(&self, world: &World, _me: Me) -> Call {
        match &self.stage {
            Stage::Begin => Call::Local,
            Stage::Find => Call::FindRepeated(self.new),
            Stage::Reserve(reserve) => reserve.next(world),
            Stage::Submit if is_split(world) => Call::FindRepeated(self.new),
            Stage::Submit => Call::Submit(self.new),
            Stage::Measure => Call::MeasureTraffic(self.new),
            Stage::Accept(traffic) => Call::Accept(self.new, *traffic),
            Stage::Release(give_back, _) => give_back.next(),
            Stage::CancelBefore(_, turn) => Call::RequestCancelBefore(self.new.session, *turn),
            Stage::PublishCancel(_, stopped) => Call::PublishCancel(*stopped),
        }
    }

    fn take(&mut self, world: &mut World, me: Me, answer: Answer) -> Flow {
        match (&mut self.stage, answer) {
            (Stage::Begin, _) => {
                let Some(ticket) = world.new_ticket() else { return Flow::Done };
                self.new.ticket = ticket;
                self.stage = Stage::Find;
                if self.new.key.is_none() { self.reserve(world) } else { Flow::Go }
            }
            (Stage::PublishCancel(submitted, _), _) => {
                world.answer_submit(&self.new, *submitted);
                Flow::Done
            }
            (Stage::Release(give_back, submitted), answer) => {
                let submitted = *submitted;
                match give_back.take(&answer) {
                    Progress::More => Flow::Go,
                    Progress::Failed | Progress::Over(()) => self.released(world, me, submitted),
                }
            }
            (_, Answer::Unavailable) => self.unavailable(world),
            (Stage::Find, Answer::Repeated(None)) => self.reserve(world),
            (Stage::Find, Answer::Repeated(Some(submitted))) => self.answer(world, me, submitted),
            (Stage::Reserve(reserve), answer) => match reserve.take(world, &answer) {
                Progress::More => Flow::Go,
                // The limit is reached: 429.
                Progress::Over(false) => Flow::Done,
                Progress::Over(true) => {
                    self.stage = Stage::Submit;
                    Flow::Go
                }
                Progress::Failed => self.fail(),
            },
            (Stage::Submit, Answer::Repeated(None)) => {
                self.stage = Stage::Measure;
                Flow::Go
            }
            (Stage::Measure, Answer::Traffic(traffic)) => {
                self.stage = Stage::Accept(traffic);
                Flow::Go
            }
            (_, Answer::Submitted(submitted) | Answer::Repeated(Some(submitted))) => {
                self.submitted(world, me, submitted)
            }
            (Stage::CancelBefore(submitted, _), Answer::Turn(stopped)) => {
                if let Some(stopped) = stopped {
                    self.stage = Stage::PublishCancel(*submitted, stopped);
                    return Flow::Go;
                }
                world.answer_submit(&self.new, *submitted);
                Flow::Done
            }
            (stage, answer) => unreachable!("{stage:?} got {answer:?}"),
        }
    }
}

fn is_split(world: &World) -> bool {
    !world.db.has(Mechanism::SessionLock) || !world.db.has(Mechanism::UserLock)
}

/// An edit of a waiting message.
pub struct Edit {
    session: SessionId,
    turn: TurnId,
    text: u16,
    found: bool,
}

impl Edit {
    /// An edit.
    pub fn new(session: SessionId, turn: TurnId, text: u16) -> Self {
        Self { session, turn, text, found: false }
    }
}

impl Steps for Edit {
    fn next(&self, world: &World, _me: Me) -> Call {
        match (world.db.has(Mechanism::EditLock), self.found) {
            (true, _) => Call::EditQueued(self.session, self.turn, self.text),
            (false, false) => Call::IsEditable(self.session, self.turn),
            (false, true) => Call::Edit(self.turn, self.text),
        }
    }

    fn take(&mut self, world: &mut World, _me: Me, answer: Answer) -> Flow {
        if let Answer::Is(true) = answer
            && !self.found
            && !world.db.has(Mechanism::EditLock)
        {
            self.found = true;
            return Flow::Go;
        }
        Flow::Done
    }
}
