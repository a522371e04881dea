//! Looks a name up once, for the connection itself: what is checked is what is connected to, so a
//! name that changes its meaning in between (DNS rebinding) gains nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{AllowRule, Blocked, allow};

/// A way to look names up.
pub trait Lookup: Send + Sync + 'static {
    /// Every address of a name.
    fn lookup(&self, host: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>>;
}

/// The system's way.
#[derive(Debug, Clone, Copy)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, host: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        async move { Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect()) }.boxed()
    }
}

/// Gives out addresses that may be connected to, or none.
pub(super) struct CheckedResolver {
    pub(super) lookup: Arc<dyn Lookup>,
    pub(super) allow: Arc<[AllowRule]>,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (lookup, allow) = (Arc::clone(&self.lookup), Arc::clone(&self.allow));
        Box::pin(async move {
            let addresses = lookup.lookup(name.as_str().to_owned()).await?;
            // One that leads inside is enough to distrust the name.
            if addresses.is_empty() || !addresses.iter().all(|&address| allow::reaches(&allow, address)) {
                return Err(Blocked::Address(name.as_str().to_owned()).into());
            }
            // The connector puts the port in.
            let checked: Addrs = Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(checked)
        })
    }
}
