//! Starting and stopping: one signal, two tokens.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a process hangs its tasks on. `stop` asks everything to come to an end in good order;
/// `tasks` is empty once everything has.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    /// Cancelled on SIGTERM or SIGINT.
    pub stop: CancellationToken,
    /// Every task of the process.
    pub tasks: TaskTracker,
}

impl Lifecycle {
    /// Listens for SIGTERM and SIGINT; a second one ends the process at once, uncleanly.
    pub fn on_signals() -> std::io::Result<Self> {
        let lifecycle = Self::default();
        let stop = lifecycle.stop.clone();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping");
            stop.cancel();
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::warn!("stopping at once");
            std::process::exit(130);
        });
        Ok(lifecycle)
    }
}
