//! The state of both sides as the same lines.

use std::fmt::Write as _;

use super::names;
use crate::model::database::{Content, Database};
use crate::model::fold::Fold;
use crate::model::streams::Streams;
use crate::model::{Tick, TurnId, Turns};

/// A clock that the test turns, in front of PostgreSQL's own: unqualified names are looked up in
/// the order of `search_path` (PostgreSQL 15 documentation, 5.9.3).
pub const CLOCK: &str = "CREATE SCHEMA clock; \
    CREATE TABLE clock.hands (at timestamptz NOT NULL); \
    INSERT INTO clock.hands VALUES ('2026-01-01T00:00:00Z'); \
    CREATE FUNCTION clock.now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT at FROM clock.hands'; \
    CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT at FROM clock.hands'; \
    CREATE FUNCTION clock.ticks(at timestamptz) RETURNS text LANGUAGE sql STABLE AS \
        $$SELECT coalesce(((extract(epoch FROM at) - extract(epoch FROM '2026-01-01T00:00:00Z'::timestamptz)) * 10)::bigint::text, '-')$$; \
    ALTER TABLE turns ALTER created_at SET DEFAULT clock.now(); \
    ALTER TABLE unsettled_steps ALTER due_at SET DEFAULT clock.now() + interval '5 seconds'; \
    DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = clock, public, pg_catalog', current_database()); END $$";

/// The tables as lines, which name turns by their ids.
pub const TABLES: &str = "SELECT line FROM ( \
    SELECT 1 AS part, number AS a, 0 AS b, 0 AS c, concat_ws(' ', t.id, 'of', coalesce(user_id, '-'), \
        'priority', priority, status, 'ready', clock.ticks(ready_at), 'attempt', attempt, 'losses', losses, \
        'worker', coalesce(worker_id::text, '-'), 'lease', CASE WHEN status = 'running' THEN clock.ticks(lease_until) ELSE '-' END, \
        'steps', steps, 'reaches', chunk_sequence, 'stop', clock.ticks(cancel_requested_at), 'created', clock.ticks(created_at), \
        'began', started_at IS NOT NULL, 'ended', clock.ticks(finished_at), coalesce(error_code, '-'), \
        'sealed', sealed, 'used', prompt_tokens + completion_tokens, 'steers', coalesce(steers::text, '-')) AS line \
    FROM turns t \
    UNION ALL SELECT 2, t.number, 0, 0, concat_ws(' ', 'outbox', turn_id, 'due', clock.ticks(due_at), 'publishes', publishes) \
    FROM outbox o JOIN turns t ON t.id = o.turn_id \
    UNION ALL SELECT 3, t.number, step, 0, \
        concat_ws(' ', 'step', turn_id, step, 'used', s.prompt_tokens + s.completion_tokens, estimated) \
    FROM turn_steps s JOIN turns t ON t.id = s.turn_id \
    UNION ALL SELECT 4, t.number, step, place, \
        concat_ws(' ', 'call', c.turn_id, step, c.id, c.status, 'attempt', c.attempt, coalesce(outcome::text, '-')) \
    FROM tool_calls c JOIN turns t ON t.id = c.turn_id \
    UNION ALL SELECT 5, t.number, 0, 0, concat_ws(' ', 'key', key, turn_id) \
    FROM idempotency_keys k JOIN turns t ON t.id = k.turn_id \
    UNION ALL SELECT 6, 0, 0, 0, concat_ws(' ', 'session', s.id, 'next', next_sequence, \
        'used', total_prompt_tokens + total_completion_tokens) FROM sessions s \
    UNION ALL SELECT 7, t.number, step, 0, concat_ws(' ', 'unsettled', turn_id, step, u.user_id, weighted_tokens, \
        'due', clock.ticks(due_at)) FROM unsettled_steps u JOIN turns t ON t.id = u.turn_id) lines \
    ORDER BY part, a, b, c, line";

/// The conversations, as they are.
pub const MESSAGES: &str = "SELECT m.turn_id, m.sequence, m.role, m.parts FROM messages m \
    JOIN turns t ON t.id = m.turn_id ORDER BY m.session_id, m.sequence NULLS LAST, t.number";

/// The same lines of the model, with the streams of some turns.
pub fn of_model(db: &Database, streams: &Streams, of: Turns) -> String {
    let mut lines = String::new();
    let ticks = |at: Option<Tick>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let mut line = |text: String| {
        lines.push_str(&text);
        lines.push('\n');
    };
    for (turn, row) in db.rows() {
        let lease = (row.status == crate::model::chunk::Status::Running).then_some(row.lease_until);
        line(format!(
            "{turn:?} of {} priority {} {} ready {} attempt {} losses {} worker {} lease {} steps {} reaches {} stop {} \
             created {} began {} ended {} {} sealed {} used {} steers {}",
            row.user.map_or_else(|| "-".to_owned(), |user| format!("{user:?}")),
            row.priority,
            format!("{:?}", row.status).to_lowercase(),
            ticks(row.ready_at),
            row.attempt,
            row.losses,
            row.worker.map_or_else(|| "-".to_owned(), |worker| format!("{worker:?}")),
            ticks(lease),
            row.steps,
            row.chunk_sequence,
            ticks(row.cancel_requested_at),
            row.created_at,
            flag(row.started),
            ticks(row.finished_at),
            row.error.map_or("-", names::error_word),
            flag(row.sealed),
            row.used,
            row.steers.map_or_else(|| "-".to_owned(), |steers| format!("{steers:?}")),
        ));
    }
    for (turn, _) in db.rows() {
        if let Some(entry) = db.outbox[turn.at()] {
            line(format!("outbox {turn:?} due {} publishes {}", entry.due_at, entry.publishes));
        }
    }
    for step in sorted(db.steps.iter().map(|step| (step.turn, step.step, *step))) {
        line(format!("step {:?} {} used {} {}", step.turn, step.step, step.used, flag(step.estimated)));
    }
    for call in sorted(db.calls.iter().map(|call| (call.turn, call.step, *call))) {
        let status = format!("{:?}", call.status).to_lowercase();
        let outcome = call.outcome.map_or_else(|| "-".to_owned(), |outcome| format!("{outcome:?}"));
        line(format!("call {:?} {} {:?} {status} attempt {} {outcome}", call.turn, call.step, call.id, call.attempt));
    }
    let mut keys: Vec<_> = db.keys.iter().map(|row| (row.turn, row.key.word)).collect();
    keys.sort_unstable();
    for (turn, key) in keys {
        line(format!("key {key} {turn:?}"));
    }
    for (at, session) in db.sessions.iter().enumerate() {
        line(format!("session session-{at} next {} used {}", session.next_sequence, session.used));
    }
    let mut unsettled: Vec<_> = db.unsettled.iter().map(|row| (row.turn, row.used.step, *row)).collect();
    unsettled.sort_by_key(|(turn, step, _)| (*turn, *step));
    for (turn, step, row) in unsettled {
        line(format!("unsettled {turn:?} {step} {:?} {} due {}", row.used.user, row.used.weight, row.due_at));
    }
    let mut messages: Vec<_> = db.messages.iter().collect();
    messages.sort_by_key(|m| (m.session, m.sequence.is_none(), m.sequence, m.turn));
    for message in messages {
        let content = content(&message.content);
        line(format!("message {:?} {} {content}", message.turn, message.sequence.map_or(0, i64::from)));
    }
    for turn in of {
        line(stream(turn, streams));
    }
    lines
}

/// A message, as both sides write it.
pub fn content(content: &Content) -> String {
    match content {
        Content::User(text) => format!("user {}", names::piece(*text)),
        Content::Assistant(said) => format!("assistant {said:?}"),
        Content::Tool(call, outcome) => format!("tool {call:?} {outcome:?}"),
    }
}

fn stream(turn: TurnId, streams: &Streams) -> String {
    let mut line = format!("stream of {turn:?} {:?}", streams.meta(turn));
    if let Some(meta) = streams.meta(turn) {
        let (_, chunks) = streams.read_after(turn, meta.base);
        let written = write!(line, " {chunks:?} {}", streams.read_fold(turn).map_or_else(String::new, |f| fold(&f)));
        debug_assert!(written.is_ok());
    }
    line
}

/// A fold, as both sides write it.
pub fn fold(fold: &Fold) -> String {
    fold.told()
}

fn flag(set: bool) -> &'static str {
    if set { "t" } else { "f" }
}

fn sorted<T>(rows: impl Iterator<Item = (TurnId, u8, T)>) -> impl Iterator<Item = T> {
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|(turn, step, _)| (*turn, *step));
    rows.into_iter().map(|(.., row)| row)
}
