//! While PostgreSQL is away no worker can renew, so that leases say nothing of their workers.

use std::time::Duration;

use copilot_shared::id::WorkerId;
use copilot_shared::reconciler::Reconciler;
use copilot_shared::store::StoreSettings;
use copilot_shared::testing::{Services, eventually};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::setup::{claimed, ready, session, user};

const LAPSE: &str = "UPDATE turns SET lease_until = now() - interval '1 minute'";
const ENTRIES: &str = "SELECT count(*) FROM outbox";

#[tokio::test]
async fn a_look_that_the_server_kept_waiting_judges_no_lease() {
    let services = Services::isolated().await;
    let lease = Duration::from_millis(600);
    // One connection, so that whoever has it makes the look wait.
    let store = services.store_with(StoreSettings { lease, max_running: 0, max_in_flight: 0, connections: 1 });
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "hello").await;
    claimed(&store, turn.id, WorkerId::generate()).await;
    services.sql(LAPSE).await;

    let mut outside = PgConnection::connect(&services.database_url).await.unwrap();
    outside.execute("BEGIN; LOCK TABLE sessions").await.unwrap();
    let waits = tokio::spawn({
        let (store, ann) = (store.clone(), ann.clone());
        async move { store.find_session(id, &ann).await.map(|_| ()) }
    });
    eventually("the connection is taken", Duration::from_secs(5), || async {
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'sessions'::regclass";
        (services.count(waiting).await == 1).then_some(())
    })
    .await;
    let (found, ()) = tokio::join!(store.enqueue_lapsed(), async {
        tokio::time::sleep(lease / 2).await;
        outside.execute("COMMIT").await.unwrap();
    });
    waits.await.unwrap().unwrap();
    assert_eq!(found.unwrap(), None);
    assert_eq!(services.count(ENTRIES).await, 0);
    assert_eq!(store.enqueue_lapsed().await.unwrap(), Some(1), "a look that did not wait judges");
}

/// Makes the test's database refuse everybody and ends who is there, or lets them in again.
async fn let_in(services: &Services, allowed: bool) {
    let mut server = PgConnection::connect(&std::env::var("DATABASE_URL").unwrap()).await.unwrap();
    let (_, name) = services.database_url.rsplit_once('/').unwrap();
    let mut run = async |sql: String| server.execute(AssertSqlSafe(sql)).await.unwrap();
    run(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {allowed}")).await;
    if !allowed {
        run(format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")).await;
    }
}

#[tokio::test]
async fn after_an_absence_workers_have_a_lease_to_renew_before_any_is_judged() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "hello").await;
    claimed(&store, turn.id, WorkerId::generate()).await;
    services.sql("UPDATE turns SET lease_until = now() + interval '1 hour'").await;
    let reconciler = Reconciler {
        store: services.store(),
        streams: services.streams(),
        publisher: services.publisher(),
        longest_wait: None,
    };
    let stop = CancellationToken::new();
    let looking = tokio::spawn(reconciler.run(stop.clone()));

    // It looks twice a second, so that it meets the absence.
    let_in(&services, false).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let_in(&services, true).await;
    services.sql(LAPSE).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(services.count(ENTRIES).await, 0, "its worker is to have its turn to renew first");
    eventually("leases are judged again", Duration::from_secs(15), || async {
        (services.count(ENTRIES).await == 1).then_some(())
    })
    .await;
    stop.cancel();
    looking.await.unwrap();
}
