//! Routes for admins, below `/api/copilot/admin`.

use crate::problem::Statuses;

pub(super) mod credits;
pub(super) mod dead_letters;
mod paths;
pub(super) mod rate_limit;
pub(super) mod turns;

/// The errors of an admin's route without a body.
pub(super) struct Administering;
impl Statuses for Administering {
    const STATUSES: &'static [u16] = &[401, 403, 422, 500, 503];
}

/// The errors of an admin's route with a body.
pub(super) struct AdministeringWithBody;
impl Statuses for AdministeringWithBody {
    const STATUSES: &'static [u16] = &[400, 401, 403, 404, 413, 415, 422, 500, 503];
}

/// The errors of an admin's route that names something.
pub(super) struct AdministeringOne;
impl Statuses for AdministeringOne {
    const STATUSES: &'static [u16] = &[401, 403, 404, 409, 500, 503];
}
