//! Users who change their minds: they stop, edit and drop what they sent.

use std::time::Duration;

use copilot_shared::id::TurnId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::Load;
use super::arena::User;
use super::ledger::Edit;
use super::script::Script;

/// How often a user asks for a stop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    Once,
    UntilEnded,
}

/// Stops a turn, once it runs.
pub async fn stop(user: User, session: String, turn: TurnId, seed: u64, how: Stop) {
    let mut rng = StdRng::seed_from_u64(seed);
    sleep(Duration::from_millis(rng.random_range(50..2_500))).await;
    while Instant::now() < user.chaos.settled_by() {
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

/// Replaces or drops a message that may still wait.
pub async fn think_again(user: User, session: String, turn: TurnId, message_id: Uuid, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    sleep(Duration::from_millis(rng.random_range(0..400))).await;
    let ledger = &user.chaos.ledger;
    if rng.random_bool(0.4) {
        if user.drop_waiting(&mut rng, &session, turn).await {
            ledger.count("dropped from the queue");
            ledger.dropped(turn);
        }
        return;
    }
    let small = matches!(user.chaos.load, Load::Submits(_));
    let script = if small { Script::small(&mut rng) } else { Script::ending(&mut rng) };
    match user.edit(&mut rng, &session, turn, &script.message).await {
        Some(true) => {
            ledger.count("edited in the queue");
            ledger.edited(message_id, Edit { script, confirmed: true });
        }
        Some(false) => {}
        None => ledger.edited(message_id, Edit { script, confirmed: false }),
    }
}
