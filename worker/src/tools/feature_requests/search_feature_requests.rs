//! `search_feature_requests`: finds what others wish for.

use copilot_shared::tool::found::{FeatureRequest, FeatureRequestSearch};
use copilot_shared::tool::plain::NoResults;
use copilot_shared::tool::{Repeat, ToolAnswer, ToolResponse};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{identifier, unanswered};
use crate::tools::{Access, Tool, ToolContext, ToolFailure};

/// Wishes that are found at most.
const MAX_FOUND: u32 = 10;

/// Finds wishes.
pub(in crate::tools) struct SearchFeatureRequests;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in crate::tools) struct Arguments {
    /// What to look for, in a few words.
    #[schemars(length(max = 500))]
    query: String,
}

impl Tool for SearchFeatureRequests {
    type Arguments = Arguments;
    const NAME: &'static str = "search_feature_requests";
    const DESCRIPTION: &'static str = "Searches the features that users have asked for. Use it before \
        create_feature_request, so that one wish is not asked for twice.";
    const ACCESS: Access = Access::SignedIn;
    const REPEAT: Repeat = Repeat::Safe;

    async fn call(&self, context: &ToolContext, arguments: Arguments) -> Result<ToolAnswer, ToolFailure> {
        let query = arguments.query.trim();
        if query.is_empty() {
            return Ok(ToolAnswer::error("missing_query", "Say what to look for."));
        }
        let found: Vec<FeatureRequest> = match &context.resources.linear {
            None => {
                let found = context.resources.store.search_feature_requests(query, i64::from(MAX_FOUND)).await?;
                let shown = found.into_iter().map(|request| FeatureRequest {
                    id: request.id.to_string(),
                    identifier: identifier(&request),
                    title: request.title,
                });
                shown.collect()
            }
            Some(linear) => match linear.search(query, MAX_FOUND).await {
                Ok(issues) => issues
                    .into_iter()
                    .map(|issue| FeatureRequest { id: issue.id, identifier: issue.identifier, title: issue.title })
                    .collect(),
                Err(error) => return Ok(unanswered(&error)),
            },
        };
        Ok(answer(query, found))
    }
}

fn answer(query: &str, results: Vec<FeatureRequest>) -> ToolAnswer {
    if results.is_empty() {
        let suggestions = ["Use other words for the same.", "Ask for it with create_feature_request."];
        let none = NoResults::new(suggestions.map(str::to_owned).to_vec());
        return ToolAnswer::new(format!("Nobody has asked for {query:?}."), ToolResponse::NoResults(none));
    }
    let count = u64::try_from(results.len()).unwrap_or(u64::MAX);
    let message = format!("Found {count} feature request(s).");
    let found = FeatureRequestSearch { results, count, query: query.to_owned() };
    ToolAnswer::new(message, ToolResponse::FeatureRequestSearch(found))
}
