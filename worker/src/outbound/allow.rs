//! What may be reached although it is inside: `OUTBOUND_ALLOW`.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use url::Host;

use super::address;

/// An exception from the guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowRule {
    /// One port of one host, whatever its name stands for.
    Endpoint {
        /// The host as URLs have it.
        host: Host,
        /// The port.
        port: u16,
    },
    /// Every port of every address in a network.
    Network(IpNet),
}

/// Neither `host:port` nor a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected host:port, or a network such as 10.1.0.0/16")]
pub struct AllowRuleError;

/// Rules, comma separated; none if empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowList(pub Vec<AllowRule>);

impl FromStr for AllowList {
    type Err = AllowRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').filter(|rule| !rule.trim().is_empty()).map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for AllowRule {
    type Err = AllowRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Ok(network) = text.parse() {
            return Ok(Self::Network(network));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Network(address.into()));
        }
        let (host, port) = text.rsplit_once(':').ok_or(AllowRuleError)?;
        let host = Host::parse(host).map_err(|_| AllowRuleError)?;
        Ok(Self::Endpoint { host, port: port.parse().map_err(|_| AllowRuleError)? })
    }
}

impl AllowRule {
    pub(super) fn allows_endpoint(&self, asked_host: &Host<&str>, asked_port: u16) -> bool {
        match self {
            Self::Endpoint { host, port } => *port == asked_port && host == asked_host,
            Self::Network(_) => false,
        }
    }

    fn allows_address(&self, address: IpAddr) -> bool {
        match self {
            Self::Endpoint { .. } => false,
            Self::Network(network) => network.contains(&address),
        }
    }
}

/// May an address be connected to?
pub(super) fn reaches(rules: &[AllowRule], address: IpAddr) -> bool {
    address::is_public(address) || rules.iter().any(|rule| rule.allows_address(address.to_canonical()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> AllowRule {
        text.parse().unwrap()
    }

    #[test]
    fn rules_are_hosts_with_a_port_or_networks() {
        assert!(rule("Localhost:8080").allows_endpoint(&Host::Domain("localhost"), 8080));
        assert!(!rule("localhost:8080").allows_endpoint(&Host::Domain("localhost"), 8081));
        assert!(rule("127.0.0.1:80").allows_endpoint(&Host::Ipv4([127, 0, 0, 1].into()), 80));
        assert!(rule("[::1]:80").allows_endpoint(&Host::Ipv6(1.into()), 80));
        assert!(reaches(&[rule(" 10.1.0.0/16")], "10.1.2.3".parse().unwrap()));
        assert!(reaches(&[rule("10.1.0.0/16")], "::ffff:10.1.2.3".parse().unwrap()));
        assert!(!reaches(&[rule("10.1.0.0/16")], "10.2.2.3".parse().unwrap()));
        assert!(reaches(&[rule("127.0.0.2")], "127.0.0.2".parse().unwrap()));
        assert!(!reaches(&[rule("127.0.0.1:80")], "127.0.0.1".parse().unwrap()));
        for nonsense in ["", "localhost", "localhost:", "localhost:99999", "10.0.0.0/99", "a b:80", "http://a:80"] {
            assert_eq!(nonsense.parse::<AllowRule>(), Err(AllowRuleError), "{nonsense}");
        }
        assert_eq!("".parse(), Ok(AllowList::default()));
        assert_eq!("a:1, 10.0.0.0/8,".parse(), Ok(AllowList(vec![rule("a:1"), rule("10.0.0.0/8")])));
        assert!("a:1,b".parse::<AllowList>().is_err());
    }
}
