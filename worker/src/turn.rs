//! One attempt at a turn: the only place where the order of its events is written.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use copilot_shared::chunk::Chunk;
use copilot_shared::store::{Claimed, Fenced, Finished, StepCommit};
use copilot_shared::turn::{ErrorCode, Failure, FinishReason, Turn, TurnEnd};
use copilot_shared::usage::TokenUsage;
use copilot_shared::windows::Then;
use futures_util::FutureExt;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::model::files::AttachedFiles;
use crate::running::Signals;
use crate::tools::Breaker;
use crate::worker::Worker;

mod allowance;
mod attachments;
mod calls;
mod persist;
mod prompt;
mod recovery;
mod room;
mod step;
mod suggestions;
mod title;
mod writer;

use allowance::Allowance;
pub use attachments::Sight;
use persist::Persistence;
use prompt::Prompt;
use room::Room;
use step::{Step, StepEnd};
use writer::TurnWriter;

/// A turn whose workers died more often than this is not tried again.
pub const MAX_LOSSES: i32 = 5;

/// Model calls that one turn may make.
const MAX_STEPS: i32 = 30;

/// How often a model call is made whose conversation does not fit, each time with less of it
/// (`usage-tools.md` §8.7).
const MAX_TRIES: u32 = 3;

/// Why an attempt stops without having ended its turn.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    /// It was fenced off, or lost its lease.
    #[error("the turn was taken over")]
    Lost,
    /// The process is to end, and the turn was handed back.
    #[error("the turn was handed back")]
    HandedBack,
    /// A mistake of ours; the lease will lapse, and another attempt may do better.
    #[error("the turn broke")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<Fenced> for Stopped {
    fn from(error: Fenced) -> Self {
        match error {
            Fenced::Fenced => Self::Lost,
            Fenced::Store(error) => Self::Broken(Box::new(error)),
        }
    }
}

/// How the turn ends, and what its last step left to be committed with the end.
struct Ending {
    end: TurnEnd,
    last: Option<StepCommit>,
}

impl Ending {
    /// A tool has asked the user something: the model has said all it can say for now.
    fn waiting() -> Self {
        Self { end: TurnEnd::Completed(FinishReason::Stop), last: None }
    }
}

/// Where a claimed turn stands.
struct Standing {
    /// Committed model calls.
    steps: i32,
    /// A message waits to be taken up before the next one.
    is_steered: bool,
}

/// What an attempt works with.
struct Attempt {
    worker: Arc<Worker>,
    turn: Turn,
    signals: Signals,
    writer: TurnWriter,
    persistence: Persistence,
    allowance: Allowance,
    room: Room,
    /// What the model is shown of pictures, until its provider refuses one.
    sight: Sight,
    breaker: Breaker,
    /// Its place in the trace. Not entered as a whole: that would cost time for each token.
    span: Span,
}

/// Runs a claimed turn to its end, or until it is lost or handed back.
pub async fn run(worker: &Arc<Worker>, claimed: Claimed, signals: Signals, span: Span) {
    let id = claimed.turn.id;
    let number = claimed.turn.attempt.0;
    let outcome = caught(Box::pin(attempt(worker, claimed, signals, span))).await;
    let broken = match outcome {
        Ok(()) => return,
        Err(Stopped::Broken(error)) => error,
        Err(stopped) => {
            tracing::info!(turn.id = %id, attempt = number, "{stopped}");
            return;
        }
    };
    tracing::error!(turn.id = %id, attempt = number, error = broken.as_ref() as &dyn std::error::Error, "an attempt broke");
    // Free for the next attempt at once; each counts as a loss, so that it ends.
    if let Err(error) = worker.store.give_up(id, copilot_shared::turn::Attempt(number)).await {
        tracing::warn!(turn.id = %id, error = &error as &dyn std::error::Error, "a broken attempt keeps its lease until it lapses");
    }
}

/// A panic is a mistake like any other: the turn is given up, and not kept for ever.
async fn caught(attempt: impl Future<Output = Result<(), Stopped>>) -> Result<(), Stopped> {
    // What an attempt shares is behind locks that outlive a panic, and nothing else of it is used again.
    match AssertUnwindSafe(attempt).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(_said_by_the_hook) => Err(Stopped::Broken(Box::new(Panicked))),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("it panicked")]
struct Panicked;

async fn attempt(worker: &Arc<Worker>, claimed: Claimed, signals: Signals, span: Span) -> Result<(), Stopped> {
    let persistence = Persistence::new(worker.store.clone(), &claimed.turn, signals.lost.clone());
    let recovered = recovery::recover(worker, &claimed, &signals, &persistence).await?;
    let allowance = Allowance::new(&worker.meter, &claimed.turn, &signals, &worker.settled);
    let mut attempt = Attempt {
        worker: Arc::clone(worker),
        turn: claimed.turn,
        signals,
        writer: recovered.writer,
        persistence,
        allowance,
        room: Room::new(worker.window),
        sight: worker.sight,
        breaker: Breaker::default(),
        span,
    };
    let ending = if claimed.losses > MAX_LOSSES {
        let sentence = "The answer could not be completed after several attempts.";
        Ending { end: TurnEnd::Failed(Failure::new(ErrorCode::AttemptsExhausted, sentence)), last: None }
    } else {
        attempt.answer(Standing { steps: claimed.steps, is_steered: claimed.is_steered }, recovered.open_calls).await?
    };
    attempt.finish(ending).await
}

impl Attempt {
    /// The step loop: model, then tools, then model, until the model has said everything.
    async fn answer(&mut self, standing: Standing, open_calls: Vec<calls::Call>) -> Result<Ending, Stopped> {
        let first = standing.steps + 1;
        if !open_calls.is_empty() && !self.run_calls(open_calls).await? {
            return Ok(Ending { end: TurnEnd::Cancelled, last: None });
        }
        if self.writer.in_step() {
            self.writer.send(Chunk::FinishStep);
        }
        let mut prompt = Prompt::read(&self.persistence, &self.turn).await?;
        // An earlier attempt may have got as far as the question.
        if prompt.waits_for_user() {
            return Ok(Ending::waiting());
        }
        for step in first..=MAX_STEPS {
            if let Some(end) = self.before_step().await? {
                return Ok(Ending { end, last: None });
            }
            if step == 1 {
                title::begin(&self.worker, self.turn.session_id);
                if prompt.wants_suggestions {
                    suggestions::begin(&self.worker, self.turn.user_id.as_ref());
                }
            }
            // Nothing can have come since the claim that could not wait for one step more.
            let may_be_steered = step > first || standing.is_steered;
            if may_be_steered && let Some(taken) = self.persistence.take_steering().await? {
                self.allowance.take_over(&taken).await;
                prompt.read_history_again(&self.persistence, &self.turn).await?;
            }
            let done = self.run_step(step, &mut prompt).await?;
            let used_at = self.worker.meter.now();
            let chunk_sequence = self.writer.flush().await?;
            let commit = StepCommit { step, parts: done.parts, usage: done.usage, used_at, chunk_sequence };
            let end = match done.end {
                StepEnd::Said(reason) => TurnEnd::Completed(reason),
                StepEnd::Cancelled => TurnEnd::Cancelled,
                StepEnd::Failed(failure) | StepEnd::Refused(failure) => TurnEnd::Failed(failure),
                StepEnd::Calls(calls) if self.gives_up(&calls) => TurnEnd::Failed(Failure::new(
                    ErrorCode::EmptyToolCalls,
                    "The model kept calling tools without any arguments. Please try again, perhaps in other words.",
                )),
                StepEnd::Calls(calls) => {
                    self.persistence.commit_step(&commit).await?;
                    self.allowance.settle(&commit, Then::GoesOn).await;
                    prompt.remember_step(&commit.parts);
                    if !self.run_calls(calls).await? {
                        return Ok(Ending { end: TurnEnd::Cancelled, last: None });
                    }
                    self.writer.send(Chunk::FinishStep);
                    prompt.remember_results(&self.persistence, self.turn.id, step).await?;
                    if prompt.waits_for_user() {
                        return Ok(Ending::waiting());
                    }
                    continue;
                }
            };
            // Also if it said nothing: clients saw it begin, and the history is to tell the same.
            return Ok(Ending { end, last: Some(commit) });
        }
        let sentence = format!("Exceeded {MAX_STEPS} tool-call rounds without a final response.");
        Ok(Ending { end: TurnEnd::Failed(Failure::new(ErrorCode::StepLimit, sentence)), last: None })
    }

    async fn run_step(&mut self, number: i32, prompt: &mut Prompt) -> Result<Step, Stopped> {
        self.writer.send(Chunk::StartStep);
        let mut used = TokenUsage::default();
        let mut tries = MAX_TRIES;
        loop {
            used += self.make_room(prompt).await?;
            let mut step = self.call_model(number, prompt).await?;
            tries -= 1;
            let is_refused = matches!(step.end, StepEnd::Refused(_)) || step.found_no_room();
            if tries > 0 && is_refused && attachments::has_pictures(&prompt.history, self.sight) {
                // One that it cannot take would be the end of the conversation.
                tracing::warn!(turn.id = %self.turn.id, "the provider refused a conversation with pictures; it is told without them");
                self.sight = Sight::Blind;
                continue;
            }
            if tries > 0 && step.found_no_room() {
                self.halve_room(prompt).await?;
                continue;
            }
            step.usage += used;
            return Ok(step);
        }
    }

    async fn call_model(&mut self, number: i32, prompt: &Prompt) -> Result<Step, Stopped> {
        let files = attachments::read(
            &self.worker.resources.workspaces,
            self.turn.user_id.as_ref(),
            &prompt.history,
            self.sight,
        );
        let files = tokio::select! {
            () = self.signals.lost.cancelled() => return Err(Stopped::Lost),
            // The call itself then ends as a stopped one.
            () = self.signals.cancel.cancelled() => AttachedFiles::default(),
            files = files => files,
        };
        let request = prompt.request(&self.worker, &self.turn, files);
        let call = tracing::info_span!(parent: &self.span, "model_call", step = number, model = %request.model,
            prompt_tokens = Empty, completion_tokens = Empty, otel.kind = "client");
        let step = step::run(&self.worker, request, &mut self.writer, &self.signals).await?;
        call.record("prompt_tokens", step.usage.prompt).record("completion_tokens", step.usage.completion);
        tracing::debug!(turn.id = %self.turn.id, step = number, total_tokens = step.usage.total(), "a model call ended");
        Ok(step)
    }

    /// Is it time to stop a model that calls tools without arguments?
    fn gives_up(&mut self, calls: &[calls::Call]) -> bool {
        let lacks_arguments = calls.iter().any(|call| call.lacks_arguments(&self.worker.tools));
        self.breaker.gives_up(lacks_arguments)
    }

    /// Runs the calls of a step. False if the user stopped them.
    async fn run_calls(&mut self, calls: Vec<calls::Call>) -> Result<bool, Stopped> {
        let runner = calls::Runner {
            worker: &self.worker,
            turn: &self.turn,
            persistence: &self.persistence,
            writer: &mut self.writer,
            signals: &self.signals,
            breaker: &mut self.breaker,
        };
        runner.run(calls).instrument(self.span.clone()).await
    }

    /// How the turn ends if it may not make another model call.
    async fn before_step(&mut self) -> Result<Option<TurnEnd>, Stopped> {
        let refusal = self.allowance.refusal().await?;
        self.at_boundary().await?;
        let stopped = self.signals.cancel.is_cancelled().then_some(TurnEnd::Cancelled);
        Ok(stopped.or(refusal.map(TurnEnd::Failed)))
    }

    /// Between two steps a turn can change hands without a trace.
    async fn at_boundary(&mut self) -> Result<(), Stopped> {
        if self.signals.lost.is_cancelled() {
            return Err(Stopped::Lost);
        }
        if !self.signals.hand_back.is_cancelled() {
            return Ok(());
        }
        self.writer.flush().await?;
        self.persistence.hand_back().await?;
        self.worker.publish(&[self.turn.id]).instrument(self.span.clone()).await;
        Err(Stopped::HandedBack)
    }

    /// The row ends first, then the stream: what lacks its last chunk is found and sealed, while a
    /// stream that ended too early could not be taken back.
    async fn finish(&mut self, ending: Ending) -> Result<(), Stopped> {
        let reaches = self.writer.flush().await?;
        let usage = self.total_usage(ending.last.as_ref());
        let Finished { end, next } = self.persistence.finish(&ending.end, ending.last.as_ref(), reaches).await?;
        // Before the last chunk: who has seen the end, and asks, is to find it counted.
        let settled = match &ending.last {
            Some(step) => self.allowance.settle(step, Then::HasEnded).await,
            None => self.allowance.release().await,
        };
        self.writer.end(&end, usage);
        self.worker.publish(&next).instrument(self.span.clone()).await;
        metrics::counter!("copilot_turns_total", "status" => end.status().as_str()).increment(1);
        match self.writer.flush().await {
            Ok(_) => {
                // Sealing settles, so what is not settled is left to be sealed.
                if !settled || self.worker.sealed.try_send(self.turn.id).is_err() {
                    tracing::debug!(turn.id = %self.turn.id, "left to the reconciler to note as sealed");
                }
                Ok(())
            }
            // The row has ended, so whoever looks next seals the stream.
            Err(stopped) => Err(stopped),
        }
    }

    fn total_usage(&self, last: Option<&StepCommit>) -> TokenUsage {
        let mut usage = self.persistence.committed_usage();
        if let Some(step) = last {
            usage += step.usage;
        }
        usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_attempt_that_panics_is_broken_and_no_more() {
        let panics = async {
            tokio::task::yield_now().await;
            panic!("a mistake");
        };
        assert!(matches!(caught(panics).await, Err(Stopped::Broken(_))));
        assert!(caught(async { Ok(()) }).await.is_ok());
    }
}
