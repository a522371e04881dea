//! What is known of a user: read, added to and forgotten by the user themselves.

use copilot_shared::id::UserId;
use copilot_shared::store::StoreError;
use copilot_shared::understanding::{Learned, Understanding};

use super::App;

impl App {
    /// What is known of a user.
    pub async fn understanding(&self, user: &UserId) -> Result<Understanding, StoreError> {
        self.store.understanding(user).await
    }

    /// Takes in what a user tells of themselves.
    pub async fn merge_understanding(&self, user: &UserId, learned: Learned) -> Result<Understanding, StoreError> {
        self.store.ensure_user(user).await?;
        self.store.merge_understanding(user, learned).await
    }

    /// Forgets everything that is known of a user.
    pub async fn forget_understanding(&self, user: &UserId) -> Result<(), StoreError> {
        self.store.forget_understanding(user).await
    }
}
