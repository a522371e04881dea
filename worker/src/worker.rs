//! The process: what it works with, what runs beside the turns, and how it ends.

use std::sync::Arc;

use copilot_shared::analytics::{Analytics, PostHogError};
use copilot_shared::blobs::BlobError;
use copilot_shared::config::{AddressError, FlagsError};
use copilot_shared::id::{TurnId, WorkerId};
use copilot_shared::lifecycle::{Lifecycle, farewell};
use copilot_shared::meter::Meter;
use copilot_shared::ops::{self, OpsError, Readiness};
use copilot_shared::queue::{CancelListener, DeadLetterIntake, Intake, Publisher};
use copilot_shared::reconciler::Reconciler;
use copilot_shared::store::{Fenced, Store, StoreError};
use copilot_shared::stream::{StreamError, Streams};
use copilot_shared::workspace::Workspaces;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::compaction::Budget;
use crate::config::{ToolArgs, WorkerConfig};
use crate::docs::DocsError;
use crate::model::Model;
use crate::model::config::ModelConfigError;
use crate::outbound::Outbound;
use crate::running::{Held, Running};
use crate::tools::{Resources, SchemaError, Toolbox};
use crate::turn::Sight;
use crate::{intake, lease};

/// What every turn of the process works with.
pub struct Worker {
    /// Who it is, from its start to its end.
    pub id: WorkerId,
    /// PostgreSQL.
    pub store: Store,
    /// Redis.
    pub streams: Streams,
    /// RabbitMQ.
    pub publisher: Publisher,
    /// The model that answers.
    pub model: Arc<dyn Model>,
    /// Its name.
    pub model_name: String,
    /// The model that names sessions and its name, if any does.
    pub title_model: Option<(Arc<dyn Model>, String)>,
    /// How much of a conversation it is told.
    pub window: Budget,
    /// Can the model see pictures?
    pub sight: Sight,
    /// What the model may call.
    pub tools: Toolbox,
    /// What tools may use.
    pub resources: Resources,
    /// Who is told what happens.
    pub analytics: Analytics,
    /// What runs.
    pub running: Running,
    /// Every turn, and what it leaves behind in the background.
    pub tasks: TaskTracker,
    /// The process is to end.
    pub stop: CancellationToken,
    /// The grace of the shutdown is over.
    pub grace_over: CancellationToken,
    /// What users may use, and have used.
    pub meter: Meter,
    /// Streams that were sealed, to be noted together.
    pub sealed: mpsc::Sender<TurnId>,
    /// Steps that were counted, to be noted together.
    pub settled: mpsc::Sender<(TurnId, i32)>,
}

/// Why a worker could not start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A server has no address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// `DATABASE_URL` is no address.
    #[error("DATABASE_URL")]
    Store(#[from] StoreError),
    /// `REDIS_URL` is no address.
    #[error("REDIS_URL")]
    Stream(#[from] StreamError),
    /// The model cannot be used.
    #[error(transparent)]
    Model(#[from] ModelConfigError),
    /// A tool's arguments have no valid schema.
    #[error(transparent)]
    Tools(#[from] SchemaError),
    /// Users' files have no place.
    #[error("WORKSPACE_DIR, or the object store")]
    Workspace(#[from] BlobError),
    /// Nothing outside can be reached.
    #[error("the TLS of the system cannot be used")]
    Outbound(#[from] reqwest::Error),
    /// No directory can be the sandboxes'.
    #[error("SANDBOX_DIR")]
    Sandbox(#[source] std::io::Error),
    /// There is no documentation where it should be.
    #[error("DOCS_DIR")]
    Docs(#[source] DocsError),
    /// Analytics events cannot be sent.
    #[error(transparent)]
    Analytics(#[from] PostHogError),
    /// The feature flags cannot be had.
    #[error(transparent)]
    Flags(#[from] FlagsError),
    /// The ops server cannot be started.
    #[error("WORKER_OPS_LISTEN")]
    Ops(#[from] OpsError),
    /// Turns were cut in the middle of a step: what they did in it is done again by others.
    #[error("{0} turns reached no step boundary before the process had to end, and were cut")]
    Unclean(usize),
}

impl Worker {
    /// Publishes turns that may run now. What fails is in the outbox and found by a reconciler.
    pub async fn publish(&self, turns: &[TurnId]) {
        for &turn in turns {
            if let Err(error) = self.publisher.publish_turn(turn).await {
                tracing::warn!(turn.id = %turn, error = &error as &dyn std::error::Error, "a turn could not be published; the reconciler will");
            }
        }
    }
}

/// Runs until the lifecycle stops; then finishes or hands over what runs.
pub async fn run(config: Box<WorkerConfig>, lifecycle: Lifecycle) -> Result<(), WorkerError> {
    let id = WorkerId::generate();
    config.servers.check()?;
    let store = config.servers.store(&config.turns)?;
    let streams = config.servers.streams(&config.turns)?;
    let broker = config.servers.broker(&format!("copilot-worker {id}"));
    let publisher = Publisher::new(broker.clone());
    let provider = config.model.provider();
    let workspaces = config.workspace.workspaces(store.clone())?;
    let title_model = config.model.title_model().map(|name| provider.connect(&name).map(|model| (model, name)));
    let (sealed, sealed_turns) = mpsc::channel(4096);
    let (analytics, events) = config.analytics.start()?;
    let (settled, settled_steps) = mpsc::channel(4096);
    let worker = Arc::new(Worker {
        id,
        store: store.clone(),
        streams: streams.clone(),
        publisher: publisher.clone(),
        model: provider.connect(&config.model.chat_model)?,
        model_name: config.model.chat_model.clone(),
        title_model: title_model.transpose()?,
        window: config.model.window(),
        sight: config.model.sight(),
        tools: Toolbox::built_in()?,
        resources: resources(&config.tools, &store, &workspaces)?,
        analytics,
        running: Running::default(),
        tasks: TaskTracker::new(),
        stop: lifecycle.stop.clone(),
        grace_over: CancellationToken::new(),
        meter: config.usage.meter(&store, &streams)?,
        sealed,
        settled,
    });

    let stop = lifecycle.stop.clone();
    // What must outlive the last turn ends with this.
    let drained = CancellationToken::new();
    let (alive, sign_of_life) = watch::channel(false);
    let intake = Intake::new(broker.clone(), config.worker_concurrency);
    let dead_letters = DeadLetterIntake::new(broker.clone());
    let cancels = CancelListener::new(broker, id);
    let readiness = readiness(&worker)
        .with_state("intake", intake.connected())
        .with_state("cancels", cancels.connected())
        .with_state("sign_of_life", sign_of_life);
    ops::serve(config.worker_ops_listen, readiness, drained.clone()).await?;

    let background = TaskTracker::new();
    background.spawn(lease::show_life(store.clone(), id, alive, drained.clone()));
    background.spawn(lease::keep(store.clone(), id, worker.running.clone(), drained.clone()));
    background.spawn(sweep_sandboxes(worker.resources.clone(), config.tools.sandbox_keep(), stop.clone()));
    take_notes(&background, &store, sealed_turns, settled_steps, &drained);
    let reconciler = Reconciler { store, streams, publisher, longest_wait: config.turns.longest_wait() };
    background.spawn(reconciler.run(stop.clone()));
    background.spawn(workspaces.keep_swept(stop.clone()));
    let (to_cancel, turns_to_cancel) = mpsc::channel(1024);
    background.spawn(cancels.run(to_cancel, drained.clone()));
    background.spawn(cancel_turns(worker.running.clone(), turns_to_cancel));
    let (bury, buried) = mpsc::channel(1);
    background.spawn(dead_letters.run(bury, drained.clone()));
    background.spawn(crate::dead_letters::keep(Arc::clone(&worker), buried, drained.clone()));
    let (deliver, deliveries) = mpsc::channel(1);
    background.spawn(intake.run(deliver, stop.clone(), drained.clone()));
    tracing::info!(worker.id = %id, concurrency = config.worker_concurrency, model = %worker.model_name, "taking turns");

    intake::take(Arc::clone(&worker), deliveries).await;
    stop.cancelled().await;
    let left = drain(&worker, config.turns.grace()).await;
    drained.cancel();
    background.close();
    farewell("what runs beside the turns", background.wait()).await;
    farewell("analytics", events.close()).await;
    farewell("RabbitMQ", worker.publisher.close()).await;
    farewell("Redis", worker.streams.close()).await;
    farewell("PostgreSQL", worker.store.close()).await;
    if left == 0 { Ok(()) } else { Err(WorkerError::Unclean(left)) }
}

/// Notes in the rows what turns have done to their streams and counters.
fn take_notes(
    background: &TaskTracker,
    store: &Store,
    sealed_turns: mpsc::Receiver<TurnId>,
    settled_steps: mpsc::Receiver<(TurnId, i32)>,
    drained: &CancellationToken,
) {
    let (seals, steps) = (store.clone(), store.clone());
    background.spawn(note("sealed streams", sealed_turns, drained.clone(), move |turns| {
        let store = seals.clone();
        async move { store.note_sealed(&turns).await }
    }));
    background.spawn(note("settled steps", settled_steps, drained.clone(), move |settled| {
        let store = steps.clone();
        async move { store.note_settled(&settled).await }
    }));
}

/// How long a turn may take to reach a step boundary once the grace is over, before it is cut.
const LAST_CALL: std::time::Duration = std::time::Duration::from_secs(10);

/// Waits for running turns; then has them handed over at their step boundary; then cuts them, and
/// hands them over where they stand, so that another worker takes them over at once. Returns how many
/// were cut.
async fn drain(worker: &Worker, grace: std::time::Duration) -> usize {
    worker.tasks.close();
    tracing::info!(turns = worker.running.len(), "draining");
    if tokio::time::timeout(grace, worker.tasks.wait()).await.is_ok() {
        return 0;
    }
    worker.grace_over.cancel();
    worker.running.hand_back_all();
    if tokio::time::timeout(LAST_CALL, worker.tasks.wait()).await.is_ok() {
        return 0;
    }
    let cut = worker.running.held();
    tracing::warn!(turns = cut.len(), "cutting turns that reached no step boundary");
    worker.running.lose_all();
    if tokio::time::timeout(LAST_CALL, worker.tasks.wait()).await.is_err() {
        tracing::error!(turns = worker.running.len(), "attempts that were cut have not ended");
    }
    // Only now: whoever takes them over is to meet nobody. Else they would wait for their lease to lapse.
    if tokio::time::timeout(LAST_CALL, hand_over(worker, &cut)).await.is_err() {
        tracing::warn!("turns could not be handed over in time; they are when their lease has lapsed");
    }
    cut.len()
}

async fn hand_over(worker: &Worker, cut: &[Held]) {
    for (turn, attempt, _) in cut {
        match worker.store.hand_back(*turn, *attempt).await {
            Ok(()) => worker.publish(&[*turn]).await,
            // It came to its end after all.
            Err(Fenced::Fenced) => {}
            Err(Fenced::Store(error)) => {
                tracing::warn!(turn.id = %turn, error = &error as &dyn std::error::Error, "a turn that was cut keeps its lease until it lapses");
            }
        }
    }
}

fn readiness(worker: &Worker) -> Readiness {
    let store = worker.store.clone();
    let schema = worker.store.clone();
    let streams = worker.streams.clone();
    Readiness::default()
        .with("postgres", move || {
            let store = store.clone();
            async move { store.ping().await.is_ok() }
        })
        .with("schema", move || {
            let store = schema.clone();
            async move { store.is_migrated().await.unwrap_or(false) }
        })
        .with("redis", move || {
            let streams = streams.clone();
            async move { streams.ping().await.is_ok() }
        })
}

async fn cancel_turns(running: Running, mut turns: mpsc::Receiver<TurnId>) {
    while let Some(turn) = turns.recv().await {
        running.cancel(turn);
    }
}

/// What tools may use.
fn resources(config: &ToolArgs, store: &Store, workspaces: &Workspaces) -> Result<Resources, WorkerError> {
    Ok(Resources {
        store: store.clone(),
        workspaces: workspaces.clone(),
        outbound: Outbound::new(config.outbound_allow.clone())?,
        sandbox: Arc::new(config.sandbox().map_err(WorkerError::Sandbox)?),
        secrets_key: config.secrets_key.clone(),
        docs: Arc::new(config.docs().map_err(WorkerError::Docs)?),
        linear: config.linear()?,
    })
}

async fn sweep_sandboxes(resources: Resources, keep: std::time::Duration, stop: CancellationToken) {
    resources.sandbox.keep_swept(&resources.store, keep, stop).await;
}

/// Writes notes down together, once a second. What is lost with the process, or cannot be written,
/// is found by a reconciler and done again, to no effect.
async fn note<T, F>(
    what: &'static str,
    mut notes: mpsc::Receiver<T>,
    stop: CancellationToken,
    write: impl Fn(Vec<T>) -> F,
) where
    F: Future<Output = Result<(), StoreError>>,
{
    loop {
        let last_time = stop.is_cancelled();
        let mut batch = Vec::new();
        while let Ok(note) = notes.try_recv() {
            batch.push(note);
        }
        if !batch.is_empty()
            && let Err(error) = write(batch).await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "{what} could not be noted; the reconciler will");
        }
        if last_time {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
        }
    }
}
