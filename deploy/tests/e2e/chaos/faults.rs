//! What goes wrong, and when: decided beforehand, from the seed.

use std::time::Duration;

use copilot_shared::id::TurnId;
use futures_util::future::join_all;
use rand::Rng;
use sqlx::{Connection, PgConnection};
use tokio::time::Instant;

use super::Chaos;
use super::proxy::ChaosProxy;

/// One thing that goes wrong. `which` chooses among what there is by then.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    KillWorker { which: usize, replaced_after: Duration },
    FreezeWorker { which: usize, lasts: Duration },
    StopWorker { which: usize },
    KillApi { which: usize },
    StopApi { which: usize },
    Cut(Server),
    Outage(Server, Duration),
    Silence(Server, Duration, Cut),
    LoseStream { which: usize },
}

/// What stands behind a network that breaks.
#[derive(Debug, Clone, Copy)]
pub enum Server {
    Redis,
    RabbitMq,
    Postgres,
}

/// Does a silence end with broken connections?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    Yes,
    No,
}

/// What goes wrong at which time after the beginning.
pub type Plan = Vec<(Duration, Fault)>;

/// Decides what goes wrong in so long a time.
pub fn plan(rng: &mut impl Rng, lasts: Duration) -> Plan {
    let mut at = Duration::from_millis(1500);
    let mut plan = Vec::new();
    while at < lasts {
        plan.push((at, random(rng)));
        at += Duration::from_millis(rng.random_range(300..3_000));
    }
    plan
}

fn random(rng: &mut impl Rng) -> Fault {
    let which = rng.random_range(0..1000);
    let millis =
        |rng: &mut dyn rand::RngCore, range: std::ops::Range<u64>| Duration::from_millis(rng.random_range(range));
    match rng.random_range(0..100) {
        0..22 => Fault::KillWorker { which, replaced_after: millis(rng, 0..1_500) },
        22..36 => Fault::FreezeWorker { which, lasts: millis(rng, 2_500..7_000) },
        36..46 => Fault::StopWorker { which },
        46..54 => Fault::KillApi { which },
        54..60 => Fault::StopApi { which },
        60..74 => Fault::Cut(server(rng)),
        74..86 => Fault::Outage(server(rng), millis(rng, 1_000..5_000)),
        86..94 => {
            let end = if rng.random_bool(0.5) { Cut::Yes } else { Cut::No };
            Fault::Silence(server(rng), millis(rng, 1_000..4_000), end)
        }
        _ => Fault::LoseStream { which },
    }
}

fn server(rng: &mut impl Rng) -> Server {
    match rng.random_range(0..3) {
        0 => Server::Redis,
        1 => Server::RabbitMq,
        _ => Server::Postgres,
    }
}

/// Lets everything of the plan go wrong at its time, and repairs what can be repaired.
pub async fn inject(chaos: &Chaos, plan: Plan) {
    let began = Instant::now();
    join_all(plan.into_iter().map(|(at, fault)| async move {
        tokio::time::sleep_until(began + at).await;
        one(chaos, fault).await;
    }))
    .await;
}

async fn one(chaos: &Chaos, fault: Fault) {
    if std::env::var_os("CHAOS_TRACE").is_some() {
        eprintln!("chaos: {fault:?}");
    }
    match fault {
        Fault::KillWorker { which, replaced_after } => kill_worker(chaos, which, replaced_after).await,
        Fault::FreezeWorker { which, lasts } => freeze_worker(chaos, which, lasts).await,
        Fault::StopWorker { which } => stop_worker(chaos, which).await,
        Fault::KillApi { which } => {
            if let Some(mut api) = chaos.arena.take_api(which).await {
                chaos.ledger.count("kill -9 of an API");
                api.kill().await;
                chaos.arena.add_api().await;
            }
        }
        Fault::StopApi { which } => {
            if let Some(api) = chaos.arena.take_api(which).await {
                chaos.ledger.count("SIGTERM of an API");
                let (clean, ()) = tokio::join!(api.terminate(), chaos.arena.add_api());
                chaos.ledger.count(if clean { "clean ends" } else { "unclean ends" });
            }
        }
        Fault::Cut(server) => {
            chaos.ledger.count("cut connections");
            network(chaos, server).cut();
        }
        Fault::Outage(server, lasts) => {
            chaos.ledger.count("outages");
            network(chaos, server).outage(lasts).await;
        }
        Fault::Silence(server, lasts, end) => {
            chaos.ledger.count("silences");
            network(chaos, server).stall(lasts, end == Cut::Yes).await;
        }
        Fault::LoseStream { which } => lose_stream(chaos, which).await,
    }
}

fn network(chaos: &Chaos, server: Server) -> &ChaosProxy {
    let networks = &chaos.arena.networks;
    match server {
        Server::Redis => &networks.redis,
        Server::RabbitMq => &networks.rabbitmq,
        Server::Postgres => &networks.postgres,
    }
}

async fn kill_worker(chaos: &Chaos, which: usize, replaced_after: Duration) {
    let Some(mut worker) = chaos.arena.take_worker(which).await else { return };
    chaos.ledger.count("kill -9 of a worker");
    chaos.ledger.worker_fault(true);
    worker.kill().await;
    tokio::time::sleep(replaced_after).await;
    chaos.arena.add_worker().await;
}

async fn freeze_worker(chaos: &Chaos, which: usize, lasts: Duration) {
    let Some(worker) = chaos.arena.take_worker(which).await else { return };
    chaos.ledger.count("freezes of a worker");
    chaos.ledger.worker_fault(false);
    worker.signal("STOP");
    tokio::time::sleep(lasts).await;
    worker.signal("CONT");
    chaos.arena.workers.lock().await.push(worker);
}

async fn stop_worker(chaos: &Chaos, which: usize) {
    let Some(worker) = chaos.arena.take_worker(which).await else { return };
    chaos.ledger.count("SIGTERM of a worker");
    chaos.ledger.worker_fault(false);
    let (clean, ()) = tokio::join!(worker.terminate(), chaos.arena.add_worker());
    chaos.ledger.count(if clean { "clean ends" } else { "unclean ends" });
}

/// Deletes what Redis has of one of the newest turns, running or not.
async fn lose_stream(chaos: &Chaos, which: usize) {
    let services = &chaos.arena.services;
    let mut connection = PgConnection::connect(&services.database_url).await.expect("PostgreSQL can be reached");
    let newest: Vec<TurnId> = sqlx::query_scalar(
        "SELECT id FROM turns WHERE started_at IS NOT NULL ORDER BY status = 'running' DESC, started_at DESC LIMIT 8",
    )
    .fetch_all(&mut connection)
    .await
    .expect("the turns can be read");
    if newest.is_empty() {
        return;
    }
    let turn = newest[which % newest.len()];
    chaos.ledger.count("lost streams");
    // Noted first: a viewer may see it before this task goes on.
    chaos.ledger.lost_stream(turn);
    services.streams().forget(turn).await.expect("Redis can be reached");
}
