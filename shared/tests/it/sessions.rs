//! Sessions: theirs alone.

use std::time::Duration;

use copilot_shared::id::{SessionId, UserId, WorkerId};
use copilot_shared::session::{Caller, Title};
use copilot_shared::store::{ClaimSessionError, Idempotency, NewTurn, StoreSettings, SubmitError, Submitted};
use copilot_shared::testing::Services;
use copilot_shared::turn::{FinishReason, TurnEnd};

use crate::setup::{claimed, message, ready, session, user, waiting};

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
async fn of_two_claims_at_once_one_gets_the_session() {
    let services = Services::isolated().await;
    let store = services.store();
    let (ann, bob) = (UserId::parse("ann").unwrap(), UserId::parse("bob").unwrap());
    for round in 0..20 {
        let bearer = Caller::Claim([round; 32]);
        let id = store.create_session(SessionId::random(), &bearer).await.unwrap().id;
        ready(&store, id, &bearer, "hello").await;
        let hash = [round; 32];
        let (by_ann, by_bob, again) = tokio::join!(
            store.claim_session(id, &ann, Some(&hash)),
            store.claim_session(id, &bob, Some(&hash)),
            store.claim_session(id, &ann, Some(&hash)),
        );
        let owner = if by_ann.is_ok() { &ann } else { &bob };
        assert_eq!((by_ann.is_ok(), again.is_ok()), (owner == &ann, owner == &ann));
        assert_eq!(by_bob.is_ok(), owner == &bob);
        let of_owner = format!("SELECT count(*) FROM turns WHERE session_id = '{id}' AND user_id = '{owner}'");
        assert_eq!(services.count(&of_owner).await, 1);
    }
}

#[tokio::test]
async fn a_claimed_sessions_turn_counts_to_the_user_and_lets_the_users_next_one_run_when_it_ends() {
    let services = Services::isolated().await;
    let store = services.store_with(StoreSettings {
        lease: Duration::from_secs(10),
        max_running: 1,
        max_in_flight: 2,
        connections: 4,
    });
    let bearer = Caller::Claim([7; 32]);
    let anonymous = store.create_session(SessionId::random(), &bearer).await.unwrap().id;
    let turn = ready(&store, anonymous, &bearer, "begun without an owner").await;
    let running = claimed(&store, turn.id, WorkerId::generate()).await;
    let ann = UserId::parse("ann").unwrap();
    store.claim_session(anonymous, &ann, Some(&[7; 32])).await.unwrap();
    assert!(store.holds(turn.id, running.turn.attempt).await.unwrap(), "it runs on");

    let ann = Caller::User(ann);
    let own = session(&store, &ann).await;
    let (next, _) = waiting(&store, own, &ann, "behind her cap").await;
    let refused = store.submit(own, &ann, &message("one too many")).await.unwrap_err();
    assert!(matches!(refused, SubmitError::TooManyTurns(2)));
    // The worker still knows the turn as nobody's.
    assert_eq!(running.turn.user_id, None);
    let done = TurnEnd::Completed(FinishReason::Stop);
    assert_eq!(store.finish(&running.turn, &done, None).await.unwrap().next, [next.id]);
}

#[tokio::test]
async fn a_submit_that_is_sent_again_after_the_claim_is_still_known() {
    let services = Services::isolated().await;
    let store = services.store();
    let bearer = Caller::Claim([7; 32]);
    let id = store.create_session(SessionId::random(), &bearer).await.unwrap().id;
    let with_key = |key: &str| NewTurn {
        idempotency: Some(Idempotency { key: key.into(), body_hash: [1; 32] }),
        ..message("hello")
    };
    let Submitted::Ready(turn) = store.submit(id, &bearer, &with_key("a")).await.unwrap() else { panic!() };
    store.submit(id, &bearer, &with_key("b")).await.unwrap();
    let ann = UserId::parse("ann").unwrap();
    let hers = session(&store, &Caller::User(ann.clone())).await;
    store.submit(hers, &Caller::User(ann.clone()), &with_key("b")).await.unwrap();
    store.claim_session(id, &ann, Some(&[7; 32])).await.unwrap();
    let repeated = store.submit(id, &Caller::User(ann), &with_key("a")).await.unwrap();
    assert!(matches!(repeated, Submitted::Repeated(again) if again.id == turn.id));
}

#[tokio::test]
async fn a_claim_and_the_end_of_its_turn_do_not_wait_for_each_other() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = UserId::parse("ann").unwrap();
    for round in 0..30 {
        let bearer = Caller::Claim([round; 32]);
        let id = store.create_session(SessionId::random(), &bearer).await.unwrap().id;
        let turn = ready(&store, id, &bearer, "hello").await;
        let running = claimed(&store, turn.id, WorkerId::generate()).await.turn;
        let hash = [round; 32];
        let done = TurnEnd::Completed(FinishReason::Stop);
        let (claim, finish) =
            tokio::join!(store.claim_session(id, &ann, Some(&hash)), store.finish(&running, &done, None));
        claim.unwrap();
        finish.unwrap();
    }
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

/// A deploy that goes back runs the older version's `migrate` over the newer version's schema.
#[tokio::test]
async fn a_schema_of_a_later_version_is_left_as_it_is() {
    let services = Services::isolated().await;
    services
        .sql(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (99990101000000, 'of a later version', true, '\\x00', 0)",
        )
        .await;
    let store = services.store();
    store.migrate().await.unwrap();
    assert!(store.is_migrated().await.unwrap());
}
