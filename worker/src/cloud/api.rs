//! The API that makes, wakes, finds and kills sandboxes. Every call may be repeated: a sandbox is
//! asked for with a key, and the same key makes no second one.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use copilot_shared::id::SessionId;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::json;
use url::Url;
use uuid::Uuid;

use super::CloudError;
use super::config::{OnTimeout, Settings};

/// What a sandbox is marked with, so that it is found even if nobody noted its id.
const MARK: &str = "copilot_session";

/// Further calls after one that came to nothing for the moment.
const RETRIES: usize = 4;

/// Pages of sandboxes of one session; there should be one sandbox.
const MAX_PAGES: usize = 10;

/// The API.
#[derive(Debug, Clone)]
pub(super) struct Api {
    client: Client,
    settings: Settings,
}

/// A sandbox that runs.
#[derive(Debug, Deserialize)]
pub(super) struct Running {
    #[serde(rename = "sandboxID")]
    pub(super) id: String,
    /// What `envd` wants to see.
    #[serde(rename = "envdAccessToken")]
    pub(super) access_token: Option<String>,
    /// Below which domain it is reached, if not below the usual one.
    pub(super) domain: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    error_code: Option<String>,
}

impl CloudError {
    /// Might the same call work in a moment?
    fn is_passing(&self) -> bool {
        match self {
            Self::Transport(error) => !error.is_builder() && !error.is_decode(),
            Self::Refused { status, code } => {
                matches!(
                    *status,
                    StatusCode::TOO_MANY_REQUESTS
                        | StatusCode::BAD_GATEWAY
                        | StatusCode::SERVICE_UNAVAILABLE
                        | StatusCode::GATEWAY_TIMEOUT
                ) || code.as_deref() == Some("idempotency_in_progress")
            }
            _ => false,
        }
    }

    /// Will no call with the same key ever give the sandbox that it may have made?
    pub(super) fn has_spent_the_key(&self) -> bool {
        let Self::Refused { code: Some(code), .. } = self else { return false };
        matches!(code.as_str(), "idempotency_outcome_unknown" | "idempotency_request_mismatch")
    }
}

impl Api {
    pub(super) fn new(client: Client, settings: Settings) -> Self {
        Self { client, settings }
    }

    /// Makes a sandbox for a session.
    pub(super) async fn create(&self, session: SessionId, key: Uuid, stay: Duration) -> Result<Running, CloudError> {
        let body = json!({
            "templateID": self.settings.template,
            "timeout": stay.as_secs(),
            "autoPause": self.settings.on_timeout == OnTimeout::Pause,
            "metadata": { MARK: session },
        });
        let request = || {
            let request = self.request(Method::POST, self.url(&["v2", "sandboxes"])?);
            Ok(request.header("Idempotency-Key", key.to_string()).json(&body))
        };
        read(self.ask(request).await?).await
    }

    /// Wakes a sandbox if it sleeps, and keeps it for so long from now on.
    pub(super) async fn connect(&self, id: &str, stay: Duration) -> Result<Running, CloudError> {
        let path = ["v2", "sandboxes", id, "connect"];
        let wake = |body| move || Ok(self.request(Method::POST, self.url(&path)?).json(&body));
        let answer = self.ask(wake(json!({"timeout": stay.as_secs()}))).await;
        let answer = match answer {
            // It fell asleep with an `envd` that hung. Its files are there, its processes are not.
            Err(CloudError::Refused { code: Some(code), .. })
                if code == "sandbox_snapshot_guest_agent_unresponsive" =>
            {
                self.ask(wake(json!({"timeout": stay.as_secs(), "memory": false}))).await
            }
            answer => answer,
        };
        read(answer?).await
    }

    /// The sandboxes of a session, those that sleep included.
    pub(super) async fn find(&self, session: SessionId) -> Result<Vec<String>, CloudError> {
        #[derive(Deserialize)]
        struct Listed {
            #[serde(rename = "sandboxID")]
            id: String,
        }
        let mark = format!("{MARK}={session}");
        let (mut found, mut token) = (Vec::new(), None::<String>);
        for _ in 0..MAX_PAGES {
            let request = || {
                let mut url = self.url(&["v2", "sandboxes"])?;
                let mut query = url.query_pairs_mut();
                query.extend_pairs([("metadata", mark.as_str()), ("state", "running,paused"), ("limit", "100")]);
                query.extend_pairs(token.iter().map(|token| ("nextToken", token)));
                drop(query);
                Ok(self.request(Method::GET, url))
            };
            let response = self.ask(request).await?;
            let next = response.headers().get("x-next-token").and_then(|token| token.to_str().ok()).map(str::to_owned);
            let page: Vec<Listed> = read(response).await?;
            found.extend(page.into_iter().map(|listed| listed.id));
            token = next.filter(|next| !next.is_empty());
            if token.is_none() {
                break;
            }
        }
        Ok(found)
    }

    /// Kills a sandbox, if it is there.
    pub(super) async fn kill(&self, id: &str) -> Result<(), CloudError> {
        match self.ask(|| Ok(self.request(Method::DELETE, self.url(&["sandboxes", id])?))).await {
            Ok(_) | Err(CloudError::Gone) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url).header("X-API-KEY", self.settings.key.clone())
    }

    fn url(&self, path: &[&str]) -> Result<Url, CloudError> {
        let mut url = match &self.settings.api_url {
            Some(url) => url.clone(),
            None => Url::parse(&format!("https://api.{}", self.settings.domain))
                .map_err(|_| CloudError::Nonsense("E2B_DOMAIN is no domain"))?,
        };
        // As segments: an id is not to lead elsewhere.
        url.path_segments_mut()
            .map_err(|()| CloudError::Nonsense("E2B_API_URL has no path"))?
            .pop_if_empty()
            .extend(path);
        Ok(url)
    }

    async fn ask(
        &self,
        request: impl Fn() -> Result<RequestBuilder, CloudError> + Send + Sync,
    ) -> Result<Response, CloudError> {
        let ask_once = || async {
            let response = request()?.send().await?;
            if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
        };
        let waits = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(3))
            .with_max_times(RETRIES)
            .with_jitter();
        ask_once.retry(waits).when(CloudError::is_passing).await
    }
}

/// What the API says is for people, and might repeat what is secret; only its word for it is kept.
async fn refusal(response: Response) -> CloudError {
    let status = response.status();
    if status == StatusCode::NOT_FOUND {
        return CloudError::Gone;
    }
    let code = response.json::<Refusal>().await.ok().and_then(|refusal| refusal.error_code);
    let is_word =
        |code: &String| code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    CloudError::Refused { status, code: code.filter(is_word) }
}

async fn read<T: serde::de::DeserializeOwned>(response: Response) -> Result<T, CloudError> {
    Ok(response.json().await?)
}
