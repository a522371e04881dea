//! Answers of the servers in the words of the model.

use std::time::Duration;

use copilot_shared::chunk::Frame;
use copilot_shared::fold::Fold as RealFold;
use copilot_shared::id::TurnId as RealTurnId;
use copilot_shared::store::{Fenced, PendingCall, StepCommit, StoreError};
use copilot_shared::stream::{Appended, Meta as RealMeta};
use copilot_shared::tool::ToolCallStatus;
use copilot_shared::usage::TokenUsage;

use super::names;
use crate::model::database::{self as model, CallStatus, Refused};
use crate::model::fold::Fold;
use crate::model::streams::{self as model_streams, Meta};
use crate::model::{CallId, Tick};

/// What came of a write: done, or refused to an older attempt.
pub fn unless_fenced<T>(result: Result<T, Fenced>) -> Result<T, Refused> {
    match result {
        Ok(done) => Ok(done),
        Err(Fenced::Fenced) => Err(Refused::Fenced),
        Err(Fenced::Store(error)) => panic!("the store failed: {error:?}"),
    }
}

/// A write of an attempt.
pub fn written(result: Result<(), Fenced>) -> String {
    match result {
        Err(Fenced::Store(error)) => broken_by(&error),
        other => format!("Written({:?})", unless_fenced(other)),
    }
}

/// A statement that must not fail.
pub fn broken(error: &StoreError) -> String {
    format!("{error:?}")
}

/// The constraint that a statement broke.
pub fn broken_by(error: &StoreError) -> String {
    let constraints = [
        ("turn_steps_pkey", model::Broken::StepKey),
        ("tool_calls_pkey", model::Broken::CallKey),
        ("turns_one_at_a_time", model::Broken::OneAtATime),
    ];
    let known = constraints.iter().find(|(constraint, _)| error.breaks(constraint));
    known.map_or_else(|| format!("{error:?}"), |(_, broken)| format!("broken {broken:?}"))
}

/// What became of an append.
pub fn appended(appended: Appended) -> String {
    let appended = match appended {
        Appended::Stored => model_streams::Appended::Stored,
        Appended::Fenced => model_streams::Appended::Fenced,
        Appended::Closed => model_streams::Appended::Closed,
        Appended::Lost => model_streams::Appended::Lost,
        Appended::Gap(last) => model_streams::Appended::Gap(u32::try_from(last).unwrap()),
    };
    format!("Appended({appended:?})")
}

/// A stream's record.
pub fn meta(meta: Option<RealMeta>) -> Option<Meta> {
    meta.map(|meta| Meta {
        attempt: u8::try_from(meta.attempt.0).unwrap(),
        last: u32::try_from(meta.last).unwrap(),
        closed: meta.closed,
        base: u32::try_from(meta.base).unwrap(),
    })
}

/// A step to be committed.
pub fn commit(step: &model::StepCommit) -> StepCommit {
    StepCommit {
        step: step.step.into(),
        parts: names::parts(&step.said),
        usage: TokenUsage { prompt: step.used.into(), estimated: step.estimated, ..TokenUsage::default() },
        used_at: chrono::Utc::now(),
        chunk_sequence: step.chunk_sequence.into(),
    }
}

/// A call whose outcome is to be recorded.
pub fn pending(call: CallId) -> PendingCall {
    PendingCall {
        id: names::call(call),
        name: "t".into(),
        input: names::input(),
        status: ToolCallStatus::Started,
        outcome: None,
    }
}

/// A call of a step.
pub fn told_call(call: &PendingCall) -> (CallId, CallStatus, Option<crate::model::chunk::Outcome>) {
    let status = match call.status {
        ToolCallStatus::Requested => CallStatus::Requested,
        ToolCallStatus::Started => CallStatus::Started,
        ToolCallStatus::Finished => CallStatus::Finished,
    };
    (names::call_of(&call.id), status, call.outcome.as_ref().map(names::outcome_of))
}

/// A time in seconds.
pub fn tenths(ticks: Tick) -> Duration {
    Duration::from_millis(u64::from(ticks) * 100)
}

/// A fold of the model's as a real one.
pub fn real_fold(turn: RealTurnId, fold: &Fold) -> RealFold {
    let mut real = RealFold::default();
    fold.replay(|chunk| real.apply(names::chunk(turn, chunk)));
    real.sequence = fold.sequence.into();
    real
}

/// A real fold as the model has it, by what a late client is sent.
pub fn model_fold(real: &RealFold) -> Fold {
    let mut fold = Fold::default();
    for frame in real.replay() {
        if let Frame::Chunk(_, chunk) = frame {
            for chunk in names::chunks_of(&chunk) {
                fold.apply(chunk);
            }
        }
    }
    fold.sequence = u32::try_from(real.sequence).unwrap();
    fold
}
