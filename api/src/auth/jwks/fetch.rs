//! One fetch of a key set: bounded in time and size, and without detours.

use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Client, redirect};

use super::address::JwksAddress;
use super::{Keys, keys};

/// How long a whole fetch may take; less than a request waits for it.
const FETCH_WITHIN: Duration = Duration::from_secs(5);
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// The largest key set, in bytes: a hundred large keys.
const LARGEST: usize = 256 * 1024;

/// No client for HTTP could be made.
#[derive(Debug, thiserror::Error)]
#[error("JWT_JWKS_URL: no client for HTTP")]
pub struct ClientError(#[source] reqwest::Error);

/// The keys could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the key server cannot be reached")]
    Transport(#[source] reqwest::Error),
    #[error("the key server answered {0}")]
    Status(u16),
    #[error("the key set is larger than {LARGEST} bytes")]
    TooLarge,
    #[error("the answer is no key set")]
    Malformed(#[source] serde_json::Error),
}

pub(super) struct Fetcher {
    client: Client,
    address: JwksAddress,
}

impl Fetcher {
    pub(super) fn new(address: JwksAddress) -> Result<Self, ClientError> {
        if rustls::crypto::ring::default_provider().install_default().is_err() {
            tracing::debug!("the process has a TLS provider already");
        }
        // A redirect could lead from TLS to plain text, or to a host that nobody has named.
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_WITHIN)
            .timeout(FETCH_WITHIN)
            .user_agent(concat!("copilot/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(ClientError)?;
        Ok(Self { client, address })
    }

    pub(super) async fn fetch(&self) -> Result<Keys, FetchError> {
        let request = self.client.get(self.address.url().clone()).header(ACCEPT, "application/json");
        let mut response = request.send().await.map_err(FetchError::Transport)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(FetchError::Transport)? {
            if body.len() + chunk.len() > LARGEST {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        keys::read(&body).map_err(FetchError::Malformed)
    }
}
