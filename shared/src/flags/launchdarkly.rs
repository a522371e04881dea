//! Flags of LaunchDarkly, through its own client: it keeps all flags in memory and hears of each
//! change, so that a look at one costs no request. While it has heard nothing, no flag has a value.

use launchdarkly_server_sdk::{
    BuildError, Client, ConfigBuildError, ConfigBuilder, ContextBuilder, ServiceEndpointsBuilder,
};
use serde_json::Value;

use super::FlagProvider;
use crate::id::UserId;

/// The client.
pub struct LaunchDarkly {
    client: Client,
}

impl LaunchDarkly {
    /// Begins to connect, to LaunchDarkly or to a relay of it, on the current runtime; it goes on
    /// trying for ever.
    pub fn connect(sdk_key: &str, relay: Option<&str>) -> Result<Self, LaunchDarklyError> {
        let mut config = ConfigBuilder::new(sdk_key);
        if let Some(relay) = relay {
            config = config.service_endpoints(ServiceEndpointsBuilder::new().relay_proxy(relay));
        }
        let client = Client::build(config.build()?)?;
        client.start_with_default_executor();
        Ok(Self { client })
    }
}

/// The client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum LaunchDarklyError {
    /// The settings make no sense.
    #[error("the LaunchDarkly client cannot be configured")]
    Config(#[from] ConfigBuildError),
    /// It does not start.
    #[error("the LaunchDarkly client cannot be built")]
    Build(#[from] BuildError),
}

impl FlagProvider for LaunchDarkly {
    fn value(&self, flag: &str, user: &UserId) -> Option<Value> {
        let context = ContextBuilder::new(user.as_str()).build().ok()?;
        let value = self.client.json_variation(&context, flag, Value::Null);
        (!value.is_null()).then_some(value)
    }
}
