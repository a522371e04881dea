//! Sessions: theirs alone.

use copilot_shared::id::{SessionId, UserId};
use copilot_shared::session::{Caller, Title};
use copilot_shared::store::ClaimSessionError;
use copilot_shared::testing::Services;

use crate::setup::{ready, session, user};

#[tokio::test]
async fn a_session_exists_for_its_owner_alone() {
    let services = Services::isolated().await;
    let store = services.store();
    let (ann, bob) = (user("ann"), user("bob"));
    let id = session(&store, &ann).await;

    assert!(store.find_session(id, &ann).await.unwrap().is_some());
    assert!(store.find_session(id, &bob).await.unwrap().is_none());
    assert!(store.find_session(id, &Caller::Claim([0; 32])).await.unwrap().is_none());
    let title = Title::parse("Mine").unwrap();
    assert!(!store.rename_session(id, &bob, &title).await.unwrap());
    assert!(store.rename_session(id, &ann, &title).await.unwrap());
    assert!(!store.delete_session(id, &bob).await.unwrap());
    assert!(store.delete_session(id, &ann).await.unwrap());
    assert!(store.find_session(id, &ann).await.unwrap().is_none());
}

#[tokio::test]
async fn the_list_is_newest_first_and_tells_what_is_processing() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let first = session(&store, &ann).await;
    let second = session(&store, &ann).await;
    session(&store, &user("bob")).await;
    ready(&store, first, &ann, "hello").await;

    let (sessions, total) = store.list_sessions(ann.user_id().unwrap(), 50, 0).await.unwrap();
    assert_eq!(total, 2);
    assert_eq!(sessions.iter().map(|s| (s.id, s.is_processing)).collect::<Vec<_>>(), [(first, true), (second, false)]);
    let (page, _) = store.list_sessions(ann.user_id().unwrap(), 1, 1).await.unwrap();
    assert_eq!(page[0].id, second);
}

#[tokio::test]
async fn an_anonymous_session_is_claimed_once_with_its_token() {
    let services = Services::isolated().await;
    let store = services.store();
    let bearer = Caller::Claim([7; 32]);
    let id = store.create_session(SessionId::random(), &bearer).await.unwrap().id;
    ready(&store, id, &bearer, "hello").await;
    let ann = UserId::parse("ann").unwrap();

    let wrong = store.claim_session(id, &ann, Some(&[8; 32])).await.unwrap_err();
    assert!(matches!(wrong, ClaimSessionError::WrongToken));
    assert!(matches!(store.claim_session(id, &ann, None).await.unwrap_err(), ClaimSessionError::WrongToken));
    store.claim_session(id, &ann, Some(&[7; 32])).await.unwrap();
    store.claim_session(id, &ann, None).await.unwrap();

    let bob = UserId::parse("bob").unwrap();
    let late = store.claim_session(id, &bob, Some(&[7; 32])).await.unwrap_err();
    assert!(matches!(late, ClaimSessionError::NotFound));
    assert!(store.find_session(id, &bearer).await.unwrap().is_none());
    assert!(store.find_session(id, &Caller::User(ann)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_users_title_beats_the_models() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    ready(&store, id, &ann, "hello").await;
    assert!(store.wants_title(id).await.unwrap());
    assert!(store.rename_session(id, &ann, &Title::parse("Hers").unwrap()).await.unwrap());
    assert!(!store.wants_title(id).await.unwrap());
    assert!(!store.title_if_untitled(id, &Title::parse("The model's").unwrap()).await.unwrap());
    assert_eq!(store.find_session(id, &ann).await.unwrap().unwrap().title.unwrap(), "Hers");
}

#[tokio::test]
async fn the_health_probe_leaves_nothing_behind() {
    let services = Services::isolated().await;
    let store = services.store();
    store.ping().await.unwrap();
    assert!(store.is_migrated().await.unwrap());
    store.probe().await.unwrap();
    assert_eq!(services.count("SELECT count(*) FROM users").await, 0);
}
