//! The judge: waits until everything has ended, then reads every row and every stream.

mod answer;
mod files;
mod log;
mod rows;
mod told;
mod usage;
mod viewers;

use std::collections::HashMap;
use std::time::Duration;

use copilot_shared::id::UserId;
use rand::SeedableRng;
use rand::rngs::StdRng;
use reqwest::Method;
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep};

pub use self::log::Log;
use self::rows::TurnRow;
use self::usage::Counters;
use super::arena::Who;
use super::script::Script;
use super::{Chaos, NOBODIES, SETTLES_WITHIN, USERS, name};

/// What was accepted, and how it is to be read.
struct Case<'a> {
    row: &'a TurnRow,
    log: &'a Log,
    /// What the model was told to say, over all messages of the turn.
    script: Option<&'a Script>,
    /// Redis lost its stream, at our hands.
    lossy: bool,
}

/// Judges the run; every finding is noted as a violation.
pub async fn judge(chaos: &Chaos) {
    let services = &chaos.arena.services;
    let mut connection = PgConnection::connect(&services.database_url).await.expect("PostgreSQL can be reached");
    wait_until_settled(chaos, &mut connection).await;
    for (what, query) in rows::NEVER {
        let found: Vec<String> = sqlx::query_scalar(*query).fetch_all(&mut connection).await.expect("the query runs");
        for which in found {
            chaos.ledger.violation(format!("{what}: {which}"));
        }
    }
    no_session_is_processing(chaos).await;
    let users: Vec<UserId> = (NOBODIES..USERS).filter_map(|n| UserId::parse(&name(n))).collect();
    let counters = if chaos.ledger.counted("Redis came back empty") > 0 { Counters::Emptied } else { Counters::Kept };
    for finding in usage::findings(services, &mut connection, &users, counters).await {
        chaos.ledger.violation(finding);
    }

    for finding in files::findings(services, &mut connection).await {
        chaos.ledger.violation(finding);
    }
    let turns = rows::turns(&mut connection).await;
    let submissions = chaos.ledger.submissions();
    told::missing(chaos, &turns, &submissions, &mut connection).await;
    let streams = services.streams();
    let store = services.store();
    let lost = chaos.ledger.lost_streams();
    let mut kept = chaos.ledger.take_kept_logs();
    let mut logs = HashMap::new();
    for row in &turns {
        let (log, lossy) = match kept.remove(&row.id) {
            Some(log) => (log, false),
            None => (Log::read(&streams, row.id).await, lost.contains(&row.id)),
        };
        let history = store.turn_messages(row.id).await.expect("the history can be read");
        let steps = rows::steps(&mut connection, row.id).await;
        let users = rows::user_messages(&mut connection, row.id).await;
        let mut findings = Vec::new();
        let script = told::script(row, &users, &history, &submissions).unwrap_or_else(|finding| {
            findings.push(finding);
            None
        });
        let case = Case { row, log: &log, script: script.as_ref(), lossy };
        findings.extend(log::findings(&case));
        findings.extend(answer::findings(&case, &history, &steps));
        for finding in findings {
            chaos.ledger.violation(format!("turn {} ({}): {finding}", row.id, row.status.as_str()));
        }
        logs.insert(row.id, log);
    }
    for seen in chaos.ledger.take_seen() {
        let Some(log) = logs.get(&seen.turn) else { continue };
        if let Err(finding) = viewers::judge(&seen, log, lost.contains(&seen.turn)) {
            chaos.ledger.violation(format!("turn {}: a viewer ({:?}) {finding}", seen.turn, seen.viewer));
        }
    }
}

/// Polls until nothing is in flight, unsent or unsealed; what is left then is found by the queries.
async fn wait_until_settled(chaos: &Chaos, connection: &mut PgConnection) {
    let began = Instant::now();
    let deadline = chaos.settled_by().max(began + SETTLES_WITHIN / 4);
    while Instant::now() < deadline {
        let left: i64 = sqlx::query_scalar(rows::UNSETTLED).fetch_one(&mut *connection).await.expect("the query runs");
        if left == 0 {
            return chaos.ledger.settled(chaos.settled_by() - SETTLES_WITHIN);
        }
        sleep(Duration::from_millis(200)).await;
    }
}

async fn no_session_is_processing(chaos: &Chaos) {
    let arena = &chaos.arena;
    let mut rng = StdRng::seed_from_u64(0);
    for n in NOBODIES..USERS {
        let request = arena.request(&mut rng, Method::GET, "/sessions?limit=100", &Who::User(name(n)));
        let answer: Value = request.send().await.expect("an API lives").json().await.expect("a list");
        let sessions = answer["sessions"].as_array().expect("a list of sessions");
        for session in sessions.iter().filter(|session| session["is_processing"] != false) {
            chaos.ledger.violation(format!("session {} is still processing", session["id"]));
        }
    }
}
