//! The summary of a run.

use std::fmt::Write as _;

use sqlx::{Connection, PgConnection};

use super::{Chaos, SETTLES_WITHIN};

const TURNS: &[(&str, &str)] = &[
    ("accepted", "SELECT count(*) FROM turns"),
    ("completed", "SELECT count(*) FROM turns WHERE status = 'completed'"),
    ("cancelled", "SELECT count(*) FROM turns WHERE status = 'cancelled'"),
    ("failed: provider_error", "SELECT count(*) FROM turns WHERE error_code = 'provider_error'"),
    ("failed: attempts_exhausted", "SELECT count(*) FROM turns WHERE error_code = 'attempts_exhausted'"),
    ("failed: other", "SELECT count(*) FROM turns WHERE error_code NOT IN ('provider_error', 'attempts_exhausted')"),
    ("taken over (attempt > 1)", "SELECT count(*) FROM turns WHERE attempt > 1 AND started_at IS NOT NULL"),
    ("most attempts of a turn", "SELECT coalesce(max(attempt), 0)::bigint FROM turns"),
    ("model calls committed", "SELECT count(*) FROM turn_steps"),
    ("tool calls", "SELECT count(*) FROM tool_calls"),
    ("files written", "SELECT count(*) FROM workspace_files"),
];

/// Prints the table.
pub async fn print(chaos: &Chaos, seed: u64) {
    let mut table = String::new();
    row(&mut table, "seed", &seed.to_string());
    let lasted = chaos.settled_by() - SETTLES_WITHIN - chaos.began;
    row(&mut table, "load", &format!("{:.1} min", lasted.as_secs_f64() / 60.0));
    if chaos.arena.private.is_none() {
        row(&mut table, "servers", "are given: not killed");
    }
    let url = &chaos.arena.services.database_url;
    let mut connection = PgConnection::connect(url).await.expect("PostgreSQL can be reached");
    for (what, query) in TURNS {
        let count: i64 = sqlx::query_scalar(*query).fetch_one(&mut connection).await.expect("the query runs");
        row(&mut table, what, &count.to_string());
    }
    let settled = chaos.ledger.settled_after().map_or("never".into(), |after| format!("{:.1} s", after.as_secs_f64()));
    row(&mut table, "last fault to all ended", &settled);
    for (what, count) in chaos.ledger.counts() {
        row(&mut table, what, &count.to_string());
    }
    let pauses = chaos.ledger.takeover_pauses();
    let at = |share: usize| pauses.get((pauses.len() * share / 100).min(pauses.len().saturating_sub(1)));
    for (what, pause) in [("p50", at(50)), ("p90", at(90)), ("max", pauses.last())] {
        let pause = pause.map_or("-".into(), |pause| format!("{} ms", pause.as_millis()));
        row(&mut table, &format!("kill to next chunk, {what} of {}", pauses.len()), &pause);
    }
    row(&mut table, "violations", &chaos.ledger.violations().len().to_string());
    eprintln!("{table}");
}

fn row(table: &mut String, what: &str, value: &str) {
    writeln!(table, "  {what:<34} {value:>12}").expect("a string takes what is written");
}
