//! Starting and stopping: one signal, two tokens.

use std::time::Duration;

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

/// How long servers have to take leave of a process.
const FAREWELL: Duration = Duration::from_secs(5);

/// Does what a process does last, for so long as servers answer. One that holds a connection open and
/// says nothing would keep the process for ever; and whatever is left undone here others do, since a
/// process can also die.
pub async fn farewell(what: &'static str, leave: impl Future<Output = ()>) {
    if tokio::time::timeout(FAREWELL, leave).await.is_err() {
        tracing::warn!(what, "a server did not answer in time; going without its leave");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_keeps_no_process_from_ending() {
        let began = tokio::time::Instant::now();
        farewell("a silent server", std::future::pending()).await;
        assert_eq!(began.elapsed(), FAREWELL);
    }
}
