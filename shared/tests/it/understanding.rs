//! What is known of a user, learned by several at once.

use copilot_shared::id::UserId;
use copilot_shared::testing::Services;
use copilot_shared::understanding::{Business, Learned, SuggestedPrompts, Theme, Understanding};
use futures_util::future::join_all;

fn goal(text: &str) -> Learned {
    Learned::new(None, Business { automation_goals: vec![text.to_owned()], ..Business::default() }, None).unwrap()
}

#[tokio::test]
async fn who_learn_at_once_lose_nothing() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = UserId::parse("ann").unwrap();
    store.ensure_user(&ann).await.unwrap();
    assert_eq!(store.understanding(&ann).await.unwrap(), Understanding::default());
    let learning = (0..24).map(|n| {
        let (store, ann) = (store.clone(), ann.clone());
        async move { store.merge_understanding(&ann, goal(&n.to_string())).await.unwrap() }
    });
    join_all(learning).await;
    let mut goals = store.understanding(&ann).await.unwrap().business.automation_goals;
    goals.sort_by_key(|goal| goal.parse::<u32>().unwrap());
    assert_eq!(goals, (0..24).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn learning_and_forgetting_at_once_never_fail() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = UserId::parse("ann").unwrap();
    store.ensure_user(&ann).await.unwrap();
    let learning = (0..20).map(|n| {
        let (store, ann) = (store.clone(), ann.clone());
        async move {
            if n % 3 == 0 {
                store.forget_understanding(&ann).await.unwrap();
            } else {
                let known = store.merge_understanding(&ann, goal(&n.to_string())).await.unwrap();
                assert!(known.business.automation_goals.contains(&n.to_string()));
            }
        }
    });
    join_all(learning).await;
}

fn prompts(text: &str) -> SuggestedPrompts {
    SuggestedPrompts(vec![Theme { name: "Learn".into(), prompts: vec![text.into()] }])
}

#[tokio::test]
async fn one_asks_for_suggestions_at_a_time_until_something_new_is_known() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = UserId::parse("ann").unwrap();
    store.ensure_user(&ann).await.unwrap();
    assert!(store.take_suggesting(&ann).await.unwrap().is_none(), "nothing is known");
    store.merge_understanding(&ann, goal("a")).await.unwrap();
    let tries = join_all((0..8).map(|_| store.take_suggesting(&ann))).await;
    let mut taken = tries.into_iter().filter_map(Result::unwrap);
    let (task, none) = (taken.next().unwrap(), taken.next());
    assert!(none.is_none());
    assert_eq!(task.known.business.automation_goals, ["a"]);

    store.merge_understanding(&ann, goal("b")).await.unwrap();
    assert!(!store.save_suggestions(&ann, &task, &prompts("too late")).await.unwrap());
    let task = store.take_suggesting(&ann).await.unwrap().expect("something new is known");
    assert!(store.save_suggestions(&ann, &task, &prompts("in time")).await.unwrap());
    let known = store.understanding(&ann).await.unwrap();
    assert_eq!((known.suggested_prompts, known.business.automation_goals.len()), (prompts("in time"), 2));
    assert!(store.take_suggesting(&ann).await.unwrap().is_none());
    services.sql("UPDATE user_understandings SET suggested_at = now() - interval '25 hours'").await;
    let task = store.take_suggesting(&ann).await.unwrap().expect("a day has passed");
    store.forget_understanding(&ann).await.unwrap();
    assert!(!store.save_suggestions(&ann, &task, &prompts("of whom?")).await.unwrap());
}
