//! Directories of sandboxes: they go with their session, and when nobody uses them.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use copilot_shared::id::SessionId;
use copilot_shared::store::Store;
use copilot_shared::testing::Services;
use copilot_worker::sandbox::Sandbox;

const DAY: Duration = Duration::from_hours(24);

/// A session that the database knows.
async fn session(services: &Services) -> SessionId {
    let id = SessionId::random();
    services.sql("INSERT INTO users (id) VALUES ('ann') ON CONFLICT DO NOTHING").await;
    services.sql(&format!("INSERT INTO sessions (id, user_id) VALUES ('{id}', 'ann')")).await;
    id
}

/// What a session's commands left, with what is hard to remove.
fn leave(root: &Path, session: SessionId) -> PathBuf {
    let directory = root.join(session.to_string());
    let hidden = directory.join("home/hidden");
    std::fs::create_dir_all(&hidden).unwrap();
    std::fs::write(hidden.join("file"), "x").unwrap();
    std::os::unix::fs::symlink("/", directory.join("home/root")).unwrap();
    let mut permissions = std::fs::metadata(&hidden).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o000);
    std::fs::set_permissions(&hidden, permissions).unwrap();
    directory
}

async fn sweep(sandbox: &Sandbox, store: &Store) -> usize {
    sandbox.sweep(store, DAY).await.unwrap()
}

#[tokio::test]
async fn directories_go_with_their_session_and_when_nobody_uses_them() {
    let services = Services::isolated().await;
    let store = services.store();
    let root = std::env::temp_dir().join(format!("copilot-sweep-{}", SessionId::random()));
    let sandbox = Sandbox::new(&root, 1 << 20).unwrap();
    assert_eq!(sweep(&sandbox, &store).await, 0, "without a directory there is nothing to do");

    let (kept, old, deleted) = (session(&services).await, session(&services).await, SessionId::random());
    let [kept, old, deleted] = [kept, old, deleted].map(|session| leave(&root, session));
    std::fs::File::open(&old).unwrap().set_modified(SystemTime::now() - 2 * DAY).unwrap();
    // Begun by a worker that died, and something that is not ours.
    let half = root.join(".gone-half");
    std::fs::create_dir(&half).unwrap();
    let foreign = root.join("foreign");
    std::fs::create_dir(&foreign).unwrap();

    assert_eq!(sweep(&sandbox, &store).await, 3);
    assert_eq!([&kept, &foreign, &old, &deleted, &half].map(|path| path.exists()), [true, true, false, false, false]);
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 2, "nothing is left under another name");
    services.sql("DELETE FROM sessions").await;
    assert_eq!(sweep(&sandbox, &store).await, 1);
    std::fs::remove_dir_all(&root).unwrap();
    store.close().await;
}
