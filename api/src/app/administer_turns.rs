//! Turns of all users, for admins. Each act is written down before it is done.

use copilot_shared::audit::{AuditAction, AuditRecord, AuditTarget};
use copilot_shared::id::UserId;
use copilot_shared::store::{AdminTurn, StoreError, TurnFilter};

use super::App;

impl App {
    /// A page of all turns, newest first.
    pub async fn list_all_turns(
        &self,
        admin: &UserId,
        filter: &TurnFilter,
        limit: i64,
    ) -> Result<Vec<AdminTurn>, StoreError> {
        let target = filter.user.clone().map_or(AuditTarget::Everything, AuditTarget::User);
        self.store.record_audit(&AuditRecord::new(admin.clone(), AuditAction::ListTurns, target)).await?;
        self.store.list_all_turns(filter, limit).await
    }
}
