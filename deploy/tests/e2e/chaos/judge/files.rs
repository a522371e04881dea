//! The bytes of files: each file has its own, and nothing is left that nobody knows of.

use std::collections::BTreeSet;
use std::path::Path;

use copilot_shared::testing::Services;
use sqlx::PgConnection;

/// What is on the disk and should not be, or is not and should.
pub async fn findings(services: &Services, connection: &mut PgConnection) -> Vec<String> {
    // One that is being deleted, or was given up by a worker that died, may be there or not.
    let loose: BTreeSet<String> = keys(connection, "SELECT blob_key FROM loose_blobs").await;
    let live = keys(connection, "SELECT blob_key FROM workspace_files WHERE deleted_at IS NULL").await;
    let on_disk = keys_in(&services.workspace_dir);
    let missing = live.difference(&on_disk).map(|key| format!("a file has no bytes: {key}"));
    let unknown = on_disk.iter().filter(|key| !live.contains(*key) && !loose.contains(*key));
    missing.chain(unknown.map(|key| format!("bytes belong to no file: {key}"))).collect()
}

async fn keys(connection: &mut PgConnection, query: &'static str) -> BTreeSet<String> {
    let keys: Vec<String> = sqlx::query_scalar(query).fetch_all(connection).await.expect("the query runs");
    keys.into_iter().collect()
}

/// A key is the workspace's id and the file's.
fn keys_in(directory: &Path) -> BTreeSet<String> {
    let in_workspace = |id: String| names_in(&directory.join(&id)).into_iter().map(move |file| format!("{id}/{file}"));
    names_in(directory).into_iter().flat_map(in_workspace).collect()
}

fn names_in(directory: &Path) -> Vec<String> {
    // Nobody may have written anything.
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}
