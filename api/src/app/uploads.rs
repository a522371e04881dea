//! Uploads under way. Until it is complete an upload counts for no quota, so a user has a few at
//! once, and the others wait with their bodies unread: a page that sends ten files is served.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use copilot_shared::id::UserId;
use copilot_shared::workspace::{Upload, WorkspaceError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Uploads of a user at once, in a process.
const AT_ONCE: usize = 4;

/// How long an upload waits for those before it.
const PATIENCE: Duration = Duration::from_mins(2);

/// A user's other uploads take too long.
#[derive(Debug, thiserror::Error)]
#[error("{0} files are being uploaded already. Please wait for one of them.")]
pub struct TooManyUploads(usize);

/// A file that is being taken. Dropping it gives up what was written, and lets the next one in.
#[derive(Debug)]
pub struct UploadUnderWay {
    pub(super) upload: Upload,
    pub(super) slot: Slot,
}

impl UploadUnderWay {
    /// Writes more bytes.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), WorkspaceError> {
        self.upload.write(bytes).await
    }
}

/// The place of an upload among those of its user.
#[derive(Debug)]
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
}

/// Who uploads.
#[derive(Debug)]
pub(super) struct Slots {
    at_once: usize,
    patience: Duration,
    users: Mutex<HashMap<UserId, Weak<Semaphore>>>,
}

impl Default for Slots {
    fn default() -> Self {
        Self { at_once: AT_ONCE, patience: PATIENCE, users: Mutex::default() }
    }
}

impl Slots {
    /// A place for an upload, as soon as there is one. Whoever came first goes first.
    pub(super) async fn take(&self, user: &UserId) -> Result<Slot, TooManyUploads> {
        let taken = tokio::time::timeout(self.patience, self.of(user).acquire_owned()).await;
        // Nobody closes the semaphore.
        let permit = taken.ok().and_then(Result::ok).ok_or(TooManyUploads(self.at_once))?;
        Ok(Slot { _permit: permit })
    }

    fn of(&self, user: &UserId) -> Arc<Semaphore> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        // Those who upload nothing any more are forgotten.
        users.retain(|_, slots| slots.strong_count() > 0);
        let known = users.get(user).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let slots = Arc::new(Semaphore::new(self.at_once));
            users.insert(user.clone(), Arc::downgrade(&slots));
            slots
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_has_so_many_at_once_and_the_next_one_waits_for_a_place_but_not_for_ever() {
        let slots = Slots::default();
        let (ann, bob) = (user("ann"), user("bob"));
        let mut taken = Vec::new();
        for _ in 0..AT_ONCE {
            taken.push(slots.take(&ann).await.unwrap());
        }
        slots.take(&bob).await.unwrap();
        let (next, ()) = tokio::join!(slots.take(&ann), async {
            tokio::time::sleep(PATIENCE / 2).await;
            taken.pop();
        });
        taken.push(next.unwrap());
        assert_eq!(slots.take(&ann).await.unwrap_err().0, AT_ONCE);
    }

    #[tokio::test]
    async fn who_uploads_nothing_any_more_is_forgotten() {
        let slots = Slots::default();
        for name in ["ann", "bob", "eve"] {
            drop(slots.take(&user(name)).await.unwrap());
        }
        let _slot = slots.take(&user("ann")).await.unwrap();
        assert_eq!(slots.users.lock().unwrap().len(), 1);
    }
}
