//! One session of one user: what is sent when, who watches, and who stops it.

use std::sync::Arc;
use std::time::Duration;

use copilot_shared::id::TurnId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

use super::arena::User;
use super::ledger::Submission;
use super::minds::{self, Stop};
use super::script::{Script, Wish};
use super::sender::Sent;
use super::{Chaos, Load, watcher};

/// Turns of a session that are in flight at most.
const IN_FLIGHT: usize = 4;

/// Sends until the load ends, then waits until everything that was sent has ended.
pub async fn drive(chaos: Arc<Chaos>, name: String, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut user = User::new(&chaos, &name);
    let session = user.open_session(&mut rng).await;
    let mut following = JoinSet::new();
    while !chaos.is_quiet() {
        let keeps = if rng.random_bool(0.5) { 0 } else { IN_FLIGHT - 1 };
        while following.len() > keeps {
            join(&chaos, &mut following).await;
        }
        submit(&user, &mut rng, &session, &mut following).await;
        sleep(pause(&chaos, &mut rng)).await;
    }
    while !following.is_empty() {
        join(&chaos, &mut following).await;
    }
}

fn pause(chaos: &Chaos, rng: &mut StdRng) -> Duration {
    Duration::from_millis(match chaos.load {
        Load::Lasting(_) => rng.random_range(20..600),
        Load::Submits(_) => rng.random_range(0..200),
    })
}

async fn join(chaos: &Chaos, following: &mut JoinSet<()>) {
    if let Some(Err(error)) = following.join_next().await {
        chaos.ledger.violation(format!("a client met something impossible: {error}"));
    }
}

fn think_of(rng: &mut StdRng, load: Load, session: &str) -> Submission {
    let on_busy = match rng.random_range(0..100) {
        0..10 => "interrupt",
        10..18 => "reject",
        18..38 => "steer",
        _ => "enqueue",
    };
    let script = match (load, on_busy) {
        (Load::Submits(_), _) => Script::small(rng),
        // If it becomes a turn of its own, nobody here knows its id, and nobody could stop it.
        (Load::Lasting(_), "steer") => Script::ending(rng),
        (Load::Lasting(_), _) => Script::random(rng),
    };
    let message_id = Uuid::from_u128(rng.random());
    Submission { message_id, session: session.to_owned(), script, edit: None, on_busy, turn: None }
}

async fn submit(user: &User, rng: &mut StdRng, session: &str, following: &mut JoinSet<()>) {
    let ledger = &user.chaos.ledger;
    let mut submission = think_of(rng, user.chaos.load, session);
    // A steering message is answered with another turn's stream, from wherever that is.
    let follows = submission.on_busy != "steer" && rng.random_bool(0.3);
    let sent = if follows { user.send_and_follow(rng, &submission).await } else { user.send(rng, &submission).await };
    let (turn, begun) = match sent {
        Sent::Accepted(turn, begun) => (turn, begun),
        Sent::Refused => {
            ledger.count("refused");
            return ledger.refused(submission.message_id);
        }
        Sent::Unknown => return ledger.submitted(submission),
    };
    user.chaos.accepted();
    submission.turn = Some(turn);
    if rng.random_bool(0.15) {
        repeat(user, rng, &submission, turn).await;
    }
    let (user, session) = (user.clone(), session.to_owned());
    note_and_reconsider(&user, rng, &session, submission, following);
    if matches!(user.chaos.load, Load::Lasting(_)) || rng.random_bool(0.2) {
        following.spawn(watcher::compacted(user.clone(), session.clone(), turn, rng.random()));
    }
    following.spawn(watcher::by_cursor(user, session, turn, rng.random(), begun));
}

fn note_and_reconsider(
    user: &User,
    rng: &mut StdRng,
    session: &str,
    submission: Submission,
    following: &mut JoinSet<()>,
) {
    let (message_id, wish, on_busy) = (submission.message_id, submission.script.wish, submission.on_busy);
    let Some(turn) = submission.turn else { return };
    user.chaos.ledger.submitted(submission);
    let stop = |how, seed| minds::stop(user.clone(), session.to_owned(), turn, seed, how);
    if wish == Wish::Hang {
        following.spawn(stop(Stop::UntilEnded, rng.random()));
    }
    if rng.random_bool(0.08) {
        following.spawn(stop(Stop::Once, rng.random()));
    }
    if on_busy == "enqueue" && rng.random_bool(0.2) {
        following.spawn(minds::think_again(user.clone(), session.to_owned(), turn, message_id, rng.random()));
    }
}

/// The same message once more must be the same turn.
async fn repeat(user: &User, rng: &mut StdRng, submission: &Submission, turn: TurnId) {
    let ledger = &user.chaos.ledger;
    match user.send(rng, submission).await {
        Sent::Accepted(again, _) if again == turn => ledger.count("repeated submits"),
        // The turn that it was to steer ended without it, so that it is one of its own.
        Sent::Accepted(..) if submission.on_busy == "steer" => ledger.count("repeated submits"),
        Sent::Accepted(again, _) => ledger.violation(format!("turn {turn} was sent again and became {again}")),
        Sent::Refused => ledger.violation(format!("turn {turn} was sent again and was refused")),
        Sent::Unknown => {}
    }
}
