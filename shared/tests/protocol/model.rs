//! The persistent world without its servers: what PostgreSQL, Redis and RabbitMQ remember, and how
//! each statement, script and message changes it. Pure: no clock, no chance, no I/O.

pub mod broker;
pub mod chunk;
pub mod database;
pub mod fold;
pub mod streams;
pub mod windows;

use std::fmt;

/// Turns that one schedule may accept.
pub const TURNS: usize = 8;
/// Ids that submits may give their turns, those included that were not accepted.
pub const TICKETS: usize = 48;
/// Users of a world.
pub const USERS: usize = 2;
/// Sessions of a world.
pub const SESSIONS: usize = 2;
/// Processes that one schedule may start, the replacements of dead ones included.
pub const PROCESSES: usize = 24;

/// Tenths of a second since the world began.
pub type Tick = u32;

/// Ticks in a second.
pub const SECOND: Tick = 10;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $word:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(pub $inner);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($word, "{}"), self.0)
            }
        }
    };
}

id!(
    /// A user.
    UserId(u8), "user-"
);
id!(
    /// A session.
    SessionId(u8), "session-"
);
id!(
    /// A turn, numbered in the order of acceptance.
    TurnId(u8), "turn-"
);
id!(
    /// A process, API or worker; a replacement has a new one.
    ProcessId(u8), "process-"
);
id!(
    /// The id that a submit gives its turn, whether or not it is accepted. On the servers it is the
    /// turn's id.
    Ticket(u8), "ticket-"
);
id!(
    /// A tool call.
    CallId(u16), "call-"
);

macro_rules! indexed {
    ($($name:ident),+) => {
        $(impl $name {
            /// As an index.
            pub fn at(self) -> usize {
                self.0 as usize
            }
        })+
    };
}

indexed!(SessionId, TurnId, ProcessId, Ticket, CallId);

/// The number of a claim.
pub type Attempt = u8;

/// A set of turns.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Turns(pub u8);

impl Turns {
    /// The set of one.
    pub fn of(turn: TurnId) -> Self {
        Self(1 << turn.0)
    }

    /// Adds one.
    pub fn insert(&mut self, turn: TurnId) {
        self.0 |= 1 << turn.0;
    }

    /// Takes one out.
    pub fn remove(&mut self, turn: TurnId) {
        self.0 &= !(1 << turn.0);
    }

    /// Is it in the set?
    pub fn contains(self, turn: TurnId) -> bool {
        self.0 & (1 << turn.0) != 0
    }

    /// How many there are.
    pub fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Is there none?
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The first one, taken out.
    pub fn pop(&mut self) -> Option<TurnId> {
        if self.0 == 0 {
            return None;
        }
        let turn = TurnId(u8::try_from(self.0.trailing_zeros()).unwrap_or(0));
        self.remove(turn);
        Some(turn)
    }
}

#[expect(clippy::copy_iterator, reason = "a set is eight bits: to go through a copy and keep the set is what is meant")]
impl Iterator for Turns {
    type Item = TurnId;

    fn next(&mut self) -> Option<TurnId> {
        self.pop()
    }
}

impl FromIterator<TurnId> for Turns {
    fn from_iter<I: IntoIterator<Item = TurnId>>(turns: I) -> Self {
        let mut set = Self::default();
        turns.into_iter().for_each(|turn| set.insert(turn));
        set
    }
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(*self).finish()
    }
}
