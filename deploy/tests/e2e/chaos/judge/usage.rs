//! What was counted must be what was used, and nothing may stay reserved.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use copilot_shared::id::UserId;
use copilot_shared::testing::Services;
use copilot_shared::usage::TokenUsage;
use copilot_shared::usage::limits::Used;
use copilot_shared::usage::window::Window;
use sqlx::{FromRow, PgConnection};
use tokio::time::{Instant, sleep};

/// Longer than a reservation whose turn never came to be is left alone.
const RESERVATIONS_GONE_WITHIN: Duration = Duration::from_secs(30);

#[derive(FromRow)]
struct StepUsage {
    user_id: UserId,
    created_at: DateTime<Utc>,
    prompt_tokens: i64,
    completion_tokens: i64,
    cache_read_tokens: i64,
    cache_creation_tokens: i64,
}

/// Whether the counters were always kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Counters {
    /// They must tell all that was used.
    Kept,
    /// Redis came back empty: they may tell less, never more.
    Emptied,
}

/// What is wrong with the counters.
pub async fn findings(
    services: &Services,
    connection: &mut PgConnection,
    users: &[UserId],
    counters: Counters,
) -> Vec<String> {
    let windows = services.windows();
    let now = Utc::now();
    let used = weights(connection, now).await;
    let mut findings = Vec::new();
    for user in users {
        let counted = windows.look(user, now).await.expect("the counters can be read").used;
        let used = used.get(user).copied().unwrap_or_default();
        let less = counted.daily <= used.daily && counted.weekly <= used.weekly;
        if counted != used && (counters == Counters::Kept || !less) {
            findings.push(format!("{user} used {used:?} and was charged {counted:?}"));
        }
    }
    let deadline = Instant::now() + RESERVATIONS_GONE_WITHIN;
    for user in users {
        loop {
            let left = windows.reserved(user).await.expect("the reservations can be read");
            if left.is_empty() {
                break;
            }
            if Instant::now() > deadline {
                findings.push(format!("{user} still has reservations: {left:?}"));
                break;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
    findings
}

async fn weights(connection: &mut PgConnection, now: DateTime<Utc>) -> HashMap<UserId, Used> {
    let steps: Vec<StepUsage> = sqlx::query_as(
        "SELECT t.user_id, s.created_at, s.prompt_tokens, s.completion_tokens, s.cache_read_tokens, s.cache_creation_tokens \
         FROM turn_steps s JOIN turns t ON t.id = s.turn_id WHERE t.user_id IS NOT NULL",
    )
    .fetch_all(connection)
    .await
    .expect("the steps can be read");
    let mut weights: HashMap<UserId, Used> = HashMap::new();
    for step in steps {
        let weight = TokenUsage {
            prompt: step.prompt_tokens,
            completion: step.completion_tokens,
            cache_read: step.cache_read_tokens,
            cache_creation: step.cache_creation_tokens,
            estimated: false,
        }
        .weighted();
        let counts_in = |window: Window| window.name(step.created_at) == window.name(now);
        let used = weights.entry(step.user_id).or_default();
        used.daily += if counts_in(Window::Daily) { weight } else { 0 };
        used.weekly += if counts_in(Window::Weekly) { weight } else { 0 };
    }
    weights
}
