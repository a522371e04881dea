//! The tools for what users wish for (`usage-tools.md` §7.9): kept in PostgreSQL, or by Linear where
//! its key is set.

use copilot_shared::store::RequestedFeature;
use copilot_shared::tool::ToolAnswer;

use crate::linear::LinearError;

mod create_feature_request;
mod search_feature_requests;

pub(super) use create_feature_request::CreateFeatureRequest;
pub(super) use search_feature_requests::SearchFeatureRequests;

/// What people call a wish that is kept here.
fn identifier(request: &RequestedFeature) -> String {
    format!("FR-{}", request.number)
}

/// The tracker outside has no answer.
fn unanswered(error: &LinearError) -> ToolAnswer {
    let cause = error as &dyn std::error::Error;
    tracing::warn!(error = cause, "the tracker of feature requests has no answer");
    ToolAnswer::error("tracker_failed", error.to_string())
}
