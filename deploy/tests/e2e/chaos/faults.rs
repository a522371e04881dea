//! What goes wrong, and when: decided beforehand, from the seed.

use std::collections::BTreeMap;
use std::time::Duration;

use copilot_shared::id::TurnId;
use futures_util::future::join_all;
use rand::Rng;
use sqlx::{Connection, PgConnection};
use tokio::time::Instant;

use super::Chaos;
use super::judge::Log;
use super::proxy::ChaosProxy;
use crate::servers::{Death, Server, Stored};

/// One thing that goes wrong. `which` chooses among what there is by then.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    KillWorker {
        which: usize,
        replaced_after: Duration,
    },
    FreezeWorker {
        which: usize,
        lasts: Duration,
    },
    StopWorker {
        which: usize,
    },
    KillApi {
        which: usize,
    },
    StopApi {
        which: usize,
    },
    Cut(Server),
    Outage(Server, Duration),
    Silence(Server, Duration, Cut),
    LoseStream {
        which: usize,
    },
    /// The server itself dies, for so long.
    Die(Server, Death, Duration, Stored),
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
    match rng.random_range(0..106) {
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
        94..100 => Fault::LoseStream { which },
        _ => {
            let server = server(rng);
            let death = if rng.random_bool(0.7) { Death::Crash } else { Death::Stop };
            // Nothing else may lose what it has.
            let lost = server == Server::Redis && rng.random_bool(0.3);
            Fault::Die(server, death, millis(rng, 0..3_000), if lost { Stored::Lost } else { Stored::Kept })
        }
    }
}

fn server(rng: &mut impl Rng) -> Server {
    match rng.random_range(0..3) {
        0 => Server::Redis,
        1 => Server::RabbitMq,
        _ => Server::Postgres,
    }
}

/// Lets everything of the plan go wrong at its time until users have sent enough, and repairs what
/// can be repaired.
pub async fn inject(chaos: &Chaos, plan: Plan) {
    let began = Instant::now();
    join_all(plan.into_iter().map(|(at, fault)| async move {
        tokio::select! {
            () = tokio::time::sleep_until(began + at) => {}
            () = chaos.until_quiet() => return,
        }
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
        Fault::Die(server, death, lasts, stored) => die(chaos, server, death, lasts, stored).await,
    }
}

/// Kills a server and brings it back; one at a time, so that what this needs of the others is there.
async fn die(chaos: &Chaos, server: Server, death: Death, lasts: Duration, stored: Stored) {
    let Some(Ok(private)) = chaos.arena.private.as_ref().map(tokio::sync::Mutex::try_lock) else {
        return chaos.ledger.count("deaths of servers left out");
    };
    if stored == Stored::Lost {
        keep_logs(chaos).await;
    }
    chaos.ledger.count(match (server, death) {
        (Server::Redis, Death::Crash) => "kill -9 of Redis",
        (Server::RabbitMq, Death::Crash) => "kill -9 of RabbitMQ",
        (Server::Postgres, Death::Crash) => "immediate shutdown of PostgreSQL",
        (Server::Redis, Death::Stop) => "restart of Redis",
        (Server::RabbitMq, Death::Stop) => "restart of RabbitMQ",
        (Server::Postgres, Death::Stop) => "restart of PostgreSQL",
    });
    private.kill(server, death).await;
    if stored == Stored::Lost {
        chaos.ledger.count("Redis came back empty");
        // Whatever had begun before has lost its stream, and nothing can begin now.
        let begun = turns(chaos, "SELECT id FROM turns").await.expect("only Redis is away");
        chaos.ledger.lost_all_streams(begun, BTreeMap::new());
    }
    tokio::time::sleep(lasts).await;
    private.revive(server, stored).await;
}

/// Reads the streams that are complete, for the judge, before they are gone.
async fn keep_logs(chaos: &Chaos) {
    let streams = chaos.arena.services.streams();
    let sealed = turns(chaos, "SELECT id FROM turns WHERE sealed").await.expect("only one server dies at a time");
    let mut logs = BTreeMap::new();
    let lost = chaos.ledger.lost_streams();
    for turn in sealed {
        if !lost.contains(&turn) && !chaos.ledger.has_log(turn) {
            logs.insert(turn, Log::read(&streams, turn).await);
        }
    }
    chaos.ledger.lost_all_streams([], logs);
}

async fn turns(chaos: &Chaos, query: &'static str) -> sqlx::Result<Vec<TurnId>> {
    let mut connection = PgConnection::connect(&chaos.arena.services.database_url).await?;
    sqlx::query_scalar(query).fetch_all(&mut connection).await
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
    const NEWEST: &str = "SELECT id FROM turns WHERE started_at IS NOT NULL \
         ORDER BY status = 'running' DESC, started_at DESC LIMIT 8";
    // A server may be away itself: then there is nothing to lose.
    let Ok(newest) = turns(chaos, NEWEST).await else { return };
    if newest.is_empty() {
        return;
    }
    let turn = newest[which % newest.len()];
    // Noted first: a viewer may see it before this task goes on.
    chaos.ledger.lost_stream(turn);
    if chaos.arena.services.streams().forget(turn).await.is_ok() {
        chaos.ledger.count("lost streams");
    }
}
