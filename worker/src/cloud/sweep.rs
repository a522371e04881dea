//! Kills the sandboxes of sessions that are gone, and those that were not used for long.

use std::time::Duration;

use copilot_shared::id::SessionId;
use copilot_shared::store::{DueCloudSandbox, StoreError};
use tokio_util::sync::CancellationToken;

use super::{Cloud, CloudError};

/// How often to look.
const SWEEP_EVERY: Duration = Duration::from_secs(2);

/// How long to leave one alone that could not be killed.
const PAUSE: Duration = Duration::from_secs(30);

/// How long it may take to kill one. Its row is held meanwhile.
const KILL_WITHIN: Duration = Duration::from_secs(15);

/// Longer than a sandbox takes from being asked for to being found.
const ARRIVES_WITHIN: Duration = Duration::from_mins(5);

impl Cloud {
    /// Sweeps from time to time, until the end.
    pub async fn keep_swept(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(SWEEP_EVERY) => {}
            }
            match self.sweep().await {
                Ok(0) => {}
                Ok(killed) => tracing::info!(killed, "killed sandboxes that nobody needs"),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the sweep of sandboxes broke off; trying again"
                ),
            }
        }
    }

    /// Kills the sandboxes that are due. Returns of how many sessions.
    pub async fn sweep(&self) -> Result<u64, StoreError> {
        let mut swept = 0;
        while let Some(due) = self.store.take_due_cloud_sandbox().await? {
            let kill = self.kill_all(due.session, due.sandbox_id.as_deref());
            let killed = tokio::time::timeout(KILL_WITHIN, kill).await.unwrap_or(Err(CloudError::Silent));
            match killed {
                Ok(()) if may_arrive(&due) => due.postpone(PAUSE).await?,
                Ok(()) => {
                    due.forget().await?;
                    swept += 1;
                }
                Err(error) => {
                    tracing::warn!(session.id = %due.session, error = &error as &dyn std::error::Error, "a sandbox could not be killed; trying again later");
                    due.postpone(PAUSE).await?;
                }
            }
        }
        Ok(swept)
    }

    /// Kills what is noted, and whatever else was made for the session.
    async fn kill_all(&self, session: SessionId, noted: Option<&str>) -> Result<(), CloudError> {
        if let Some(id) = noted {
            self.api.kill(id).await?;
        }
        for id in self.api.find(session).await? {
            self.api.kill(&id).await?;
        }
        Ok(())
    }
}

/// Was it asked for by somebody who has no answer yet, and may never note it?
fn may_arrive(due: &DueCloudSandbox) -> bool {
    due.sandbox_id.is_none() && due.unused < ARRIVES_WITHIN
}
