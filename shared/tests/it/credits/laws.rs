//! The laws of the ledger, for any operations at the same time and any breakage between them.

use std::collections::HashMap;
use std::time::Duration;

use copilot_shared::credit::{Cents, Transaction, TransactionKey};
use copilot_shared::ledger::Ledger;
use copilot_shared::store::{GrantError, Recorded, SpendError, StoreError};
use copilot_shared::testing::Services;
use futures_util::future::join_all;
use proptest::prelude::*;

use super::{amount, ann, key, lawful, ledger, why};

/// What a task asks the ledger for.
#[derive(Debug, Clone)]
enum Op {
    Spend(i64),
    Grant(i64),
    Look,
}

/// A task's next move: what it asks, under which key, and when it loses patience, in microseconds.
#[derive(Debug, Clone)]
struct Move {
    op: Op,
    key: u8,
    patience: Option<u64>,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let op = prop_oneof![
        4 => (1..400i64).prop_map(Op::Spend),
        3 => (1..300i64).prop_map(Op::Grant),
        1 => Just(Op::Look),
    ];
    // Few keys, so that tasks repeat and contradict each other.
    let one = (op, 0..24u8, prop::option::weighted(0.3, 0..8_000u64));
    prop::collection::vec(one.prop_map(|(op, key, patience)| Move { op, key, patience }), 1..14)
}

/// One answer that a task was given.
type Told = (TransactionKey, Recorded);

async fn play_all(ledger: &Ledger, moves: &[Move]) -> Vec<Told> {
    let mut told = Vec::new();
    for next in moves {
        told.extend(play(ledger, next).await);
    }
    told
}

/// Asks until there is an answer: an answer that is lost with its connection is asked for again. A
/// call that is dropped half-way is not.
async fn play(ledger: &Ledger, next: &Move) -> Option<Told> {
    let key = key(&next.key.to_string());
    loop {
        let asked = ask(ledger, &next.op, &key);
        let answer = match next.patience {
            None => asked.await,
            Some(micros) => tokio::time::timeout(Duration::from_micros(micros), asked).await.ok()?,
        };
        match answer {
            Ok(told) => return told.map(|recorded| (key, recorded)),
            Err(error) => assert!(error.is_passing(), "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn ask(ledger: &Ledger, op: &Op, key: &TransactionKey) -> Result<Option<Recorded>, StoreError> {
    match *op {
        Op::Spend(cents) => match ledger.spend(&ann(), amount(cents), key, &why()).await {
            Ok(recorded) => Ok(Some(recorded)),
            Err(SpendError::Insufficient(_) | SpendError::Conflict) => Ok(None),
            Err(SpendError::Store(error)) => Err(error),
        },
        Op::Grant(cents) => match ledger.grant(&ann(), amount(cents), key, &why()).await {
            Ok(recorded) => Ok(Some(recorded)),
            Err(GrantError::Conflict) => Ok(None),
            Err(GrantError::Store(error)) => Err(error),
            Err(other) => panic!("{other}"),
        },
        Op::Look => ledger.balance(&ann()).await.map(|balance| {
            assert!(balance >= Cents::ZERO);
            None
        }),
    }
}

/// Kills connections of the test's database now and then, as often as `kills` says.
async fn kill_connections(services: &Services, kills: Vec<u64>) {
    for after in kills {
        tokio::time::sleep(Duration::from_micros(after)).await;
        services
            .sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid() AND random() < 0.5",
            )
            .await;
    }
}

async fn hold(tasks: Vec<Vec<Move>>, kills: Vec<u64>) {
    let services = Services::isolated().await;
    let store = services.store();
    store.ensure_user(&ann()).await.unwrap();
    let ledger = ledger(&store, 500);
    let playing = tasks.iter().map(|moves| play_all(&ledger, moves));
    let (told, ()) = tokio::join!(join_all(playing), kill_connections(&services, kills));

    // By a store that nobody cut.
    let store = services.store();
    let all = lawful(&store, &ann()).await;
    let recorded: HashMap<&str, &Transaction> = all.iter().map(|one| (one.key.as_str(), one)).collect();
    for (key, told) in told.into_iter().flatten() {
        let transaction = recorded.get(key.as_str()).unwrap_or_else(|| panic!("{key:?} was told and is not there"));
        assert_eq!((told.amount, told.balance), (transaction.amount, transaction.running_balance));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_balance_is_the_sum_whoever_asks_and_whatever_breaks(
        tasks in prop::collection::vec(moves(), 2..7),
        kills in prop::collection::vec(500..12_000u64, 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(hold(tasks, kills));
    }
}
