//! Every tool of the registry in real turns: called by a scripted model and in plain words, typed
//! wherever it is told, refusing what it must, stopped in its middle, and taken over in its middle.
//! The registry is what the model is told of: a new tool without a row fails.

use std::collections::BTreeSet;
use std::time::Duration;

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
use stage::{Mind, Stage};

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
    let begun = begin(&stage, |_| true, "").await;
    stage.counts("every call was made", TRIED, ROWS.len()).await;
    stage.kill_worker().await;
    stage.system.services.sql("DROP TRIGGER refuse ON tool_calls").await;
    stage.start_worker().await;
    judge(&stage, begun, |row| usize::from(row.effect != Effect::Nothing)).await;
}

/// Statements of the test's own database that wait for a table.
const HELD: &str = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation' \
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
const STARTED: &str = "SELECT count(*) FROM tool_calls WHERE status = 'started'";

#[tokio::test]
async fn a_worker_that_dies_in_the_middle_of_a_tool_leaves_nothing_half_done() {
    let mut stage = Stage::start(Mind::Scripted).await;
    stage.outside.hold(true);
    let held: Vec<&Row> = ROWS.iter().filter(|row| row.middle != Middle::Nowhere).collect();
    let tables: BTreeSet<&str> = held.iter().filter_map(|row| row.table()).collect();
    let places = begin_places(&stage, |row| row.middle != Middle::Nowhere, &sleep(63)).await;
    // Reading goes on; who writes waits in the middle.
    let lock = format!("LOCK TABLE {} IN SHARE MODE", tables.into_iter().collect::<Vec<_>>().join(", "));
    let mut holder = PgConnection::connect(&stage.system.services.database_url).await.unwrap();
    holder.execute("BEGIN").await.unwrap();
    holder.execute(sqlx::AssertSqlSafe(lock)).await.unwrap();
    let begun = send(&stage, places).await;
    stage.counts("every call has begun", STARTED, held.len()).await;
    stage.counts("writers wait", HELD, held.iter().filter(|row| row.table().is_some()).count()).await;
    outside_waits(&stage, held.iter().filter(|row| row.middle == Middle::Outside).count()).await;
    commands_sleep(63, 1).await;

    stage.kill_worker().await;
    holder.execute("ROLLBACK").await.unwrap();
    commands_sleep(63, 0).await;
    outside_waits(&stage, 0).await;
    stage.outside.hold(false);
    stage.start_worker().await;
    judge(&stage, begun, |row| match (row.effect, row.after_a_death) {
        (Effect::Nothing, _) => 0,
        (Effect::Counted(_), AfterADeath::Unknown) => 0,
        _ => 1,
    })
    .await;
}

#[tokio::test]
async fn a_cancel_in_the_middle_of_a_long_tool_leaves_nothing() {
    let linear = |url: &str| {
        vec![
            ("LINEAR_API_KEY", "lin_api_key".to_owned()),
            ("LINEAR_TEAM_ID", "team".to_owned()),
            ("LINEAR_PROJECT_ID", "project".to_owned()),
            ("LINEAR_API_URL", format!("{url}/graphql")),
        ]
    };
    let stage = Stage::start_with(Mind::Scripted, linear).await;
    stage.outside.hold(true);
    let tracked = ["search_feature_requests", "create_feature_request"];
    let is_long = |row: &Row| {
        matches!(row.middle, Middle::Outside | Middle::Command | Middle::Table("workspace_files"))
            || tracked.contains(&row.tool)
    };
    let places = begin_places(&stage, is_long, &sleep(64)).await;
    let (count, files) = (places.len(), files_below(&stage.system.services.workspace_dir));
    let mut holder = PgConnection::connect(&stage.system.services.database_url).await.unwrap();
    holder.execute("BEGIN").await.unwrap();
    holder.execute("LOCK TABLE workspace_files IN SHARE MODE").await.unwrap();
    let begun = send(&stage, places).await;
    stage.counts("every call has begun", STARTED, count).await;
    stage.counts("writers wait", HELD, 2).await;
    outside_waits(&stage, 4).await;
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
    eventually("no file is left over", Duration::from_secs(10), || async {
        (files_below(&stage.system.services.workspace_dir) == files).then_some(())
    })
    .await;
}

/// A row, its user, and the stream of its turn.
type Begun = (&'static Row, Place, Stream);

async fn begin_places(stage: &Stage, which: impl Fn(&Row) -> bool, more: &str) -> Vec<(&'static Row, Place)> {
    join_all(ROWS.iter().filter(|row| which(row)).map(|row| async move { (row, stage.place(row, more).await) })).await
}

async fn send(stage: &Stage, places: Vec<(&'static Row, Place)>) -> Vec<Begun> {
    let sent = places.into_iter().map(|(row, place)| async move {
        let stream = stage.call(&place, row).await;
        (row, place, stream)
    });
    join_all(sent).await
}

async fn begin(stage: &Stage, which: impl Fn(&Row) -> bool, more: &str) -> Vec<Begun> {
    send(stage, begin_places(stage, which, more).await).await
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
        if std::env::var_os("COPILOT_SKIP_SANDBOX").is_none() || row.effect != Effect::Line {
            assert_eq!(stage.effects(&place, row).await, effects(row), "{}", row.tool);
        }
    }
    stage.counts("every turn was taken over", "SELECT count(*) FROM turns WHERE attempt = 2", count).await;
}

async fn outside_waits(stage: &Stage, requests: usize) {
    eventually("so many requests wait outside", Duration::from_secs(20), || async {
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
    eventually("so many commands sleep", Duration::from_secs(20), || async { (running() == count).then_some(()) })
        .await;
}

fn files_below(directory: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { files_below(&entry.path()) } else { 1 }).sum()
}
