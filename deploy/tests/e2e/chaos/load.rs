//! One session of one user: what is sent when, who watches, and who stops it.

use std::sync::Arc;
use std::time::Duration;

use copilot_shared::id::TurnId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::Chaos;
use super::arena::User;
use super::ledger::Submission;
use super::script::{Script, Wish};
use super::sender::Sent;
use super::watcher;

/// Turns of a session that are in flight at most.
const IN_FLIGHT: usize = 4;

/// Sends until the load ends, then waits until everything that was sent has ended.
pub async fn drive(chaos: Arc<Chaos>, name: String, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let user = User::new(&chaos, &name);
    let session = user.open_session(&mut rng).await;
    let mut following = JoinSet::new();
    while Instant::now() < chaos.quiet_from {
        let keeps = if rng.random_bool(0.5) { 0 } else { IN_FLIGHT - 1 };
        while following.len() > keeps {
            join(&chaos, &mut following).await;
        }
        if let Some(turn) = submit(&user, &mut rng, &session, &mut following).await
            && rng.random_bool(0.08)
        {
            following.spawn(stop(user.clone(), session.clone(), turn, rng.random(), Stop::Once));
        }
        sleep(Duration::from_millis(rng.random_range(20..600))).await;
    }
    while !following.is_empty() {
        join(&chaos, &mut following).await;
    }
}

async fn join(chaos: &Chaos, following: &mut JoinSet<()>) {
    if let Some(Err(error)) = following.join_next().await {
        chaos.ledger.violation(format!("a client met something impossible: {error}"));
    }
}

async fn submit(user: &User, rng: &mut StdRng, session: &str, following: &mut JoinSet<()>) -> Option<TurnId> {
    let ledger = &user.chaos.ledger;
    let mut submission = Submission {
        message_id: Uuid::from_u128(rng.random()),
        session: session.to_owned(),
        script: Script::random(rng),
        on_busy: match rng.random_range(0..10) {
            0 => "interrupt",
            1 => "reject",
            _ => "enqueue",
        },
        turn: None,
    };
    let follows = rng.random_bool(0.3);
    let sent = if follows { user.send_and_follow(rng, &submission).await } else { user.send(rng, &submission).await };
    let (turn, begun) = match sent {
        Sent::Accepted(turn, begun) => (turn, begun),
        Sent::Refused => {
            ledger.count("refused");
            return None;
        }
        Sent::Unknown => {
            ledger.submitted(submission);
            return None;
        }
    };
    submission.turn = Some(turn);
    if rng.random_bool(0.15) {
        repeat(user, rng, &submission, turn).await;
    }
    if submission.script.wish == Wish::Hang {
        following.spawn(stop(user.clone(), session.to_owned(), turn, rng.random(), Stop::UntilEnded));
    }
    ledger.submitted(submission);
    let (user, session) = (user.clone(), session.to_owned());
    if rng.random_bool(0.35) {
        following.spawn(watcher::compacted(user.clone(), session.clone(), turn, rng.random()));
    }
    following.spawn(watcher::by_cursor(user, session, turn, rng.random(), begun));
    Some(turn)
}

/// The same message once more must be the same turn.
async fn repeat(user: &User, rng: &mut StdRng, submission: &Submission, turn: TurnId) {
    let ledger = &user.chaos.ledger;
    match user.send(rng, submission).await {
        Sent::Accepted(again, _) if again == turn => ledger.count("repeated submits"),
        Sent::Accepted(again, _) => ledger.violation(format!("turn {turn} was sent again and became {again}")),
        Sent::Refused => ledger.violation(format!("turn {turn} was sent again and was refused")),
        Sent::Unknown => {}
    }
}

/// How often a user asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    Once,
    UntilEnded,
}

async fn stop(user: User, session: String, turn: TurnId, seed: u64, how: Stop) {
    let mut rng = StdRng::seed_from_u64(seed);
    sleep(Duration::from_millis(rng.random_range(50..2_500))).await;
    while Instant::now() < user.chaos.settled_by {
        let running = user.look_at(&mut rng, &session, turn).await;
        let status = running.as_ref().and_then(|record| record["status"].as_str()).unwrap_or("unknown");
        match status {
            "completed" | "failed" | "cancelled" => return,
            "running" => {
                if let Some(answer) = user.stop(&mut rng, &session).await
                    && answer["reason"].is_null()
                {
                    user.chaos.ledger.count("stops");
                    expect_ended(&user, &mut rng, &session, turn).await;
                }
                if how == Stop::Once {
                    return;
                }
            }
            _ => {}
        }
        sleep(Duration::from_millis(rng.random_range(100..600))).await;
    }
}

/// A stop answers when the turn is closed. It stopped what ran, and that was this turn: nothing
/// runs beside it.
async fn expect_ended(user: &User, rng: &mut StdRng, session: &str, turn: TurnId) {
    if let Some(record) = user.look_at(rng, session, turn).await
        && matches!(record["status"].as_str(), Some("queued" | "running"))
    {
        user.chaos.ledger.violation(format!("turn {turn} was {} after its stop was confirmed", record["status"]));
    }
}
