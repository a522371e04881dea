//! What keeps the laws, each of which can be taken away to see a law break.

macro_rules! mechanisms {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// One thing without which some law breaks.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Mechanism {
            $($(#[$doc])* $name,)+
        }

        impl Mechanism {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];
        }
    };
}

mechanisms! {
    /// `append.lua` refuses an attempt older than the newest that it knows.
    AttemptFenceInAppend,
    /// `append.lua` refuses whatever would follow the last chunk.
    ClosedStreamTakesNothing,
    /// `append.lua` takes a batch only where its number follows, and knows a repeated one by it.
    SequenceInAppend,
    /// Every write of an attempt is refused once the row has a newer one.
    AttemptFenceInRow,
    /// Every write of an attempt is refused once the turn has ended.
    EndFenceInRow,
    /// A running turn is claimed only if its lease has lapsed …
    LeaseCheck,
    /// … or, redelivered, if its worker no longer holds the lock that shows its life.
    RedeliveryGuard,
    /// Only a ready turn can be claimed.
    ReadyCheck,
    /// A new attempt raises the stream's fence before it reads what clients have seen.
    RaiseBeforeRead,
    /// A new attempt takes back the step that was not committed.
    TakeBack,
    /// A call that had started and must not be repeated is not.
    NeverRepeat,
    /// A tool call is recorded before it starts.
    LedgerBeforeStart,
    /// The start of calls is ordered against a claim by a lock on the turn's row.
    LedgerLock,
    /// An outcome is recorded once.
    OutcomeOnce,
    /// Every call of an ended turn gets an outcome.
    CloseUnanswered,
    /// The primary key (turn, step) of `turn_steps`.
    UsageKey,
    /// The primary key (turn, id) of `tool_calls`.
    CallKey,
    /// The terminal row is written before the terminal chunk.
    RowBeforeSeal,
    /// A ready turn has an outbox entry from the transaction that made it ready.
    Outbox,
    /// Ready turns without an entry are found.
    ForgottenLook,
    /// Lapsed leases are found.
    LapsedLook,
    /// Unsealed streams are found.
    UnsealedLook,
    /// Turns that nobody stopped are found.
    UncancelledLook,
    /// Whoever decides what runs next holds the session's row.
    SessionLock,
    /// The unique index on the ready turn of a session.
    OneAtATimeIndex,
    /// Whoever counts against a user's caps holds the user's lock.
    UserLock,
    /// Waiting turns become ready in their order.
    QueueOrder,
    /// The end of a turn lets the next one run.
    PromoteAtEnd,
    /// What waits behind nothing is found.
    StuckLook,
    /// The key of a submit is looked up before a turn is made.
    IdempotencyKey,
    /// An edit holds the row of the waiting turn.
    EditLock,
    /// A cancel is written into the row, and not only told to the workers.
    IntentInRow,
    /// A turn that its user has stopped ends as cancelled, whatever its worker came to.
    IntentWins,
    /// An interrupting submit stops only what is before it: nothing once its own time has come.
    InterruptOnlyWhileWaiting,
    /// A cancel on the fanout names a turn and not a session.
    CancelNamesTurn,
    /// A turn is ended without its worker only if nobody has claimed it since it was looked at.
    EndWithoutWorkerFence,
    /// Whoever ends a turn without its worker takes the row first, and then reads what was said.
    SeizeBeforeRead,
    /// A writer begins a lost stream anew only if the row says that the turn is still its own.
    HoldsBeforeAnew,
    /// Who raises a stream's fence says how far the stream is known to reach, so that one that was
    /// lost is not taken for one that never began.
    RaiseKnowsReach,
    /// Whoever ends a turn without its worker writes down how far its stream reaches.
    ReachAtEnd,
    /// A stream that is begun anew by somebody else counts on from far behind the old one.
    LostStreamJump,
    /// A sealer gives clients the outcomes that the history has.
    OutcomesBeforeSeal,
    /// A message that steers a turn is moved into it under the session's lock.
    SteeringLock,
    /// A turn that lost its worker too often fails.
    AttemptLimit,
    /// A counter remembers which steps it has counted.
    SettledOnce,
    /// A step is committed with a note that no counter tells it yet.
    UnsettledNote,
    /// Steps that nobody settled are found.
    UnsettledStepsLook,
    /// A turn is settled before its stream is sealed.
    SettleBeforeSeal,
    /// Reservations without a turn are found.
    OrphanLook,
    /// A reservation whose turn is in flight is no orphan.
    OrphansAreNotInFlight,
    /// A reservation is made and noted in the index in one act …
    NoteWithReservation,
    /// … and given back and forgotten in one.
    ReleaseWithNote,
    /// A submit that may have been accepted keeps its reservation.
    AmbiguousKeepsReservation,
    /// A delivery whose place another one takes is settled.
    SettleReplaced,
}

/// Which mechanisms are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mechanisms(u64);

impl Default for Mechanisms {
    fn default() -> Self {
        Self(u64::MAX)
    }
}

impl Mechanisms {
    /// All but these.
    pub fn without(removed: &[Mechanism]) -> Self {
        Self(removed.iter().fold(u64::MAX, |left, mechanism| left & !(1 << *mechanism as u64)))
    }

    /// Is it in force?
    pub fn has(self, mechanism: Mechanism) -> bool {
        self.0 & (1 << mechanism as u64) != 0
    }
}
