//! Linear, the tracker outside that keeps what users wish for where its key is set: GraphQL over
//! HTTP (`usage-tools.md` §7.9).
//!
//! What is made has an id of ours. So a request whose answer was lost can be made again: what it
//! made is then found by its id.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, StatusCode, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(8);

/// The key of the API. Shown to nobody.
#[derive(Clone)]
pub struct LinearKey(HeaderValue);

impl FromStr for LinearKey {
    type Err = reqwest::header::InvalidHeaderValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut value = HeaderValue::from_str(text.trim())?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl fmt::Debug for LinearKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinearKey")
    }
}

/// Which corner of Linear is meant.
#[derive(Debug, Clone)]
pub struct LinearSettings {
    /// The key.
    pub key: LinearKey,
    /// Where its GraphQL is.
    pub url: Url,
    /// The team whose issues the wishes are.
    pub team_id: String,
    /// The project that they are in. Issues elsewhere are neither found nor touched.
    pub project_id: String,
}

/// Why Linear has no answer. What is displayed holds nothing secret.
#[derive(Debug, thiserror::Error)]
pub enum LinearError {
    /// It cannot be reached, or does not speak its protocol.
    #[error("The tracker of feature requests cannot be reached.")]
    Transport(#[from] reqwest::Error),
    /// It refuses.
    #[error("The tracker of feature requests answered {0}.")]
    Status(StatusCode),
    /// It says what is wrong, which is only for the log.
    #[error("The tracker of feature requests refused the request.")]
    Refused(#[source] GraphQlErrors),
    /// It says that nothing was done.
    #[error("The tracker of feature requests did nothing.")]
    Undone,
}

/// What Linear says is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct GraphQlErrors(Vec<String>);

/// An issue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Issue {
    /// Its id.
    pub id: String,
    /// Its id for people.
    pub identifier: String,
    /// What it is about.
    pub title: String,
    /// Where people read it.
    #[serde(default)]
    pub url: String,
}

/// Linear. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Linear {
    client: Client,
    settings: LinearSettings,
}

#[derive(Deserialize)]
struct Answer<T> {
    data: Option<T>,
    #[serde(default)]
    errors: Vec<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    message: String,
}

impl Linear {
    /// A client. Nothing is asked yet.
    pub fn new(settings: LinearSettings) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(TIMEOUT)
            .user_agent(concat!("copilot/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, settings })
    }

    /// Issues of the project that fit some words, best first.
    pub async fn search(&self, words: &str, limit: u32) -> Result<Vec<Issue>, LinearError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Data {
            search_issues: Nodes,
        }
        #[derive(Deserialize)]
        struct Nodes {
            nodes: Vec<Issue>,
        }
        const QUERY: &str = "query($term: String!, $first: Int, $filter: IssueFilter) { \
            searchIssues(term: $term, first: $first, filter: $filter) { nodes { id identifier title url } } }";
        let project = json!({ "project": { "id": { "eq": self.settings.project_id } } });
        let data: Data = self.ask(QUERY, &json!({ "term": words, "first": limit, "filter": project })).await?;
        Ok(data.search_issues.nodes)
    }

    /// An issue of the project, if it is there.
    pub async fn issue(&self, id: &str) -> Result<Option<Issue>, LinearError> {
        #[derive(Deserialize)]
        struct Data {
            issues: Nodes,
        }
        #[derive(Deserialize)]
        struct Nodes {
            nodes: Vec<Issue>,
        }
        // A list that is empty, and not an error that could mean anything.
        const QUERY: &str = "query($filter: IssueFilter) { \
            issues(filter: $filter, first: 1) { nodes { id identifier title url } } }";
        let filter = json!({ "id": { "eq": id }, "project": { "id": { "eq": self.settings.project_id } } });
        let data: Data = self.ask(QUERY, &json!({ "filter": filter })).await?;
        Ok(data.issues.nodes.into_iter().next())
    }

    /// Makes the user known, by the id that they have here. Returns their name. Safe to repeat.
    pub async fn upsert_customer(&self, external_id: &str) -> Result<String, LinearError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Data {
            customer_upsert: Payload,
        }
        #[derive(Deserialize)]
        struct Payload {
            customer: Option<Customer>,
        }
        #[derive(Deserialize)]
        struct Customer {
            name: String,
        }
        const QUERY: &str = "mutation($input: CustomerUpsertInput!) { \
            customerUpsert(input: $input) { success customer { id name } } }";
        let input = json!({ "externalId": external_id, "name": external_id });
        let data: Data = self.ask(QUERY, &json!({ "input": input })).await?;
        data.customer_upsert.customer.map(|customer| customer.name).ok_or(LinearError::Undone)
    }

    /// Makes an issue with an id of ours. Safe to repeat.
    pub async fn create_issue(&self, id: Uuid, title: &str, description: &str) -> Result<Issue, LinearError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Data {
            issue_create: Payload,
        }
        #[derive(Deserialize)]
        struct Payload {
            issue: Option<Issue>,
        }
        const QUERY: &str = "mutation($input: IssueCreateInput!) { \
            issueCreate(input: $input) { success issue { id identifier title url } } }";
        let input = json!({
            "id": id, "title": title, "description": description,
            "teamId": self.settings.team_id, "projectId": self.settings.project_id,
        });
        let made: Result<Data, LinearError> = self.ask(QUERY, &json!({ "input": input })).await;
        match made {
            Ok(data) => data.issue_create.issue.ok_or(LinearError::Undone),
            // An earlier attempt may have made it.
            Err(refused @ LinearError::Refused(_)) => self.issue(&id.to_string()).await?.ok_or(refused),
            Err(error) => Err(error),
        }
    }

    /// Says that the user needs an issue, in their words; with an id of ours. Safe to repeat.
    pub async fn create_need(
        &self,
        id: Uuid,
        external_id: &str,
        issue: &Issue,
        words: &str,
    ) -> Result<(), LinearError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Data {
            customer_need_create: Payload,
        }
        #[derive(Deserialize)]
        struct Payload {
            success: bool,
        }
        const QUERY: &str = "mutation($input: CustomerNeedCreateInput!) { \
            customerNeedCreate(input: $input) { success } }";
        let input = json!({ "id": id, "customerExternalId": external_id, "issueId": issue.id, "body": words });
        let made: Result<Data, LinearError> = self.ask(QUERY, &json!({ "input": input })).await;
        match made {
            Ok(Data { customer_need_create: Payload { success: true } }) => Ok(()),
            Ok(_) => Err(LinearError::Undone),
            // An earlier attempt may have made it.
            Err(refused @ LinearError::Refused(_)) => {
                if self.has_need(id).await? {
                    Ok(())
                } else {
                    Err(refused)
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn has_need(&self, id: Uuid) -> Result<bool, LinearError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Data {
            customer_needs: Nodes,
        }
        #[derive(Deserialize)]
        struct Nodes {
            nodes: Vec<Value>,
        }
        const QUERY: &str =
            "query($filter: CustomerNeedFilter) { customerNeeds(filter: $filter, first: 1) { nodes { id } } }";
        let data: Data = self.ask(QUERY, &json!({ "filter": { "id": { "eq": id } } })).await?;
        Ok(!data.customer_needs.nodes.is_empty())
    }

    async fn ask<T: DeserializeOwned>(&self, query: &str, variables: &Value) -> Result<T, LinearError> {
        let LinearSettings { key, url, .. } = &self.settings;
        let request = self
            .client
            .post(url.clone())
            .header(AUTHORIZATION, key.0.clone())
            .json(&json!({ "query": query, "variables": variables }));
        let response = request.send().await?;
        let status = response.status();
        // A refused query has a 400 and says why.
        if !status.is_success() && status != StatusCode::BAD_REQUEST {
            return Err(LinearError::Status(status));
        }
        let answer: Answer<T> = response.json().await?;
        match answer {
            Answer { data: Some(data), errors } if errors.is_empty() => Ok(data),
            Answer { errors, .. } => {
                Err(LinearError::Refused(GraphQlErrors(errors.into_iter().map(|problem| problem.message).collect())))
            }
        }
    }
}
