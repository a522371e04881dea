//! What runs in each sandbox and is spoken to: `envd`, which starts processes and has the files.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::CloudError;
use super::api::Running;
use super::config::Settings;
use super::frames::{Frames, Problem, enveloped};

/// The port of `envd`.
const PORT: &str = "49983";

/// The user that commands run as.
pub(super) const USER: &str = "user";

/// The directory that they begin in.
pub(super) const HOME: &str = "/home/user";

/// How long `envd` may take for something short.
const SHORT: Duration = Duration::from_secs(10);

/// `envd` of one sandbox.
#[derive(Debug, Clone)]
pub(super) struct Envd(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    url: Url,
    headers: HeaderMap,
}

/// What a process says.
#[derive(Debug, Deserialize)]
pub(super) struct Message {
    #[serde(default)]
    pub(super) event: Event,
}

/// One of these; none in a sign of life.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Event {
    pub(super) start: Option<Start>,
    pub(super) data: Option<Data>,
    pub(super) end: Option<End>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Start {
    pub(super) pid: u32,
}

/// In base64.
#[derive(Debug, Deserialize)]
pub(super) struct Data {
    pub(super) stdout: Option<String>,
    pub(super) stderr: Option<String>,
}

/// What is 0 or false is left out.
#[derive(Debug, Deserialize)]
pub(super) struct End {
    #[serde(default, rename = "exitCode")]
    pub(super) exit_code: i32,
    /// Or was it killed?
    #[serde(default)]
    pub(super) exited: bool,
}

impl Envd {
    /// That of a running sandbox.
    pub(super) fn new(client: Client, settings: &Settings, running: &Running) -> Result<Self, CloudError> {
        let domain = running.domain.as_deref().filter(|domain| !domain.is_empty()).unwrap_or(&settings.domain);
        let url = match &settings.sandbox_url {
            Some(url) => url.clone(),
            None => Url::parse(&format!("https://{PORT}-{}.{domain}", running.id))
                .map_err(|_| CloudError::Nonsense("a sandbox has no host"))?,
        };
        let value =
            |text: &str| HeaderValue::from_str(text).map_err(|_| CloudError::Nonsense("a header cannot be sent"));
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value(&format!("Basic {}", STANDARD.encode(format!("{USER}:"))))?);
        // Which sandbox is meant where they share a host.
        headers.insert(HeaderName::from_static("e2b-sandbox-id"), value(&running.id)?);
        headers.insert(HeaderName::from_static("e2b-sandbox-port"), HeaderValue::from_static(PORT));
        if let Some(token) = running.access_token.as_deref().filter(|token| !token.is_empty()) {
            let mut token = value(token)?;
            token.set_sensitive(true);
            headers.insert(HeaderName::from_static("x-access-token"), token);
        }
        Ok(Self(Arc::new(Inner { client, url, headers })))
    }

    /// Starts a process that is told things on its stdin.
    pub(super) async fn start(
        &self,
        program: &str,
        arguments: &[&str],
        patience: Duration,
    ) -> Result<Frames, CloudError> {
        let process = json!({"cmd": program, "args": arguments, "cwd": HOME});
        let request = self
            .request(Method::POST, self.url(&["process.Process", "Start"])?)
            .header(CONTENT_TYPE, "application/connect+json")
            .header("connect-protocol-version", "1")
            // After this `envd` kills it by itself.
            .header("connect-timeout-ms", patience.as_millis().to_string())
            .header("keepalive-ping-interval", "20")
            .body(enveloped(&json!({"process": process, "stdin": true})));
        Ok(Frames::of(checked(request.send().await?).await?))
    }

    /// Says something to a process.
    pub(super) async fn tell(&self, pid: u32, words: &str) -> Result<(), CloudError> {
        let body = json!({"process": {"pid": pid}, "input": {"stdin": STANDARD.encode(words)}});
        self.call("process.Process", "SendInput", &body).await.map(|_| ())
    }

    /// Calls a procedure that has one answer.
    pub(super) async fn call(&self, service: &str, procedure: &str, body: &Value) -> Result<Value, CloudError> {
        let request = self.request(Method::POST, self.url(&[service, procedure])?).timeout(SHORT);
        let response = checked(request.header("connect-protocol-version", "1").json(body).send().await?).await?;
        Ok(response.json().await?)
    }

    /// A request for a file.
    pub(super) fn file(&self, method: Method, path: &str) -> Result<RequestBuilder, CloudError> {
        let mut url = self.url(&["files"])?;
        url.query_pairs_mut().extend_pairs([("path", path), ("username", USER)]);
        Ok(self.request(method, url))
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.0.client.request(method, url).headers(self.0.headers.clone())
    }

    fn url(&self, path: &[&str]) -> Result<Url, CloudError> {
        let mut url = self.0.url.clone();
        url.path_segments_mut()
            .map_err(|()| CloudError::Nonsense("E2B_SANDBOX_URL has no path"))?
            .pop_if_empty()
            .extend(path);
        Ok(url)
    }
}

/// An answer that says yes.
pub(super) async fn checked(response: Response) -> Result<Response, CloudError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    match response.json::<Problem>().await {
        Ok(problem) => Err(problem.into_error(status)),
        // Nobody is there who speaks the protocol.
        Err(_) if status == StatusCode::BAD_GATEWAY => Err(CloudError::Gone),
        Err(_) => Err(CloudError::Refused { status, code: None }),
    }
}
