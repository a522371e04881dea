//! An admin acts in a user's name: each request is written down before it is served.

use copilot_shared::audit::{AuditAction, AuditRecord, AuditTarget};
use copilot_shared::id::UserId;
use copilot_shared::store::StoreError;

use super::App;

impl App {
    /// Writes down who asks for what in whose name. What cannot be written down is not done.
    pub async fn note_impersonation(
        &self,
        admin: &UserId,
        user: &UserId,
        method: &str,
        path: &str,
    ) -> Result<(), StoreError> {
        let target = AuditTarget::User(user.clone());
        let record = AuditRecord::new(admin.clone(), AuditAction::Impersonate, target)
            .acting_as(user.clone())
            .with("method", method)
            // Without the query, which may hold a ticket.
            .with("path", path);
        self.store.record_audit(&record).await
    }
}
