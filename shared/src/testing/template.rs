//! The database that each test's own is copied from: a copy takes a fraction of what the migrations
//! take, and every test wants one.

use std::hash::{DefaultHasher, Hasher};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::store::{MIGRATOR, Store, StoreSettings};

/// Who holds it makes the template; all others wait, those of other processes too.
const MAKING: i64 = 0x7465_6d70_6c61_7465;

/// Makes an empty, migrated database.
pub(super) async fn copy_as(name: &str, admin_url: &str, settings: StoreSettings) {
    let mut admin = PgConnection::connect(admin_url).await.expect("PostgreSQL cannot be reached");
    let template = template_name();
    admin.execute(sqlx::query("SELECT pg_advisory_lock($1)").bind(MAKING)).await.expect("the lock");
    if !exists(&mut admin, &template).await {
        make(&mut admin, &template, admin_url, settings).await;
    }
    admin.execute(sqlx::query("SELECT pg_advisory_unlock($1)").bind(MAKING)).await.expect("the lock");
    run(&mut admin, format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
}

/// Named by what the migrations say, so that no test finds the schema of another version.
fn template_name() -> String {
    let mut hasher = DefaultHasher::new();
    MIGRATOR.iter().for_each(|migration| hasher.write(&migration.checksum));
    let digest = hasher.finish();
    format!("copilot_template_{digest:016x}")
}

async fn exists(admin: &mut PgConnection, database: &str) -> bool {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)")
        .bind(database)
        .fetch_one(admin)
        .await
        .expect("the server's databases")
}

/// It gets its name when it is whole: a test that was killed in between leaves none that is half made.
async fn make(admin: &mut PgConnection, template: &str, admin_url: &str, settings: StoreSettings) {
    let (server_url, _) = admin_url.rsplit_once('/').expect("DATABASE_URL names no database");
    let unfinished = format!("{template}_unfinished");
    run(admin, format!("DROP DATABASE IF EXISTS {unfinished} WITH (FORCE)")).await;
    run(admin, format!("CREATE DATABASE {unfinished}")).await;
    let store = Store::new(&format!("{server_url}/{unfinished}"), settings).expect("DATABASE_URL is an address");
    store.migrate().await.expect("the migrations must apply");
    store.close().await;
    // PostgreSQL copies no database that somebody is connected to, be it for vacuuming.
    run(admin, format!("ALTER DATABASE {unfinished} ALLOW_CONNECTIONS false")).await;
    run(admin, format!("ALTER DATABASE {unfinished} RENAME TO {template}")).await;
}

async fn run(admin: &mut PgConnection, statement: String) {
    admin.execute(AssertSqlSafe(statement)).await.expect("the test's database cannot be made");
}
