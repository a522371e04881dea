//! Requests to addresses that a model or a stranger names. None of them reaches the inside of the
//! network: every connection goes to an address that was looked up once and checked
//! (`usage-tools.md` §7.8), and every redirect is a request of its own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, HeaderMap, LOCATION, USER_AGENT};
use reqwest::{Client, Method, Response, StatusCode, redirect};
use url::{Host, Url};

mod address;
mod allow;
pub mod body;
mod resolver;

pub use allow::{AllowList, AllowRule, AllowRuleError};
pub use resolver::{Lookup, SystemLookup};

use resolver::CheckedResolver;

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 5;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_IDLE_PER_HOST: usize = 2;

/// Headers that may go to another origin than the one they were meant for. Whatever else there is
/// may be a secret.
const HARMLESS: [reqwest::header::HeaderName; 4] = [ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, USER_AGENT];

/// Why an address is not asked. Says nothing of what a name stands for inside the network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// It cannot be read.
    #[error("That is not a valid URL.")]
    NotAUrl,
    /// Another protocol.
    #[error("Only http and https URLs can be reached.")]
    Scheme,
    /// It holds a name or password.
    #[error("A URL must not contain a user name or password.")]
    UserInfo,
    /// Somewhere inside, or nowhere.
    #[error("{0} is not an address on the public internet, so it cannot be reached.")]
    Address(String),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The address is not asked.
    #[error(transparent)]
    Blocked(Blocked),
    /// It was asked in vain.
    #[error("The server could not be reached, or did not answer properly.")]
    Transport(#[source] reqwest::Error),
    /// It sends from one address to the next.
    #[error("The server redirected more than {MAX_REDIRECTS} times.")]
    TooManyRedirects,
}

impl From<reqwest::Error> for OutboundError {
    fn from(error: reqwest::Error) -> Self {
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(cause) = source {
            if let Some(blocked) = cause.downcast_ref::<Blocked>() {
                return Self::Blocked(blocked.clone());
            }
            source = cause.source();
        }
        Self::Transport(error)
    }
}

/// A request that may be sent on.
#[derive(Debug, Clone)]
pub struct Request {
    /// What to do.
    pub method: Method,
    /// Where.
    pub url: Url,
    /// With what. Secrets among them go to the origin of `url` only.
    pub headers: HeaderMap,
    /// What to send.
    pub body: Option<Bytes>,
}

impl Request {
    /// Asks for what is there.
    pub fn get(url: Url) -> Self {
        Self { method: Method::GET, url, headers: HeaderMap::new(), body: None }
    }
}

/// The only way out for what others name. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// Reaches public addresses, and networks that are allowed.
    checked: Client,
    /// Reaches hosts and ports that are allowed by name, wherever they are.
    exempt: Client,
    allow: Arc<[AllowRule]>,
}

impl Outbound {
    /// A way out that also leads to what is allowed.
    pub fn new(allow: AllowList) -> Result<Self, reqwest::Error> {
        Self::with_lookup(allow, Arc::new(SystemLookup))
    }

    /// The same with another way to look names up.
    pub fn with_lookup(allow: AllowList, lookup: Arc<dyn Lookup>) -> Result<Self, reqwest::Error> {
        let allow: Arc<[AllowRule]> = allow.0.into();
        let resolver = CheckedResolver { lookup, allow: Arc::clone(&allow) };
        Ok(Self { checked: client().dns_resolver(resolver).build()?, exempt: client().build()?, allow })
    }

    /// Reads an address, and refuses one that is wrong on its face. What its name stands for is
    /// checked when it is connected to.
    pub fn address(&self, url: &str) -> Result<Url, Blocked> {
        let url = Url::parse(url.trim()).map_err(|_| Blocked::NotAUrl)?;
        self.way_to(&url)?;
        Ok(url)
    }

    /// Sends a request and follows where it is sent on to. The body of the answer is still to come.
    pub async fn send(&self, request: Request) -> Result<Response, OutboundError> {
        let mut request = request;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send_once(&request).await?;
            match redirected(&request, response.status(), response.headers()) {
                Some(next) => request = next?,
                None => return Ok(response),
            }
        }
        Err(OutboundError::TooManyRedirects)
    }

    async fn send_once(&self, request: &Request) -> Result<Response, OutboundError> {
        let client = self.way_to(&request.url).map_err(OutboundError::Blocked)?;
        let mut prepared = client.request(request.method.clone(), request.url.clone()).headers(request.headers.clone());
        if let Some(body) = &request.body {
            prepared = prepared.body(body.clone());
        }
        Ok(prepared.send().await?)
    }

    fn way_to(&self, url: &Url) -> Result<&Client, Blocked> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Blocked::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Blocked::UserInfo);
        }
        let host = url.host().ok_or(Blocked::NotAUrl)?;
        let port = url.port_or_known_default().ok_or(Blocked::NotAUrl)?;
        if self.allow.iter().any(|rule| rule.allows_endpoint(&host, port)) {
            return Ok(&self.exempt);
        }
        // Whatever form it was written in, a numeric host has been read as a number by now.
        let address = match host {
            Host::Ipv4(address) => address.into(),
            Host::Ipv6(address) => address.into(),
            // The resolver checks what it stands for.
            Host::Domain(_) => return Ok(&self.checked),
        };
        if allow::reaches(&self.allow, address) { Ok(&self.checked) } else { Err(Blocked::Address(host.to_string())) }
    }
}

fn client() -> reqwest::ClientBuilder {
    Client::builder()
        // A proxy would look names up again, where nobody checks.
        .no_proxy()
        .redirect(redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
        .user_agent(concat!("copilot/", env!("CARGO_PKG_VERSION")))
}

/// The request that an answer sends on to, if it does.
fn redirected(request: &Request, status: StatusCode, headers: &HeaderMap) -> Option<Result<Request, OutboundError>> {
    let keeps_method = match status.as_u16() {
        301..=303 => matches!(request.method, Method::GET | Method::HEAD),
        307 | 308 => true,
        _ => return None,
    };
    let location = headers.get(LOCATION)?;
    // Servers write UTF-8 where they must not.
    let Some(url) = std::str::from_utf8(location.as_bytes()).ok().and_then(|to| request.url.join(to).ok()) else {
        return Some(Err(OutboundError::Blocked(Blocked::NotAUrl)));
    };
    let mut next = request.clone();
    if url.origin() != request.url.origin() {
        next.headers = request.headers.iter().filter(|(name, _)| HARMLESS.contains(name)).map(owned).collect();
    }
    if !keeps_method {
        next.method = Method::GET;
        next.body = None;
        next.headers.remove(CONTENT_TYPE);
    }
    next.url = url;
    Some(Ok(next))
}

fn owned(
    (name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue),
) -> (reqwest::header::HeaderName, reqwest::header::HeaderValue) {
    (name.clone(), value.clone())
}

#[cfg(test)]
pub(crate) mod tests;
