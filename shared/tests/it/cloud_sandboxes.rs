//! Which sandbox outside belongs to which session: known before it is there, until it is gone.

use std::time::Duration;

use copilot_shared::id::{SessionId, WorkerId};
use copilot_shared::session::Caller;
use copilot_shared::store::{Fence, Fenced, Store};
use copilot_shared::testing::Services;
use uuid::Uuid;

use crate::setup::{claimed, ready, session, user};

const KEEP: Duration = Duration::from_hours(48);

/// A session of Ann's with a running turn.
async fn scene(store: &Store) -> (SessionId, Caller, Fence) {
    let ann = user("ann");
    let id = session(store, &ann).await;
    let turn = ready(store, id, &ann, "hello").await;
    let claim = claimed(store, turn.id, WorkerId::generate()).await;
    (id, ann, Fence { turn: turn.id, attempt: claim.turn.attempt })
}

#[tokio::test]
async fn whoever_comes_second_finds_the_first_ones_key_and_what_was_made_with_it() {
    let services = Services::isolated().await;
    let store = services.store();
    let (id, _, fence) = scene(&store).await;
    let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
    let found = store.claim_cloud_sandbox(fence, id, first, KEEP).await.unwrap();
    assert_eq!((found.creation_key, found.sandbox_id), (first, None));
    assert_eq!(store.claim_cloud_sandbox(fence, id, second, KEEP).await.unwrap().creation_key, first);

    assert_eq!(store.note_cloud_sandbox(id, first, "i1").await.unwrap().as_deref(), Some("i1"));
    let other = store.note_cloud_sandbox(id, first, "i2").await.unwrap();
    assert_eq!(other.as_deref(), Some("i1"), "whoever made another one learns which it is");
    assert_eq!(store.claim_cloud_sandbox(fence, id, second, KEEP).await.unwrap().sandbox_id.as_deref(), Some("i1"));

    store.replace_cloud_sandbox(fence, id, second, Uuid::new_v4()).await.unwrap();
    assert_eq!(store.claim_cloud_sandbox(fence, id, second, KEEP).await.unwrap().creation_key, first, "not theirs");
    store.replace_cloud_sandbox(fence, id, first, second).await.unwrap();
    let found = store.claim_cloud_sandbox(fence, id, first, KEEP).await.unwrap();
    assert_eq!((found.creation_key, found.sandbox_id), (second, None));
    assert_eq!(store.note_cloud_sandbox(id, first, "i3").await.unwrap(), None, "nobody will look for it");
}

#[tokio::test]
async fn a_worker_that_was_taken_over_gets_no_sandbox() {
    let services = Services::isolated().await;
    let store = services.store();
    let (id, _, fence) = scene(&store).await;
    let key = Uuid::new_v4();
    store.claim_cloud_sandbox(fence, id, key, KEEP).await.unwrap();
    services.sql("UPDATE turns SET attempt = attempt + 1").await;
    let refused = store.claim_cloud_sandbox(fence, id, key, KEEP).await;
    assert!(matches!(refused, Err(Fenced::Fenced)), "{refused:?}");
    let refused = store.replace_cloud_sandbox(fence, id, key, Uuid::new_v4()).await;
    assert!(matches!(refused, Err(Fenced::Fenced)), "{refused:?}");
}

#[tokio::test]
async fn the_sandbox_of_a_deleted_session_is_due_at_once_and_known_until_it_is_killed() {
    let services = Services::isolated().await;
    let store = services.store();
    let (id, ann, fence) = scene(&store).await;
    let key = Uuid::new_v4();
    store.claim_cloud_sandbox(fence, id, key, KEEP).await.unwrap();
    store.note_cloud_sandbox(id, key, "i1").await.unwrap();
    assert!(store.take_due_cloud_sandbox().await.unwrap().is_none());

    assert!(store.delete_session(id, &ann).await.unwrap());
    let due = store.take_due_cloud_sandbox().await.unwrap().unwrap();
    assert_eq!((due.session, due.sandbox_id.as_deref()), (id, Some("i1")));
    assert!(due.unused < Duration::from_mins(1));
    assert!(store.take_due_cloud_sandbox().await.unwrap().is_none(), "another worker kills something else");
    // Its killer dies.
    drop(due);
    let due = loop {
        if let Some(due) = store.take_due_cloud_sandbox().await.unwrap() {
            break due;
        }
    };
    due.postpone(KEEP).await.unwrap();
    assert!(store.take_due_cloud_sandbox().await.unwrap().is_none());
    services.sql("UPDATE cloud_sandboxes SET due_at = now()").await;
    store.take_due_cloud_sandbox().await.unwrap().unwrap().forget().await.unwrap();
    assert_eq!(services.count("SELECT count(*) FROM cloud_sandboxes").await, 0);
}

#[tokio::test]
async fn one_that_nobody_uses_is_due_and_one_that_is_used_again_is_not() {
    let services = Services::isolated().await;
    let store = services.store();
    let (id, _, fence) = scene(&store).await;
    let key = Uuid::new_v4();
    store.claim_cloud_sandbox(fence, id, key, Duration::ZERO).await.unwrap();
    store.claim_cloud_sandbox(fence, id, key, KEEP).await.unwrap();
    assert!(store.take_due_cloud_sandbox().await.unwrap().is_none());
    store.claim_cloud_sandbox(fence, id, key, Duration::ZERO).await.unwrap();
    let due = store.take_due_cloud_sandbox().await.unwrap().unwrap();

    // Whoever wants it meanwhile waits, and then has one of its own.
    let other = Uuid::new_v4();
    let (claim, ()) = tokio::join!(store.claim_cloud_sandbox(fence, id, other, KEEP), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        due.forget().await.unwrap();
    });
    assert_eq!(claim.unwrap().creation_key, other);
}
