//! Where keys may be read from: over a connection that nobody can write into.

use std::net::IpAddr;

use reqwest::Url;

/// The address of a key set.
#[derive(Debug, Clone)]
pub struct JwksAddress(Url);

/// Which connections are good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TLS, and anything on this machine.
    Secure,
    /// Plain HTTP to any host too.
    AlsoPlain,
}

/// It is no such address.
#[derive(Debug, thiserror::Error)]
pub enum JwksAddressError {
    /// It cannot be read.
    #[error("JWT_JWKS_URL is no address of a key set; one looks like https://example.org/.well-known/jwks.json")]
    Malformed,
    /// Anybody on the way could put keys of their own into the set.
    #[error("JWT_JWKS_URL must be https, unless its host is this machine or JWKS_ALLOW_INSECURE_TRANSPORT is set")]
    Plain,
}

impl JwksAddress {
    /// Accepts `https`, and `http` on loopback or where that is allowed.
    pub fn parse(text: &str, transport: Transport) -> Result<Self, JwksAddressError> {
        let url: Url = text.trim().parse().map_err(|_| JwksAddressError::Malformed)?;
        let host = url.host_str().ok_or(JwksAddressError::Malformed)?;
        match url.scheme() {
            "https" => Ok(Self(url)),
            "http" if transport == Transport::AlsoPlain || is_this_machine(host) => Ok(Self(url)),
            "http" => Err(JwksAddressError::Plain),
            _ => Err(JwksAddressError::Malformed),
        }
    }

    pub(super) fn url(&self) -> &Url {
        &self.0
    }
}

fn is_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<JwksAddress, JwksAddressError> {
        JwksAddress::parse(text, Transport::Secure)
    }

    #[test]
    fn plain_http_stays_on_this_machine_unless_more_is_allowed() {
        for good in ["https://id.example/jwks", "http://localhost:1/x", "http://127.8.9.1/x", "http://[::1]:80/x"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in
            ["http://id.example/jwks", "http://localhost.example/x", "http://10.0.0.1/x", "http://127.0.0.1.nip.io/"]
        {
            assert!(matches!(parse(bad), Err(JwksAddressError::Plain)), "{bad}");
            assert!(JwksAddress::parse(bad, Transport::AlsoPlain).is_ok(), "{bad}");
        }
        for bad in ["", "nonsense", "file:///etc/jwks", "ftp://id.example/x", "https://"] {
            assert!(matches!(parse(bad), Err(JwksAddressError::Malformed)), "{bad}");
        }
    }
}
