//! Routes for admins, below `/api/copilot/admin`.

use crate::problem::Statuses;

pub(super) mod turns;

/// The errors of an admin's route without a body.
pub(super) struct Administering;
impl Statuses for Administering {
    const STATUSES: &'static [u16] = &[401, 403, 422, 500, 503];
}
