//! The judge: waits until everything has ended, then reads every row and every stream.

mod answer;
mod log;
mod rows;
mod usage;
mod viewers;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use copilot_shared::id::{TurnId, UserId};
use rand::SeedableRng;
use rand::rngs::StdRng;
use reqwest::Method;
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep};

use self::log::Log;
use self::rows::TurnRow;
use super::ledger::Submission;
use super::{Chaos, SETTLES_WITHIN, USERS};

/// What was accepted, and how it is to be read.
struct Case<'a> {
    row: &'a TurnRow,
    log: &'a Log,
    submission: Option<&'a Submission>,
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
    let users: Vec<UserId> = (0..USERS).filter_map(|n| UserId::parse(&format!("user-{n}"))).collect();
    for finding in usage::findings(services, &mut connection, &users).await {
        chaos.ledger.violation(finding);
    }

    let turns = rows::turns(&mut connection).await;
    let submissions = chaos.ledger.submissions();
    missing_turns(chaos, &turns, &submissions);
    let streams = services.streams();
    let store = services.store();
    let lossy = chaos.ledger.lost_streams();
    let mut logs = HashMap::new();
    for row in &turns {
        let log = Log::read(&streams, row.id).await;
        let history = store.turn_messages(row.id).await.expect("the history can be read");
        let steps = rows::steps(&mut connection, row.id).await;
        let submission = find(&submissions, row);
        let case = Case { row, log: &log, submission, lossy: lossy.contains(&row.id) };
        let mut findings = log::findings(&case);
        findings.extend(answer::findings(&case, &history, &steps));
        for finding in findings {
            chaos.ledger.violation(format!("turn {} ({}): {finding}", row.id, row.status.as_str()));
        }
        logs.insert(row.id, log);
    }
    for seen in chaos.ledger.take_seen() {
        let Some(log) = logs.get(&seen.turn) else { continue };
        if let Err(finding) = viewers::judge(&seen, log, lossy.contains(&seen.turn)) {
            chaos.ledger.violation(format!("turn {}: a viewer ({:?}) {finding}", seen.turn, seen.viewer));
        }
    }
}

/// Polls until nothing is in flight, unsent or unsealed; what is left then is found by the queries.
async fn wait_until_settled(chaos: &Chaos, connection: &mut PgConnection) {
    let began = Instant::now();
    let deadline = chaos.settled_by.max(began + SETTLES_WITHIN / 4);
    while Instant::now() < deadline {
        let left: i64 = sqlx::query_scalar(rows::UNSETTLED).fetch_one(&mut *connection).await.expect("the query runs");
        if left == 0 {
            return;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

async fn no_session_is_processing(chaos: &Chaos) {
    let arena = &chaos.arena;
    let mut rng = StdRng::seed_from_u64(0);
    for n in 0..USERS {
        let request = arena.request(&mut rng, Method::GET, "/sessions?limit=100", &format!("user-{n}"));
        let answer: Value = request.send().await.expect("an API lives").json().await.expect("a list");
        let sessions = answer["sessions"].as_array().expect("a list of sessions");
        for session in sessions.iter().filter(|session| session["is_processing"] != false) {
            chaos.ledger.violation(format!("session {} is still processing", session["id"]));
        }
    }
}

/// What a user was told to be accepted must be there.
fn missing_turns(chaos: &Chaos, turns: &[TurnRow], submissions: &[Submission]) {
    let known: BTreeSet<TurnId> = turns.iter().map(|row| row.id).collect();
    for submission in submissions {
        if let Some(turn) = submission.turn
            && !known.contains(&turn)
        {
            chaos.ledger.violation(format!("turn {turn} was accepted and is not there"));
        }
    }
}

fn find<'a>(submissions: &'a [Submission], row: &TurnRow) -> Option<&'a Submission> {
    submissions.iter().find(|submission| {
        submission.turn == Some(row.id) || row.message_id.is_some_and(|id| id.0 == submission.message_id)
    })
}
