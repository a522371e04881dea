//! Any OpenAI-compatible `/chat/completions`: OpenAI, OpenRouter, vLLM, llama.cpp and many more.

mod calls;
mod content;
mod request;
mod stream;

use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Client, Url};

use self::request::OutputLimit;
use self::stream::ChatDecoder;
use super::config::{ApiKey, ModelConfigError};
use super::http::{self, Endpoint};
use super::{Model, ModelRequest, ModelStream};

/// Where OpenAI itself listens.
pub const OPENAI_BASE_URL: &str = "https://api.openai.com/v1";
/// Where OpenRouter listens.
pub const OPENROUTER_BASE_URL: &str = "https://openrouter.ai/api/v1";

/// A provider that speaks OpenAI's chat completions.
#[derive(Debug)]
pub struct OpenAi {
    endpoint: Arc<Endpoint>,
    limit: OutputLimit,
}

impl OpenAi {
    /// A provider at `base_url`, which ends with the version (`…/v1`).
    pub fn new(client: Client, base_url: &str, key: Option<&ApiKey>) -> Result<Self, ModelConfigError> {
        let url = format!("{}/chat/completions", base_url.trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|error| ModelConfigError::BaseUrl(error.to_string()))?;
        let limit = OutputLimit::at(&url);
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            headers.insert(AUTHORIZATION, key.header("Bearer ")?);
        }
        let secret = key.map(|key| key.secret().to_owned()).unwrap_or_default();
        Ok(Self { endpoint: Arc::new(Endpoint::new(client, url, headers, secret)), limit })
    }
}

impl Model for OpenAi {
    fn stream(&self, request: ModelRequest) -> ModelStream {
        let body = request::body(&request, self.limit);
        http::call(Arc::clone(&self.endpoint), body, ChatDecoder::default())
    }
}
