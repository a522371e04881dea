//! Which model answers, and how it is reached.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderValue;
use rustls::crypto::CryptoProvider;

use super::Model;
use super::anthropic::{ANTHROPIC_BASE_URL, Anthropic};
use super::demo::{Demo, Pace};
use super::http;
use super::openai::{OPENAI_BASE_URL, OPENROUTER_BASE_URL, OpenAi};
use super::retry::{RetryPolicy, Retrying};

/// The name of the embedded model.
pub const DEMO: &str = "demo";

/// Whose protocol is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Provider {
    /// Any OpenAI-compatible `/chat/completions`.
    #[default]
    Openai,
    /// Anthropic's `/v1/messages`.
    Anthropic,
}

impl Provider {
    /// The variables that may hold the key, the first one winning.
    const fn key_variables(self) -> &'static [&'static str] {
        match self {
            Self::Openai => &["CHAT_API_KEY", OPEN_ROUTER_KEY, "OPENAI_API_KEY"],
            Self::Anthropic => &["CHAT_API_KEY", "ANTHROPIC_API_KEY"],
        }
    }
}

const OPEN_ROUTER_KEY: &str = "OPEN_ROUTER_API_KEY";

/// A provider's key. Its `Debug` form hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    secret: String,
    variable: &'static str,
}

impl ApiKey {
    /// The key for a provider, from the variables that may hold it; an empty one counts as unset.
    pub fn resolve(provider: Provider, variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        provider.key_variables().iter().find_map(|&name| {
            let secret = variable(name)?.trim().to_owned();
            (!secret.is_empty()).then_some(Self { secret, variable: name })
        })
    }

    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    pub(super) fn header(&self, prefix: &str) -> Result<HeaderValue, ModelConfigError> {
        let value = HeaderValue::from_str(&format!("{prefix}{}", self.secret));
        let mut value = value.map_err(|_| ModelConfigError::ApiKey(self.variable))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("variable", &self.variable).finish_non_exhaustive()
    }
}

/// What it takes to reach a model.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    /// Whose protocol is spoken.
    pub provider: Provider,
    /// Where, if not at the provider's own address.
    pub base_url: Option<String>,
    /// With which key, if one is needed.
    pub api_key: Option<ApiKey>,
    /// How long a provider may stay silent before the call counts as broken.
    pub silence: Duration,
    /// How to go about transient errors.
    pub retry: RetryPolicy,
    /// How much an Anthropic model may think before it answers; `None` for not at all.
    pub thinking_tokens: Option<u32>,
    /// How fast the embedded model speaks.
    pub demo: Pace,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            provider: Provider::default(),
            base_url: None,
            api_key: None,
            silence: Duration::from_mins(2),
            retry: RetryPolicy::default(),
            thinking_tokens: None,
            demo: Pace::default(),
        }
    }
}

/// Why a model cannot be reached with these settings.
#[derive(Debug, thiserror::Error)]
pub enum ModelConfigError {
    /// The base URL is none.
    #[error("CHAT_BASE_URL is not a URL: {0}")]
    BaseUrl(String),
    /// The key holds what no HTTP header may.
    #[error("{0} holds characters that no API key has")]
    ApiKey(&'static str),
    /// No crypto provider was installed in this process.
    #[error("no TLS provider is installed")]
    NoTls,
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be built: {0}")]
    Client(#[from] reqwest::Error),
}

impl ModelConfig {
    /// The model behind a name: the embedded one for `demo`, else the provider, both asked again
    /// after transient errors. One result serves every model name of the provider: a request
    /// carries its own.
    pub fn connect(&self, model: &str) -> Result<Arc<dyn Model>, ModelConfigError> {
        if model == DEMO {
            return Ok(Arc::new(Retrying::new(Demo::new(self.demo), self.retry)));
        }
        // The client would panic.
        if CryptoProvider::get_default().is_none() {
            return Err(ModelConfigError::NoTls);
        }
        let client = http::client(self.silence)?;
        let key = self.api_key.as_ref();
        let base_url = self.base_url();
        Ok(match self.provider {
            Provider::Openai => Arc::new(Retrying::new(OpenAi::new(client, base_url, key)?, self.retry)),
            Provider::Anthropic => {
                let provider = Anthropic::new(client, base_url, key, self.thinking_tokens)?;
                Arc::new(Retrying::new(provider, self.retry))
            }
        })
    }

    fn base_url(&self) -> &str {
        let open_router = self.api_key.as_ref().is_some_and(|key| key.variable == OPEN_ROUTER_KEY);
        match (self.base_url.as_deref().map(str::trim).filter(|url| !url.is_empty()), self.provider) {
            (Some(url), _) => url,
            (None, Provider::Openai) if open_router => OPENROUTER_BASE_URL,
            (None, Provider::Openai) => OPENAI_BASE_URL,
            (None, Provider::Anthropic) => ANTHROPIC_BASE_URL,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(provider: Provider, set: &[(&str, &str)]) -> Option<ApiKey> {
        ApiKey::resolve(provider, |name| {
            set.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn base_url(provider: Provider, set: &[(&str, &str)]) -> String {
        let config = ModelConfig { provider, api_key: key(provider, set), ..ModelConfig::default() };
        config.base_url().to_owned()
    }

    #[test]
    fn the_key_decides_where_to_ask() {
        assert_eq!(base_url(Provider::Openai, &[]), OPENAI_BASE_URL);
        assert_eq!(
            base_url(Provider::Openai, &[("OPENAI_API_KEY", "k"), ("OPEN_ROUTER_API_KEY", "k")]),
            OPENROUTER_BASE_URL
        );
        assert_eq!(base_url(Provider::Openai, &[("CHAT_API_KEY", "k"), ("OPEN_ROUTER_API_KEY", "k")]), OPENAI_BASE_URL);
        assert_eq!(base_url(Provider::Openai, &[("OPEN_ROUTER_API_KEY", " ")]), OPENAI_BASE_URL);
        assert_eq!(base_url(Provider::Anthropic, &[("OPENAI_API_KEY", "k")]), ANTHROPIC_BASE_URL);
        let config = ModelConfig { base_url: Some("http://localhost:1/v1".into()), ..ModelConfig::default() };
        assert_eq!(config.base_url(), "http://localhost:1/v1");
    }

    #[test]
    fn a_provider_gets_only_keys_that_are_meant_for_it() {
        assert!(key(Provider::Anthropic, &[("OPENAI_API_KEY", "k"), ("OPEN_ROUTER_API_KEY", "k")]).is_none());
        assert!(key(Provider::Openai, &[("ANTHROPIC_API_KEY", "k")]).is_none());
    }

    #[test]
    fn a_key_shows_neither_in_debug_output_nor_in_errors() {
        let key = key(Provider::Openai, &[("CHAT_API_KEY", "secret\nvalue")]).unwrap();
        assert!(!format!("{key:?}").contains("secret"));
        let error = key.header("").unwrap_err();
        assert_eq!(error.to_string(), "CHAT_API_KEY holds characters that no API key has");
    }
}
