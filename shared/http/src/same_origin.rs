//! Whether a browser sends a request on behalf of our own pages.
//!
//! Invariant: what cannot be told is not ours.

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whose page a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// Ours.
    Own,
    /// Another's, or the user's own address line.
    Other,
    /// Nothing says so: no browser of today, which all say it.
    Unknown,
}

/// What the headers say. `Sec-Fetch-Site` cannot be set by pages; where it is missing, `Origin` must be the host that is asked.
pub(crate) fn from(headers: &HeaderMap) -> From {
    match only(headers, &SEC_FETCH_SITE) {
        Err(Several) => return From::Other,
        Ok(Some(site)) if site == "same-origin" => return From::Own,
        Ok(Some(_)) => return From::Other,
        Ok(None) => {}
    }
    match (only(headers, &header::ORIGIN), only(headers, &header::HOST)) {
        (Ok(None), _) => From::Unknown,
        (Ok(Some(origin)), Ok(Some(host))) if is_of(origin, host) => From::Own,
        _ => From::Other,
    }
}

/// More than one of what may be there once.
pub(crate) struct Several;

/// The only header of this name.
pub(crate) fn only<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, Several> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (first, None) => Ok(first),
        _ => Err(Several),
    }
}

/// Whether this origin is of this host and port. A proxy may speak TLS for us, so the scheme is not known here; its default
/// port is.
fn is_of(origin: &HeaderValue, host: &HeaderValue) -> bool {
    let (Ok(origin), Ok(host)) = (origin.to_str(), host.to_str()) else {
        return false;
    };
    let (authority, default_port) = match origin.split_once("://") {
        Some(("https", authority)) => (authority, 443),
        Some(("http", authority)) => (authority, 80),
        _ => return false,
    };
    let read = |text: &str| {
        let authority: Authority = text.parse().ok().filter(|_| !text.contains('@'))?;
        let port = authority.port_u16().unwrap_or(default_port);
        Some((authority.host().to_ascii_lowercase(), port))
    };
    read(authority).is_some_and(|origin| read(host) == Some(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(headers: &[(&'static str, &'static str)]) -> From {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        from(&map)
    }

    #[test]
    fn the_browsers_own_word_counts_before_the_origin() {
        let host = ("host", "clicks.example");
        for (site, whose) in [
            ("same-origin", From::Own),
            ("same-site", From::Other),
            ("cross-site", From::Other),
            ("none", From::Other),
            ("Same-Origin", From::Other),
            ("", From::Other),
        ] {
            assert_eq!(told(&[host, ("sec-fetch-site", site)]), whose, "{site}");
            let matching = ("origin", "https://clicks.example");
            assert_eq!(told(&[host, ("sec-fetch-site", site), matching]), whose, "{site}");
        }
        let twice = ("sec-fetch-site", "same-origin");
        assert_eq!(told(&[host, twice, twice]), From::Other);
    }

    #[test]
    fn without_it_the_origin_must_be_the_host() {
        for (origin, host, whose) in [
            ("https://clicks.example", "clicks.example", From::Own),
            ("https://clicks.example", "Clicks.Example:443", From::Own),
            ("http://127.0.0.1:8080", "127.0.0.1:8080", From::Own),
            ("http://[::1]:8080", "[::1]:8080", From::Own),
            ("https://clicks.example:8443", "clicks.example", From::Other),
            ("https://clicks.example", "clicks.example:80", From::Other),
            ("https://evil.example", "clicks.example", From::Other),
            (
                "https://clicks.example.evil.example",
                "clicks.example",
                From::Other,
            ),
            (
                "https://clicks.example@evil.example",
                "clicks.example",
                From::Other,
            ),
            (
                "https://evil.example@clicks.example",
                "clicks.example",
                From::Other,
            ),
            ("null", "clicks.example", From::Other),
            ("", "clicks.example", From::Other),
            ("https://", "", From::Other),
            ("file://clicks.example", "clicks.example", From::Other),
        ] {
            assert_eq!(
                told(&[("host", host), ("origin", origin)]),
                whose,
                "{origin} {host}"
            );
        }
        let (host, origin) = (("host", "a.example"), ("origin", "https://a.example"));
        assert_eq!(told(&[host, host, origin]), From::Other);
        assert_eq!(told(&[host, origin, origin]), From::Other);
        assert_eq!(told(&[origin]), From::Other);
        assert_eq!(told(&[host]), From::Unknown);
        assert_eq!(told(&[]), From::Unknown);
    }
}
