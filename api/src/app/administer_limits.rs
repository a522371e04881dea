//! Limits and usage of any user, for admins. Each act is written down before it is done.

use copilot_shared::audit::{AuditAction, AuditRecord, AuditTarget};
use copilot_shared::id::UserId;
use copilot_shared::meter::{MeterError, Reading};
use copilot_shared::store::{LimitOverride, StoreError};
use copilot_shared::usage::window::Window;
use copilot_shared::windows::WindowsError;

use super::App;

/// Why a user's usage was not reset.
#[derive(Debug, thiserror::Error)]
pub enum EmptyError {
    /// The counters could not be emptied.
    #[error("the usage counters could not be emptied")]
    Windows(#[source] WindowsError),
    /// The counters are empty, and cannot be read.
    #[error(transparent)]
    Meter(#[from] MeterError),
    /// The act could not be written down, so it was not done.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl App {
    /// A user's usage and limits.
    pub async fn read_usage_of(&self, admin: &UserId, user: &UserId) -> Result<Reading, MeterError> {
        self.store.record_audit(&about(admin, AuditAction::ReadRateLimit, user)).await?;
        self.usage.meter.read(user).await
    }

    /// Empties windows of a user, whatever they hold: this also heals counters that are no numbers.
    pub async fn empty_usage_of(
        &self,
        admin: &UserId,
        user: &UserId,
        windows: &[Window],
    ) -> Result<Reading, EmptyError> {
        let names: Vec<&str> = windows.iter().map(|window| window.as_str()).collect();
        self.store.record_audit(&about(admin, AuditAction::ResetRateLimit, user).with("windows", names)).await?;
        let meter = &self.usage.meter;
        let at = meter.now();
        meter.windows().empty(user, windows, at).await.map_err(EmptyError::Windows)?;
        Ok(meter.read_at(user, at).await?)
    }

    /// Gives a user limits of their own.
    pub async fn set_limits_of(
        &self,
        admin: &UserId,
        user: &UserId,
        own: LimitOverride,
    ) -> Result<Reading, MeterError> {
        let record = about(admin, AuditAction::SetRateLimit, user)
            .with("daily_token_limit", own.daily)
            .with("weekly_token_limit", own.weekly);
        self.store.record_audit(&record).await?;
        self.usage.meter.limits().set(user, own).await?;
        self.usage.meter.read(user).await
    }
}

fn about(admin: &UserId, action: AuditAction, user: &UserId) -> AuditRecord {
    AuditRecord::new(admin.clone(), action, AuditTarget::User(user.clone()))
}
