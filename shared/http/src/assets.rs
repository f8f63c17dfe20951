//! Files of pages, from the binary: how they are answered.
//!
//! Invariant: a page may load what its own origin serves and nothing else, and no script or style that stands in its HTML.

use std::io::Write;
use std::sync::OnceLock;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

pub(crate) const HTML: &str = "text/html; charset=utf-8";
pub(crate) const CSS: &str = "text/css; charset=utf-8";
pub(crate) const JS: &str = "text/javascript; charset=utf-8";
pub(crate) const SVG: &str = "image/svg+xml";

/// What a page may do.
pub(crate) const POLICY: (HeaderName, HeaderValue) = (
    header::CONTENT_SECURITY_POLICY,
    HeaderValue::from_static(
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
);

/// The files of uPlot, which draws charts: below which name, the type, and what is in them.
pub(crate) const UPLOT: [(&str, &str, &str); 2] = [
    (
        "uplot/uPlot.iife.min.js",
        JS,
        include_str!("../assets/uplot/uPlot.iife.min.js"),
    ),
    (
        "uplot/uPlot.min.css",
        CSS,
        include_str!("../assets/uplot/uPlot.min.css"),
    ),
];
pub(crate) const ICON: &str = include_str!("../assets/demo/icon.svg");

/// One file, compressed when it is first asked for.
pub(crate) struct Asset {
    media_type: &'static str,
    plain: Bytes,
    gzip: OnceLock<Bytes>,
}

impl Asset {
    pub(crate) fn new(media_type: &'static str, plain: impl Into<Bytes>) -> Self {
        Self {
            media_type,
            plain: plain.into(),
            gzip: OnceLock::new(),
        }
    }

    /// The file, for whom `etag` does not say that it is known; `kept` says how long it may be kept.
    pub(crate) fn answer(&self, request: &HeaderMap, etag: &HeaderValue, kept: &'static str) -> Response {
        let mut response = if known(request, etag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else if takes_gzip(request) {
            let gzip = HeaderValue::from_static("gzip");
            ([(header::CONTENT_ENCODING, gzip)], self.gzip()).into_response()
        } else {
            self.plain.clone().into_response()
        };
        let (policy, says) = POLICY;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
        headers.insert(header::ETAG, etag.clone());
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        headers.insert(policy, says);
        response
    }

    fn gzip(&self) -> Bytes {
        let compressed = self.gzip.get_or_init(|| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            // Writing to memory does not fail.
            let _ = encoder.write_all(&self.plain);
            encoder.finish().unwrap_or_default().into()
        });
        compressed.clone()
    }
}

/// Whether the client has what `etag` names (RFC 9110, section 13.1.2).
fn known(request: &HeaderMap, etag: &HeaderValue) -> bool {
    let given = request.get_all(header::IF_NONE_MATCH).iter();
    given
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|tag| tag.trim())
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes())
}

/// Whether the client reads gzip: named with a weight above 0 (RFC 9110, section 12.5.3).
fn takes_gzip(request: &HeaderMap) -> bool {
    let said = request.get_all(header::ACCEPT_ENCODING).iter();
    said.filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let named = parts
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "*");
            let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            named && weight.is_none_or(|weight| weight.parse::<f32>().is_ok_and(|weight| weight > 0.0))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn gzip_is_sent_only_to_whoever_reads_it() {
        for (accept, takes) in [
            (&[][..], false),
            (&["gzip"][..], true),
            (&["GZip"][..], true),
            (&["br, gzip;q=0.5"][..], true),
            (&["br", "deflate, gzip"][..], true),
            (&["*"][..], true),
            (&["gzip;q=0"][..], false),
            (&["gzip; q=0.000"][..], false),
            (&["gzip;q=x"][..], false),
            (&["identity"][..], false),
            (&["xgzip"][..], false),
            (&[""][..], false),
        ] {
            let headers = said(&header::ACCEPT_ENCODING, accept);
            assert_eq!(takes_gzip(&headers), takes, "{accept:?}");
        }
    }

    #[test]
    fn what_is_known_is_recognised_by_its_tag() {
        let etag = HeaderValue::from_static("\"a1\"");
        for (given, is_known) in [
            (&[][..], false),
            (&["\"a1\""][..], true),
            (&["W/\"a1\""][..], true),
            (&["\"b2\", \"a1\""][..], true),
            (&["\"b2\"", "\"a1\""][..], true),
            (&["*"][..], true),
            (&["a1"][..], false),
            (&["\"a2\""][..], false),
        ] {
            assert_eq!(
                known(&said(&header::IF_NONE_MATCH, given), &etag),
                is_known,
                "{given:?}"
            );
        }
    }

    #[test]
    fn a_compressed_file_is_the_file() {
        let asset = Asset::new(CSS, include_str!("../assets/dashboard/dashboard.css"));
        let mut read = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&asset.gzip()[..]), &mut read)
            .unwrap();
        assert_eq!(read, include_str!("../assets/dashboard/dashboard.css"));
        assert!(asset.gzip().len() < asset.plain.len() / 2);
    }
}
