//! Anthropic's `/v1/messages`.

mod request;
mod stream;

use std::sync::Arc;

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Url};

use self::stream::MessageDecoder;
use super::config::{ApiKey, ModelConfigError};
use super::http::{self, Endpoint};
use super::{Model, ModelRequest, ModelStream};

/// Where Anthropic listens.
pub const ANTHROPIC_BASE_URL: &str = "https://api.anthropic.com";
const VERSION: &str = "2023-06-01";

/// A provider that speaks Anthropic's messages.
#[derive(Debug)]
pub struct Anthropic {
    endpoint: Arc<Endpoint>,
    thinking_tokens: Option<u32>,
}

impl Anthropic {
    /// A provider at `base_url`, without the version. `thinking_tokens` lets the model think first.
    pub fn new(
        client: Client,
        base_url: &str,
        key: Option<&ApiKey>,
        thinking_tokens: Option<u32>,
    ) -> Result<Self, ModelConfigError> {
        let base = base_url.trim_end_matches('/').trim_end_matches("/v1");
        let url = Url::parse(&format!("{base}/v1/messages"));
        let url = url.map_err(|error| ModelConfigError::BaseUrl(error.to_string()))?;
        let mut headers = HeaderMap::new();
        headers.insert("anthropic-version", HeaderValue::from_static(VERSION));
        if let Some(key) = key {
            headers.insert("x-api-key", key.header("")?);
        }
        let secret = key.map(|key| key.secret().to_owned()).unwrap_or_default();
        Ok(Self { endpoint: Arc::new(Endpoint::new(client, url, headers, secret)), thinking_tokens })
    }
}

impl Model for Anthropic {
    fn stream(&self, request: ModelRequest) -> ModelStream {
        let body = request::body(&request, self.thinking_tokens);
        http::call(Arc::clone(&self.endpoint), body, MessageDecoder::default())
    }
}
