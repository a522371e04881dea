//! Which sandbox a session has: made once, found again by whoever comes next, and replaced when it is
//! gone.
//!
//! The key with which a sandbox is asked for is noted first. Whoever dies before its id is noted too
//! leaves a key without an id: the next looks for what is marked as the session's, and else asks again
//! with the same key.

use std::time::Duration;

use copilot_shared::store::CloudSandbox;
use uuid::Uuid;

use super::envd::Envd;
use super::{Cloud, CloudError, Whose};

/// How often a sandbox may turn out to be gone, or another one, until that is the answer.
const ROUNDS: usize = 5;

impl Cloud {
    /// The session's sandbox, which runs for `stay` from now on, and for the usual time at least.
    pub(super) async fn reach(&self, whose: Whose, stay: Duration) -> Result<Envd, CloudError> {
        let stay = stay.max(self.settings.timeout);
        // With this one nobody has asked for anything.
        let mut candidate = Uuid::new_v4();
        for _ in 0..ROUNDS {
            let claim = self.store.claim_cloud_sandbox(whose.fence, whose.session, candidate, self.settings.keep);
            let known = claim.await?;
            let Some(id) = &known.sandbox_id else {
                let made = self.make(whose, &known, known.creation_key == candidate, stay).await;
                match made {
                    Err(error) if error.has_spent_the_key() => {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "what a sandbox was asked for with is spent"
                        );
                        self.forget(whose, &known, Uuid::new_v4()).await?;
                    }
                    made => made?,
                }
                continue;
            };
            match self.api.connect(id, stay).await {
                Ok(running) => return Envd::new(self.client.clone(), &self.settings, &running),
                Err(CloudError::Gone) => {
                    candidate = Uuid::new_v4();
                    self.forget(whose, &known, candidate).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(CloudError::Gone)
    }

    async fn forget(&self, whose: Whose, known: &CloudSandbox, next: Uuid) -> Result<(), CloudError> {
        Ok(self.store.replace_cloud_sandbox(whose.fence, whose.session, known.creation_key, next).await?)
    }

    /// Makes a sandbox, or finds the one that somebody has made, and notes it.
    async fn make(&self, whose: Whose, known: &CloudSandbox, is_first: bool, stay: Duration) -> Result<(), CloudError> {
        let (session, key) = (whose.session, known.creation_key);
        let earlier = if is_first { None } else { self.api.find(session).await?.into_iter().next() };
        let made = match earlier {
            Some(id) => id,
            None => self.api.create(session, key, stay).await?.id,
        };
        if self.store.note_cloud_sandbox(session, key, &made).await?.as_ref() != Some(&made) {
            // The session has another one, or is gone, and nobody knows of this one.
            self.api.kill(&made).await?;
        }
        Ok(())
    }
}
