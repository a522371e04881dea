//! The ledger of credits: the balance is the sum of what happened, each of it once, whoever asks
//! at the same time and whatever breaks meanwhile.

use copilot_shared::credit::{Amount, Cents, CreditKind, Metadata, Transaction, TransactionKey};
use copilot_shared::id::UserId;
use copilot_shared::ledger::{Ledger, Mode};
use copilot_shared::store::{GrantError, Recorded, SpendError, Store};
use copilot_shared::testing::Services;
use futures_util::future::join_all;

mod laws;

fn ann() -> UserId {
    UserId::parse("ann").unwrap()
}

fn amount(cents: i64) -> Amount {
    Amount::new(cents).unwrap()
}

fn key(name: &str) -> TransactionKey {
    TransactionKey::new("test", name).unwrap()
}

fn why() -> Metadata {
    Metadata::reason("test")
}

fn ledger(store: &Store, refill: i64) -> Ledger {
    Ledger::new(store.clone(), Mode::Enabled { refill: Cents(refill) })
}

/// The ledger's laws, over everything that a user's ledger holds. Returns it, oldest first.
async fn lawful(store: &Store, user: &UserId) -> Vec<Transaction> {
    let mut all = store.credit_transactions(user, None, 100_000).await.unwrap();
    all.reverse();
    let mut balance = 0;
    for (transaction, place) in all.iter().zip(1..) {
        balance += transaction.amount.0;
        assert_eq!(transaction.sequence, place, "a hole in the order");
        assert_eq!(transaction.running_balance, Cents(balance), "a running balance is the sum up to its place");
        assert!(balance >= 0, "spent below zero");
    }
    let keys: std::collections::HashSet<&str> = all.iter().map(|transaction| transaction.key.as_str()).collect();
    assert_eq!(keys.len(), all.len(), "a key was applied twice");
    assert_eq!(store.credit_balance(user).await.unwrap(), Cents(balance), "the balance is the sum");
    all
}

#[tokio::test]
async fn first_ever_transactions_at_once_are_all_counted() {
    let services = Services::isolated().await;
    let store = services.store();
    store.ensure_user(&ann()).await.unwrap();
    let ledger = ledger(&store, 0);
    let grants = (0..20).map(|n| {
        let ledger = ledger.clone();
        async move { ledger.grant(&ann(), amount(5), &key(&n.to_string()), &why()).await.unwrap() }
    });
    join_all(grants).await;
    assert_eq!(lawful(&store, &ann()).await.len(), 20);
    assert_eq!(ledger.balance(&ann()).await.unwrap(), Cents(100));
}

#[tokio::test]
async fn concurrent_spends_never_take_more_than_there_is() {
    let services = Services::isolated().await;
    let store = services.store();
    let ledger = ledger(&store, 1000);
    let spends = (0..10).map(|n| {
        let ledger = ledger.clone();
        async move { ledger.spend(&ann(), amount(300), &key(&n.to_string()), &why()).await }
    });
    let results = join_all(spends).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 3);
    let refused = results.into_iter().filter_map(Result::err);
    for error in refused {
        let SpendError::Insufficient(insufficient) = error else { panic!("{error}") };
        assert_eq!((insufficient.balance, insufficient.amount), (Cents(100), amount(300)));
    }
    assert_eq!(lawful(&store, &ann()).await.len(), 4);
}

#[tokio::test]
async fn a_repeated_key_answers_what_was_recorded_and_another_use_of_it_is_refused() {
    let services = Services::isolated().await;
    let store = services.store();
    let ledger = ledger(&store, 1000);
    let first = ledger.spend(&ann(), amount(300), &key("a"), &why()).await.unwrap();
    assert_eq!(first, Recorded { amount: Cents(-300), balance: Cents(700), repeated: false });
    ledger.spend(&ann(), amount(700), &key("b"), &why()).await.unwrap();
    let again = ledger.spend(&ann(), amount(300), &key("a"), &why()).await.unwrap();
    assert_eq!(again, Recorded { repeated: true, ..first }, "though nothing is left");

    let dearer = ledger.spend(&ann(), amount(301), &key("a"), &why()).await.unwrap_err();
    assert!(matches!(dearer, SpendError::Conflict));
    let gift = ledger.grant(&ann(), amount(300), &key("a"), &why()).await.unwrap_err();
    assert!(matches!(gift, GrantError::Conflict));
    let refund = key("a").refund();
    let back = ledger.grant(&ann(), amount(300), &refund, &why()).await.unwrap();
    let same = ledger.grant(&ann(), amount(300), &refund, &why()).await.unwrap();
    assert_eq!(same, Recorded { repeated: true, ..back });
    assert!(matches!(ledger.spend(&ann(), amount(300), &refund, &why()).await.unwrap_err(), SpendError::Conflict));
    let kinds: Vec<CreditKind> = lawful(&store, &ann()).await.iter().map(|transaction| transaction.kind).collect();
    assert_eq!(kinds, [CreditKind::Grant, CreditKind::Usage, CreditKind::Usage, CreditKind::Grant]);
    // Keys belong to the user.
    let bob = UserId::parse("bob").unwrap();
    assert!(!ledger.spend(&bob, amount(1), &key("a"), &why()).await.unwrap().repeated);
}

#[tokio::test]
async fn a_refused_spend_leaves_its_key_free() {
    let services = Services::isolated().await;
    let store = services.store();
    let ledger = ledger(&store, 100);
    assert!(ledger.spend(&ann(), amount(101), &key("a"), &why()).await.is_err());
    ledger.grant(&ann(), amount(1), &key("gift"), &why()).await.unwrap();
    assert!(!ledger.spend(&ann(), amount(101), &key("a"), &why()).await.unwrap().repeated);
    assert_eq!(ledger.balance(&ann()).await.unwrap(), Cents::ZERO);
}

#[tokio::test]
async fn the_months_refill_comes_once_and_before_whatever_is_asked() {
    let services = Services::isolated().await;
    let store = services.store();
    let ledger = ledger(&store, 1500);
    // A spend by somebody who never looked.
    let spent = ledger.spend(&ann(), amount(500), &key("a"), &why()).await.unwrap();
    assert_eq!(spent.balance, Cents(1000));
    assert_eq!(ledger.balance(&ann()).await.unwrap(), Cents(1000), "once a month");
    // Many looks at once.
    let bob = UserId::parse("bob").unwrap();
    let looks = join_all((0..8).map(|_| ledger.balance(&bob))).await;
    assert!(looks.into_iter().all(|balance| balance.unwrap() == Cents(1500)));
    assert_eq!(lawful(&store, &bob).await.len(), 1);
    // A gift is not taken for a part of the refill.
    let eve = UserId::parse("eve").unwrap();
    store.ensure_user(&eve).await.unwrap();
    assert_eq!(ledger.grant(&eve, amount(1000), &key("a"), &why()).await.unwrap().balance, Cents(2500));
}

#[tokio::test]
async fn who_has_more_than_the_refill_gets_none_until_the_next_month() {
    let services = Services::isolated().await;
    let store = services.store();
    store.ensure_user(&ann()).await.unwrap();
    store.grant_credits(&ann(), amount(2000), &key("gift"), &why()).await.unwrap();
    let ledger = ledger(&store, 1500);
    assert_eq!(ledger.balance(&ann()).await.unwrap(), Cents(2000));
    ledger.spend(&ann(), amount(1900), &key("a"), &why()).await.unwrap();
    assert_eq!(ledger.balance(&ann()).await.unwrap(), Cents(100));
    let next = TransactionKey::of_refill("2999-01-01T00:00:00Z".parse().unwrap());
    store.refill_credits(&ann(), Cents(1500), &next, &why()).await.unwrap();
    assert_eq!(store.credit_balance(&ann()).await.unwrap(), Cents(1500));
    let amounts: Vec<i64> = lawful(&store, &ann()).await.iter().map(|transaction| transaction.amount.0).collect();
    assert_eq!(amounts, [2000, 0, -1900, 1400]);
}

#[tokio::test]
async fn nothing_is_granted_to_nobody_and_nothing_beyond_the_highest_balance() {
    let services = Services::isolated().await;
    let store = services.store();
    let ledger = ledger(&store, 0);
    let nobody = ledger.grant(&ann(), amount(1), &key("a"), &why()).await.unwrap_err();
    assert!(matches!(nobody, GrantError::UnknownUser));
    assert_eq!(services.count("SELECT count(*) FROM users").await, 0);
    store.ensure_user(&ann()).await.unwrap();
    let rich = Cents::MAX_BALANCE.0;
    services.sql(&format!("INSERT INTO credit_balances (user_id, balance) VALUES ('ann', {rich})")).await;
    let refused = ledger.grant(&ann(), amount(1), &key("a"), &why()).await.unwrap_err();
    assert!(matches!(refused, GrantError::TooMuch(_)));
    assert_eq!(services.count("SELECT count(*) FROM credit_transactions").await, 0);
}

#[tokio::test]
async fn where_credits_are_disabled_nothing_costs_and_nothing_is_written() {
    let services = Services::isolated().await;
    let ledger = Ledger::new(services.store(), Mode::Disabled);
    assert_eq!(ledger.balance(&ann()).await.unwrap(), Cents(100));
    let spent = ledger.spend(&ann(), amount(5000), &key("a"), &why()).await.unwrap();
    assert_eq!((spent.balance, spent.repeated), (Cents::ZERO, false));
    let granted = ledger.grant(&ann(), amount(1), &key("b"), &why()).await.unwrap_err();
    assert!(matches!(granted, GrantError::Disabled));
    assert_eq!(services.count("SELECT count(*) FROM credit_balances").await, 0);
}

#[tokio::test]
async fn the_database_itself_lets_nobody_rewrite_the_ledger() {
    let services = Services::isolated().await;
    let store = services.store();
    ledger(&store, 100).balance(&ann()).await.unwrap();
    let rewrite = |statement: &'static str| {
        let url = services.database_url.clone();
        async move {
            use sqlx::{Connection, Executor, PgConnection};
            PgConnection::connect(&url).await.unwrap().execute(statement).await.unwrap_err().to_string()
        }
    };
    for statement in ["UPDATE credit_transactions SET amount = 5", "DELETE FROM credit_transactions"] {
        assert!(rewrite(statement).await.contains("only ever added"), "{statement}");
    }
}

#[tokio::test]
async fn pages_go_backwards_without_a_gap() {
    let services = Services::isolated().await;
    let store = services.store();
    let ledger = ledger(&store, 0);
    store.ensure_user(&ann()).await.unwrap();
    for n in 0..7 {
        ledger.grant(&ann(), amount(n + 1), &key(&n.to_string()), &why()).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = ledger.transactions(&ann(), before, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.sequence);
        seen.extend(page.iter().map(|transaction| transaction.amount.0));
    }
    assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1]);
}
