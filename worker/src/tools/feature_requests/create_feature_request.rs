//! `create_feature_request`: asks for a feature on the user's behalf, or adds their voice to what
//! others asked for.

use copilot_shared::id::{FeatureRequestId, UserId};
use copilot_shared::store::NewFeatureRequest;
use copilot_shared::tool::found::FeatureRequestCreated;
use copilot_shared::tool::{JsonObject, Repeat, ToolAnswer, ToolResponse};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{identifier, unanswered};
use crate::linear::{Issue, Linear, LinearError};
use crate::tools::{Access, Tool, ToolContext, ToolFailure};

/// Asks for a feature.
pub(in crate::tools) struct CreateFeatureRequest;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in crate::tools) struct Arguments {
    /// What is wished for, in a line, without anything about the user.
    #[schemars(length(max = 200))]
    title: String,
    /// What it is for, in the user's words.
    #[schemars(length(max = 10_000))]
    description: String,
    /// The request of others that asks for the same, as search_feature_requests names it.
    existing_issue_id: Option<String>,
}

impl Tool for CreateFeatureRequest {
    type Arguments = Arguments;
    const NAME: &'static str = "create_feature_request";
    const DESCRIPTION: &'static str = "Asks for a feature that is missing, on the user's behalf and with their consent; \
        others see the title. Search first, and name an existing request that asks for the same.";
    const ACCESS: Access = Access::SignedIn;
    // What is made has its id from the call, here as in the tracker outside.
    const REPEAT: Repeat = Repeat::Safe;

    async fn call(&self, context: &ToolContext, arguments: Arguments) -> Result<ToolAnswer, ToolFailure> {
        let wish = match Wish::read(arguments) {
            Ok(wish) => wish,
            Err(refusal) => return Ok(*refusal),
        };
        match &context.resources.linear {
            None => keep(context, wish).await,
            Some(linear) => Ok(report(linear, context, context.user()?, &wish).await),
        }
    }
}

struct Wish {
    title: String,
    description: String,
    existing: Option<String>,
}

impl Wish {
    fn read(arguments: Arguments) -> Result<Self, Box<ToolAnswer>> {
        let title = arguments.title.split_whitespace().collect::<Vec<_>>().join(" ");
        let description = arguments.description.trim().to_owned();
        if title.is_empty() {
            return Err(Box::new(ToolAnswer::error("missing_title", "Say what is wished for.")));
        }
        if description.is_empty() {
            return Err(Box::new(ToolAnswer::error("missing_description", "Say what it is wished for.")));
        }
        let existing = arguments.existing_issue_id.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty());
        Ok(Self { title, description, existing })
    }
}

fn not_found(id: &str) -> ToolAnswer {
    ToolAnswer::error("not_found", format!("There is no feature request {id:?}."))
}

/// Keeps the wish here.
async fn keep(context: &ToolContext, wish: Wish) -> Result<ToolAnswer, ToolFailure> {
    let existing = match wish.existing.as_deref().map(|id| (id, id.parse::<FeatureRequestId>())) {
        None => None,
        Some((_, Ok(id))) => Some(id),
        Some((id, Err(_))) => return Ok(not_found(id)),
    };
    let id = FeatureRequestId(context.id_of_the_made());
    let user = context.user()?;
    let new = NewFeatureRequest { id, title: wish.title, description: wish.description, existing };
    let Some(request) = context.resources.store.request_feature(context.fence(), user, &new).await? else {
        return Ok(not_found(&wish.existing.unwrap_or_default()));
    };
    let issue = Issue {
        id: request.id.to_string(),
        identifier: identifier(&request),
        title: request.title,
        // There is no page of it.
        url: String::new(),
    };
    Ok(created(issue, existing.is_none(), user.as_str().to_owned()))
}

/// Reports the wish to the tracker outside.
async fn report(linear: &Linear, context: &ToolContext, user: &UserId, wish: &Wish) -> ToolAnswer {
    let id = context.id_of_the_made();
    let customer = match linear.upsert_customer(user.as_str()).await {
        Ok(customer) => customer,
        Err(error) => return unanswered(&error),
    };
    let issue = match &wish.existing {
        None => linear.create_issue(id, &wish.title, &wish.description).await.map(Some),
        Some(existing) => linear.issue(existing).await,
    };
    let issue = match issue {
        Ok(Some(issue)) => issue,
        Ok(None) => return not_found(wish.existing.as_deref().unwrap_or_default()),
        Err(error) => return unanswered(&error),
    };
    match linear.create_need(id, user.as_str(), &issue, &wish.description).await {
        Ok(()) => created(issue, wish.existing.is_none(), customer),
        Err(error) => orphan(&error, issue),
    }
}

fn created(issue: Issue, is_new_issue: bool, customer_name: String) -> ToolAnswer {
    let message = if is_new_issue {
        format!("Asked for {:?} as {}.", issue.title, issue.identifier)
    } else {
        format!("Added a voice to {:?}, {}.", issue.title, issue.identifier)
    };
    let response = FeatureRequestCreated {
        issue_id: issue.id,
        issue_identifier: issue.identifier,
        issue_title: issue.title,
        issue_url: issue.url,
        is_new_issue,
        customer_name,
    };
    ToolAnswer::new(message, ToolResponse::FeatureRequestCreated(response))
}

/// The issue is there, but nobody's voice is on it: said, so that it can be used the next time.
fn orphan(error: &LinearError, issue: Issue) -> ToolAnswer {
    let mut answer = unanswered(error);
    if let ToolResponse::Error(fields) = &mut answer.response {
        let details = [
            ("issue_id", issue.id),
            ("issue_identifier", issue.identifier),
            ("issue_title", issue.title),
            ("issue_url", issue.url),
        ];
        fields.details = Some(JsonObject::from_iter(details.map(|(key, value)| (key.to_owned(), value.into()))));
    }
    answer
}
