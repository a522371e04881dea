//! Whether commands run outside, and where. Where the SDKs of E2B have a variable, it has its name.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use copilot_shared::store::Store;
use reqwest::header::HeaderValue;
use url::Url;

use super::Cloud;

/// The key of the API. Shown to nobody.
#[derive(Clone)]
pub struct CloudKey(HeaderValue);

impl FromStr for CloudKey {
    type Err = reqwest::header::InvalidHeaderValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut value = HeaderValue::from_str(text.trim())?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl fmt::Debug for CloudKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CloudKey")
    }
}

/// What becomes of a sandbox that was not used for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnTimeout {
    /// It sleeps, and keeps its files.
    Pause,
    /// It goes, with its files.
    Kill,
}

/// Sandboxes outside.
#[derive(Debug, Clone, Args)]
pub struct CloudArgs {
    /// The key of E2B, whose sandboxes `bash_exec` then uses; without it commands run in bubblewrap
    /// on this machine
    #[arg(long, env, hide_env_values = true)]
    pub e2b_api_key: Option<CloudKey>,
    /// The domain of E2B, or of a system of one's own that speaks its protocol
    #[arg(long, env, hide_env_values = true, default_value = "e2b.app", value_parser = domain)]
    pub e2b_domain: String,
    /// Where its API is; at `https://api.` and the domain if unset
    #[arg(long, env, hide_env_values = true)]
    pub e2b_api_url: Option<Url>,
    /// Where all sandboxes are reached; each has a host of its own below the domain if unset
    #[arg(long, env, hide_env_values = true)]
    pub e2b_sandbox_url: Option<Url>,
    /// What sandboxes are made of
    #[arg(long, env, hide_env_values = true, default_value = "base")]
    pub e2b_template: String,
    /// Seconds that a sandbox runs after the beginning of its last command; one that takes longer
    /// keeps it running
    #[arg(long, env, hide_env_values = true, default_value_t = 420, value_parser = clap::value_parser!(u32).range(30..=86_400))]
    pub e2b_timeout_seconds: u32,
    /// What becomes of it then; one that sleeps is killed SANDBOX_KEEP_HOURS after its last command
    #[arg(long, env, hide_env_values = true, value_enum, default_value_t = OnTimeout::Pause)]
    pub e2b_on_timeout: OnTimeout,
}

impl CloudArgs {
    /// The sandboxes outside, if there are any. `keep` is how long an unused one stays.
    pub fn cloud(&self, store: Store, keep: Duration) -> Result<Option<Cloud>, reqwest::Error> {
        let Some(key) = self.e2b_api_key.as_ref().filter(|key| !key.0.is_empty()) else { return Ok(None) };
        let settings = Settings {
            key: key.0.clone(),
            domain: self.e2b_domain.clone(),
            api_url: self.e2b_api_url.clone(),
            sandbox_url: self.e2b_sandbox_url.clone(),
            template: self.e2b_template.clone(),
            timeout: Duration::from_secs(u64::from(self.e2b_timeout_seconds)),
            on_timeout: self.e2b_on_timeout,
            keep,
        };
        Cloud::new(settings, store).map(Some)
    }
}

fn domain(text: &str) -> Result<String, &'static str> {
    let url = Url::parse(&format!("https://api.{text}")).ok();
    let is_host =
        !text.is_empty() && url.as_ref().and_then(Url::host_str).is_some_and(|host| host == format!("api.{text}"));
    if is_host { Ok(text.to_owned()) } else { Err("this is no domain, such as e2b.app") }
}

/// What the sandboxes are, and where.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// The key, which is not shown.
    pub(super) key: HeaderValue,
    pub(super) domain: String,
    pub(super) api_url: Option<Url>,
    pub(super) sandbox_url: Option<Url>,
    pub(super) template: String,
    /// How long a sandbox runs after its last use.
    pub(super) timeout: Duration,
    pub(super) on_timeout: OnTimeout,
    /// How long one stays after its last use, running or not.
    pub(super) keep: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_host_and_nothing_more() {
        assert_eq!(domain("e2b.example.org").unwrap(), "e2b.example.org");
        for text in ["", "https://e2b.app", "e2b.app/v2", "e2b.app:80", "user@e2b.app", "E2B.app", "a b"] {
            assert!(domain(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_key_is_shown_to_nobody() {
        let key: CloudKey = " e2b_secret ".parse().unwrap();
        assert_eq!(format!("{key:?} {:?}", key.0), "CloudKey Sensitive");
        assert!("e2b\nX-Other: 1".parse::<CloudKey>().is_err());
    }
}
