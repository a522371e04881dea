//! A paid reset while Redis goes away.

use std::time::Duration;

use chrono::Utc;
use copilot_shared::clock::Clock;
use copilot_shared::credit::{Amount, Cents};
use copilot_shared::id::UserId;
use copilot_shared::ledger::{Ledger, Mode};
use copilot_shared::reset::{NotCompleted, Why, complete};
use copilot_shared::store::NewReset;
use copilot_shared::stream::{StreamSettings, Streams};
use copilot_shared::testing::{Services, eventually};
use copilot_shared::usage::limits::{TokenLimits, Used};
use copilot_shared::windows::Windows;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// A way to Redis that can be cut for good.
async fn way_to(target: String) -> (String, AbortHandle) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let way = tokio::spawn(async move {
        // Dropped with the task, and every connection with it.
        let mut connections = JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            let target = target.clone();
            connections.spawn(async move {
                let mut server = TcpStream::connect(target).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    (address, way.abort_handle())
}

#[tokio::test]
async fn when_redis_goes_away_after_the_money_the_money_goes_back_once_nothing_can_happen_any_more() {
    let services = Services::isolated().await;
    let (store, here) = (services.store(), services.windows());
    let (address, way) = way_to(services.redis_address().to_owned()).await;
    let streams = Streams::connect(StreamSettings {
        url: services.redis_url_by(&address),
        prefix: services.redis_prefix.clone(),
        ttl: Duration::from_mins(1),
        connections: 1,
    })
    .unwrap();
    let through = Windows::over(&streams);
    let (user, now) = (UserId::parse("ann").unwrap(), Utc::now());
    let limits = TokenLimits { daily: 100, weekly: 1_000 };
    here.set_used(&user, Used { daily: 100, weekly: 100 }, now).await.unwrap();
    let ledger = Ledger::new(store.clone(), Mode::Enabled { refill: Cents(1_500) });

    // Only then is the lock asked for: one whose answer was too late stands for a while.
    eventually("the way is open", Duration::from_secs(5), || async { through.look(&user, now).await.ok() }).await;
    let lock = through.lock_reset(&user).await.unwrap().unwrap();
    let cost = Amount::new(500).unwrap();
    let id = uuid::Uuid::new_v4();
    let new = NewReset { id, user: user.clone(), key: "k".into(), asked_at: now, limits, cost };
    let paid = ledger.charge_reset(&new).await.unwrap();
    way.abort();
    let outcome = complete(&store, &through, &Clock::standing(now), &lock, &paid, 5).await;
    assert!(matches!(outcome, Err(NotCompleted::Refunded(Why::Failed))), "{outcome:?}");
    assert_eq!(ledger.balance(&user).await.unwrap(), Cents(1_500));

    // What was under way and arrives now finds its time over, even where the lock still stands.
    let order = copilot_shared::windows::ResetOrder { id, at: now, limits, most: 5 };
    let late = here.carry_out_reset(&user, &lock, &order, now).await.unwrap();
    assert_eq!(late, copilot_shared::windows::Carried::Unlocked);
    assert_eq!(here.look(&user, now).await.unwrap().used, Used { daily: 100, weekly: 100 });
    let again = store.refund_reset(&paid).await.unwrap();
    assert_eq!(again, copilot_shared::store::Refunded::Back);
    assert_eq!(ledger.balance(&user).await.unwrap(), Cents(1_500), "once");
}
