//! Who a request comes from: the peer's own address, or what a trusted proxy says of it.
//!
//! Invariant: no header says anything about a client unless it comes with the trusted proxy's secret, and of a list of addresses
//! only those entries count that trusted proxies have added.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderName, header, request::Parts};
use clickledger_core::domain::country::Country;
use subtle::ConstantTimeEq;

use crate::config::EdgeConfig;

/// A proxy whose word is taken.
#[derive(Debug, Clone)]
pub struct TrustedProxy {
    /// How many trusted proxies stand before us, each of which adds one address to the list: the client's is the one that the
    /// farthest of them added. At least 1.
    pub hops: u8,
    /// The header that brings the secret. The proxy must replace it if a client sends one.
    pub secret_header: HeaderName,
    /// The secret.
    pub secret: ProxySecret,
    /// Where the list of addresses stands.
    pub forwarding: Forwarding,
}

/// Which header brings the addresses. Only one is read: a proxy passes on what it doesn't write itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Forwarding {
    /// `X-Forwarded-For: client, proxy`
    #[default]
    XForwardedFor,
    /// `Forwarded: for=client;proto=https, for=proxy` (RFC 7239)
    Forwarded,
}

/// What only the trusted proxy and we know.
#[derive(Clone)]
pub struct ProxySecret(Box<[u8]>);

impl ProxySecret {
    /// A secret of at least 16 bytes.
    pub fn new(secret: &str) -> Option<Self> {
        (secret.len() >= 16).then(|| Self(secret.as_bytes().into()))
    }
}

impl fmt::Debug for ProxySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxySecret(…)")
    }
}

/// What is known of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) address: Option<IpAddr>,
    pub(crate) country: Country,
}

impl Client {
    pub(crate) fn of(config: &EdgeConfig, request: &Parts) -> Self {
        let headers = &request.headers;
        match &config.trusted_proxy {
            Some(proxy) if proxy.speaks(headers) => Self {
                address: proxy.client(headers),
                country: headers
                    .get(&config.country_header)
                    .and_then(|value| value.to_str().ok())
                    .map_or(Country::ZZ, Country::from_untrusted),
            },
            _ => Self {
                address: peer(request).map(|peer| peer.ip()),
                country: Country::ZZ,
            },
        }
    }
}

/// The other end of the connection, where the server says.
pub(crate) fn peer(request: &Parts) -> Option<SocketAddr> {
    let ConnectInfo(peer) = request.extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(*peer)
}

impl TrustedProxy {
    /// Whether the request comes from this proxy: exactly one secret, the right one.
    fn speaks(&self, headers: &HeaderMap) -> bool {
        let mut secrets = headers.get_all(&self.secret_header).iter();
        match (secrets.next(), secrets.next()) {
            (Some(secret), None) => bool::from(secret.as_bytes().ct_eq(&self.secret.0)),
            _ => false,
        }
    }

    fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let (name, parse): (_, fn(&str) -> Option<IpAddr>) = match self.forwarding {
            Forwarding::XForwardedFor => (HeaderName::from_static("x-forwarded-for"), address),
            Forwarding::Forwarded => (header::FORWARDED, forwarded_for),
        };
        // From the right: what stands left of the trusted proxies' own entries is whatever the client sent.
        headers
            .get_all(name)
            .iter()
            .rev()
            .flat_map(|line| line.to_str().unwrap_or_default().rsplit(','))
            .nth(usize::from(self.hops.max(1)) - 1)
            .and_then(|entry| parse(entry.trim()))
    }
}

/// An address, perhaps with a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    text.parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
        .or_else(|| {
            text.strip_prefix('[')?
                .strip_suffix(']')?
                .parse()
                .ok()
                .map(IpAddr::V6)
        })
}

/// The address of `for` in one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        let value = value.trim_matches('"');
        name.eq_ignore_ascii_case("for").then(|| address(value))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_spelling_that_proxies_use() {
        let v4: IpAddr = "192.0.2.1".parse().unwrap();
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        for (text, found) in [
            ("192.0.2.1", Some(v4)),
            ("192.0.2.1:8080", Some(v4)),
            ("2001:db8::1", Some(v6)),
            ("[2001:db8::1]", Some(v6)),
            ("[2001:db8::1]:443", Some(v6)),
            ("", None),
            ("unknown", None),
            ("_hidden", None),
            ("192.0.2.1, 1.1.1.1", None),
            ("0x7f.1", None),
        ] {
            assert_eq!(address(text), found, "{text:?}");
        }
        assert_eq!(forwarded_for("proto=https;For=\"[2001:db8::1]:4711\""), Some(v6));
        assert_eq!(forwarded_for("for=192.0.2.1"), Some(v4));
        assert_eq!(forwarded_for("by=192.0.2.1"), None);
    }
}
