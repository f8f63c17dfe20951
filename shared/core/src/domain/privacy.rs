//! What a record keeps of a client: a truncated network and keyed hashes, never an address or a user agent.

use std::fmt;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::time::DAY_MS;

/// Hashes client data with a key that changes daily (UTC), so that hashes of two days cannot be joined without the secret.
#[derive(Clone)]
pub struct ClientHasher {
    secret: Hmac<Sha256>,
}

impl fmt::Debug for ClientHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientHasher(…)")
    }
}

impl ClientHasher {
    /// A hasher of this secret.
    pub fn new(secret: &[u8; 32]) -> Self {
        let mut block = [0_u8; 64];
        block[..32].copy_from_slice(secret);
        Self {
            secret: Hmac::new(&block.into()),
        }
    }

    /// 64 bits of HMAC-SHA256 over the day, the kind of data and the data, in 11 characters of base64url.
    pub fn hash(&self, kind: HashedKind, data: &[u8], now_ms: i64) -> String {
        let mut mac = self.secret.clone();
        mac.update(&now_ms.div_euclid(DAY_MS).to_be_bytes());
        mac.update(&[kind as u8]);
        mac.update(data);
        URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..8])
    }
}

/// What is hashed: keeps equal bytes of different kinds apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum HashedKind {
    /// A client's address.
    Client = 1,
    /// A user agent.
    Agent = 2,
}

/// The network of an address: /24 of IPv4 (also of IPv4 mapped into IPv6), /48 of IPv6.
pub fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            format!("{}/48", std::net::Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

/// Bytes of an address, the same for an IPv4 address and its form mapped into IPv6.
pub fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Host of a `Referer`, lower case, without port; `None` for what is no http(s) URL with a domain name.
pub fn referrer_host(referrer: &str) -> Option<String> {
    if referrer.len() > super::ad::MAX_URL_BYTES {
        return None;
    }
    let url = url::Url::parse(referrer)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))?;
    url.domain()
        .filter(|domain| domain.len() <= 253)
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_truncated() {
        assert_eq!(network("203.0.113.77".parse().unwrap()), "203.0.113.0/24");
        assert_eq!(network("::ffff:203.0.113.77".parse().unwrap()), "203.0.113.0/24");
        assert_eq!(network("2001:db8:1:2:3::4".parse().unwrap()), "2001:db8:1::/48");
    }

    #[test]
    fn hashes_change_with_the_day_the_kind_and_the_secret() {
        let hasher = ClientHasher::new(&[1; 32]);
        let hash = hasher.hash(HashedKind::Client, b"x", 0);
        assert_eq!(hash.len(), 11);
        assert_eq!(hash, hasher.hash(HashedKind::Client, b"x", DAY_MS - 1));
        assert_ne!(hash, hasher.hash(HashedKind::Client, b"x", DAY_MS));
        assert_ne!(hash, hasher.hash(HashedKind::Agent, b"x", 0));
        assert_ne!(
            hash,
            ClientHasher::new(&[2; 32]).hash(HashedKind::Client, b"x", 0)
        );
    }

    #[test]
    fn a_referrer_leaves_its_host_only() {
        assert_eq!(
            referrer_host("https://News.Example:8443/a?user=1").as_deref(),
            Some("news.example")
        );
        for bad in [
            "",
            "news.example",
            "javascript:1",
            "file:///x",
            "https://203.0.113.7/",
            &format!("https://{}/", "a".repeat(3000)),
        ] {
            assert_eq!(referrer_host(bad), None, "{bad:?}");
        }
    }
}
