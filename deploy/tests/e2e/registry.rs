//! Every tool of the registry in real turns: called by a scripted model and in plain words, typed
//! wherever it is told, refusing what it must, stopped in its middle, and taken over in its middle.
//! The registry is what the model is told of: a new tool without a row fails.
#![expect(clippy::panic, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;

use copilot_shared::chunk::Chunk;
use copilot_shared::testing::eventually;
use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};

use crate::client::Stream;

mod outside;
mod rows;
mod stage;
mod typed;

use rows::{AfterADeath, Effect, Middle, Place, REFUSALS, ROWS, Row};
use stage::{Mind, PATIENCE, Stage};

/// May this machine be without a sandbox?
fn sandbox_is_missing(row: &Row, answer: &Value) -> bool {
    let excused = std::env::var_os("COPILOT_SKIP_SANDBOX").is_some();
    row.tool == "bash_exec" && answer["error"] == "sandbox_unavailable" && excused
}

fn names() -> BTreeSet<String> {
    ROWS.iter().map(|row| row.tool.to_owned()).collect()
}

#[tokio::test]
async fn every_tool_is_called_by_a_model_and_is_typed_on_the_wire_and_in_the_history() {
    let stage = Stage::start(Mind::Scripted).await;
    join_all(ROWS.iter().map(|row| async {
        let place = stage.place(row, "").await;
        let rest = stage.call(&place, row).await.rest().await;
        let outcomes = stage.typed.outcomes(&stage.client(&place), &place.session, &rest).await;
        let [outcome] = outcomes.as_slice() else { panic!("{}: {outcomes:?}", row.tool) };
        let answer = outcome.answer();
        stage.typed.demand_answer(&answer);
        if sandbox_is_missing(row, &answer) {
            return;
        }
        assert_eq!((answer["type"].as_str(), outcome.failed), (Some(row.kind), false), "{answer}");
        assert_eq!(answer["session_id"], place.session.as_str());
        let expected = usize::from(row.effect != Effect::Nothing);
        assert_eq!(stage.effects(&place, row).await, expected, "{}", row.tool);
    }))
    .await;
    assert_eq!(stage.outside.offered(), names(), "a tool without a row, or a row without a tool");
}

#[tokio::test]
async fn every_tool_is_called_in_plain_words() {
    let stage = Stage::start(Mind::Demo).await;
    join_all(ROWS.iter().map(|row| async {
        let place = stage.place(row, "").await;
        let client = stage.client(&place);
        let rest = client.send(&place.session, &place.fill(row.words)).await.rest().await;
        let outcomes = stage.typed.outcomes(&client, &place.session, &rest).await;
        let [outcome] = outcomes.as_slice() else { panic!("{}: {outcomes:?}", row.words) };
        let answer = outcome.answer();
        stage.typed.demand_answer(&answer);
        if !sandbox_is_missing(row, &answer) {
            assert_eq!(answer["type"], row.kind, "{}: {answer}", row.words);
        }
    }))
    .await;
}

#[tokio::test]
async fn every_tool_says_no_in_a_word_of_its_own() {
    let stage = Stage::start(Mind::Scripted).await;
    let refusing: BTreeSet<String> = REFUSALS.iter().map(|(tool, ..)| (*tool).to_owned()).collect();
    assert_eq!(names().difference(&refusing).collect::<Vec<_>>(), Vec::<&String>::new(), "they refuse nothing");
    let place = stage.place(&ROWS[0], "").await;
    let calls: Vec<Value> = REFUSALS
        .iter()
        .map(|(tool, arguments, _)| json!([tool, serde_json::from_str::<Value>(&place.fill(arguments)).unwrap()]))
        .collect();
    let client = stage.client(&place);
    let rest = client.send(&place.session, &json!(calls).to_string()).await.rest().await;
    let outcomes = stage.typed.outcomes(&client, &place.session, &rest).await;
    let asked = rest.chunks().into_iter().filter_map(|chunk| match chunk {
        Chunk::ToolInputAvailable { tool_call_id, .. } => Some(tool_call_id),
        _ => None,
    });
    let asked: Vec<_> = asked.collect();
    assert_eq!((asked.len(), outcomes.len()), (REFUSALS.len(), REFUSALS.len()));
    for ((tool, arguments, code), id) in REFUSALS.iter().zip(asked) {
        let outcome = outcomes.iter().find(|outcome| outcome.call == id.as_str()).unwrap();
        let answer = outcome.answer();
        stage.typed.demand_answer(&answer);
        assert_eq!(
            (&answer["type"], &answer["error"]),
            (&json!("error"), &json!(code)),
            "{tool} {arguments}: {answer}"
        );
        let not_made = ["invalid_arguments", "unknown_tool"].contains(code);
        assert_eq!(outcome.failed, not_made, "what says no has answered: {answer}");
    }
    for row in ROWS.iter().filter(|row| matches!(row.effect, Effect::Counted(_) | Effect::Line)) {
        assert_eq!(stage.effects(&place, row).await, 0, "{}", row.tool);
    }
}

/// No outcome can be recorded, as if PostgreSQL were away just then. Who tries is noted by a lock that
/// outlives the failed statement.
const UNRECORDED: &str = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
        PERFORM pg_advisory_lock_shared(77, hashtext(new.name)); \
        RAISE EXCEPTION 'not now' USING ERRCODE = '57P03'; END $$; \
    CREATE TRIGGER refuse BEFORE UPDATE ON tool_calls FOR EACH ROW WHEN (new.status = 'finished') \
        EXECUTE FUNCTION refuse()";
const TRIED: &str = "SELECT count(DISTINCT objid) FROM pg_locks WHERE locktype = 'advisory' AND classid = 77 \
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

#[tokio::test]
async fn a_worker_that_dies_before_it_could_record_an_outcome_has_its_calls_repeated_where_they_may_be() {
    let mut stage = Stage::start(Mind::Scripted).await;
    stage.system.services.sql(UNRECORDED).await;
    let begun = send(&stage, places(&stage, |_| true, "").await).await;
    stage.counts("every call was made", TRIED, begun.len()).await;
    stage.kill_worker().await;
    stage.system.services.sql("DROP TRIGGER refuse ON tool_calls").await;
    stage.start_worker().await;
    judge(&stage, begun, |row| usize::from(row.effect != Effect::Nothing)).await;
}

/// Statements of the test's own database that wait for a table or a row.
const HELD: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
    AND wait_event_type = 'Lock' AND wait_event <> 'advisory'";
/// Those who have not written a file yet have no workspace.
const ALL_HAVE_ONE: &str =
    "INSERT INTO workspaces (id, user_id) SELECT gen_random_uuid(), id FROM users ON CONFLICT DO NOTHING";
/// The tools whose work Linear does, where its key is set.
const TRACKED: [&str; 2] = ["search_feature_requests", "create_feature_request"];
const STARTED: &str = "SELECT count(*) FROM tool_calls WHERE status = 'started'";

#[tokio::test]
async fn a_worker_that_dies_in_the_middle_of_a_tool_leaves_nothing_half_done() {
    let mut stage = Stage::start(Mind::Scripted).await;
    stage.outside.hold(true);
    let places = places(&stage, |row| row.middle != Middle::Nowhere, &sleep(63)).await;
    let tables: BTreeSet<&str> = places.iter().filter_map(|(row, _)| row.table()).collect();
    let (begun, mut holder) = hold(&stage, places, tables).await;
    commands_sleep(63, 1).await;

    stage.kill_worker().await;
    holder.execute("ROLLBACK").await.unwrap();
    commands_sleep(63, 0).await;
    outside_waits(&stage, 0).await;
    stage.outside.hold(false);
    stage.start_worker().await;
    judge(&stage, begun, |row| match (row.effect, row.after_a_death) {
        (Effect::Nothing, _) | (Effect::Counted(_), AfterADeath::Unknown) => 0,
        _ => 1,
    })
    .await;
}

#[tokio::test]
async fn a_cancel_in_the_middle_of_a_long_tool_leaves_nothing() {
    let stage = Stage::with_a_tracker().await;
    stage.outside.hold(true);
    let is_long = |row: &Row| {
        matches!(row.middle, Middle::Outside | Middle::Command | Middle::Table("workspace_files"))
            || TRACKED.contains(&row.tool)
    };
    let places = places(&stage, is_long, &sleep(64)).await;
    let files = files_below(&stage.system.services.workspace_dir);
    let (begun, mut holder) = hold(&stage, places, BTreeSet::from(["workspace_files"])).await;
    commands_sleep(64, 1).await;

    join_all(begun.iter().map(|(_, place, _)| async {
        assert_eq!(stage.client(place).cancel(&place.session).await["cancelled"], true, "{}", place.user);
    }))
    .await;
    outside_waits(&stage, 0).await;
    commands_sleep(64, 0).await;
    holder.execute("ROLLBACK").await.unwrap();
    for (row, place, stream) in begun {
        let rest = stream.rest().await;
        let outcomes = stage.typed.outcomes(&stage.client(&place), &place.session, &rest).await;
        assert!(matches!(outcomes.as_slice(), [outcome] if outcome.failed), "{}: {outcomes:?}", row.tool);
        assert!(matches!(rest.chunks().last(), Some(Chunk::Abort { .. })), "{}", row.tool);
        let has_begun = usize::from(matches!(row.effect, Effect::Line | Effect::McpCall));
        assert_eq!(stage.effects(&place, row).await, has_begun, "{}", row.tool);
    }
    stage
        .counts("nothing is open in the ledger", "SELECT count(*) FROM tool_calls WHERE status <> 'finished'", 0)
        .await;
    // A file whose row may have been written, as far as its writer knows, is left to the sweep.
    stage.system.services.sql("UPDATE loose_blobs SET due_at = now()").await;
    stage.system.services.workspaces(1).sweep().await.unwrap();
    assert_eq!(files_below(&stage.system.services.workspace_dir), files);
}

/// A row, its user, and the stream of its turn.
type Begun = (&'static Row, Place, Stream);

async fn places(stage: &Stage, which: impl Fn(&Row) -> bool, more: &str) -> Vec<(&'static Row, Place)> {
    // A machine without a sandbox runs no commands.
    let excused = std::env::var_os("COPILOT_SKIP_SANDBOX").is_some();
    let rows = ROWS.iter().filter(|row| which(row) && !(excused && row.middle == Middle::Command));
    join_all(rows.map(|row| async move { (row, stage.place(row, more).await) })).await
}

async fn send(stage: &Stage, places: Vec<(&'static Row, Place)>) -> Vec<Begun> {
    let sent = places.into_iter().map(|(row, place)| async move {
        let stream = stage.call(&place, row).await;
        (row, place, stream)
    });
    join_all(sent).await
}

/// Lets calls begin, and holds them in their middle: those that write to these tables, and those that
/// wait for an answer from outside. The connection lets the writers go.
async fn hold(
    stage: &Stage,
    places: Vec<(&'static Row, Place)>,
    mut tables: BTreeSet<&str>,
) -> (Vec<Begun>, PgConnection) {
    let count = places.len();
    let writers = places.iter().filter(|(row, _)| row.table().is_some_and(|table| tables.contains(table))).count();
    let mut holder = PgConnection::connect(&stage.system.services.database_url).await.unwrap();
    holder.execute(ALL_HAVE_ONE).await.unwrap();
    holder.execute("BEGIN").await.unwrap();
    if tables.remove(rows::WORKSPACES) {
        holder.execute("SELECT id FROM workspaces FOR UPDATE").await.unwrap();
    }
    if !tables.is_empty() {
        // Reading goes on.
        let lock = format!("LOCK TABLE {} IN SHARE MODE", tables.into_iter().collect::<Vec<_>>().join(", "));
        holder.execute(sqlx::AssertSqlSafe(lock)).await.unwrap();
    }
    // A page is waited for no longer than 15 s, so it is asked for when all others wait.
    let (page, others): (Vec<_>, Vec<_>) = places.into_iter().partition(|(row, _)| row.tool == "web_fetch");
    let mut begun = send(stage, others).await;
    stage.counts("calls have begun", STARTED, count - 1).await;
    stage.counts("writers wait", HELD, writers).await;
    begun.extend(send(stage, page).await);
    stage.counts("calls have begun", STARTED, count).await;
    let outside = begun.iter().filter(|(row, ..)| row.middle == Middle::Outside).count();
    let tracked = if stage.is_tracked { TRACKED.len() } else { 0 };
    outside_waits(stage, outside + tracked).await;
    (begun, holder)
}

/// After a death: each call has one outcome, which is an answer where the call may be repeated, and
/// else says that nobody knows; and it has had its effect so often.
async fn judge(stage: &Stage, begun: Vec<Begun>, effects: impl Fn(&Row) -> usize) {
    let count = begun.len();
    for (row, place, stream) in begun {
        let rest = stream.rest().await;
        let outcomes = stage.typed.outcomes(&stage.client(&place), &place.session, &rest).await;
        let [outcome] = outcomes.as_slice() else { panic!("{}: {outcomes:?}", row.tool) };
        assert!(matches!(rest.chunks().last(), Some(Chunk::Finish { .. })), "{}", row.tool);
        match row.after_a_death {
            AfterADeath::Again => {
                stage.typed.demand_answer(&outcome.answer());
                assert_eq!(outcome.answer()["type"], row.kind);
            }
            AfterADeath::Unknown => {
                assert!(outcome.failed && outcome.text.contains("outcome is unknown"), "{}: {outcome:?}", row.tool);
            }
        }
        assert_eq!(stage.effects(&place, row).await, effects(row), "{}", row.tool);
    }
    stage.counts("every turn was taken over", "SELECT count(*) FROM turns WHERE attempt > 1", count).await;
}

async fn outside_waits(stage: &Stage, requests: usize) {
    eventually("so many requests wait outside", PATIENCE, || async {
        (stage.outside.waiting() == requests).then_some(())
    })
    .await;
}

/// What a command does besides, so that it can be found: how long it sleeps is its name.
fn sleep(name: u32) -> String {
    format!("; sleep {}", seconds(name))
}

fn seconds(name: u32) -> u32 {
    name * 1_000_000 + std::process::id() % 1_000_000
}

async fn commands_sleep(name: u32, count: usize) {
    if std::env::var_os("COPILOT_SKIP_SANDBOX").is_some() {
        return;
    }
    let wanted = format!("sleep\0{}\0", seconds(name));
    let running = || {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        lines.filter(|line| String::from_utf8_lossy(line) == wanted).count()
    };
    eventually("so many commands sleep", PATIENCE, || async { (running() == count).then_some(()) }).await;
}

fn files_below(directory: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { files_below(&entry.path()) } else { 1 }).sum()
}
