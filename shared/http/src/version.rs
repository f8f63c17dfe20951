//! Versions of what is stored, as entity tags (RFC 9110, section 13): `"7"`.
//!
//! Invariant: a tag that is not the stored version's, whatever it is, makes a change fail; it never makes it unconditional.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use clickledger_core::service::placements::Expect;

use crate::problem::{Kind, Problem};

/// The version's tag.
pub(crate) fn etag(version: u64) -> (HeaderName, HeaderValue) {
    let tag = HeaderValue::try_from(format!("\"{version}\""));
    // Digits between quotes always are a header's value.
    (header::ETAG, tag.unwrap_or(HeaderValue::from_static("\"0\"")))
}

/// What `If-Match` and `If-None-Match` ask for, given what is stored now.
///
/// # Errors
/// 412 where nothing stored fits; 400 for what is no list of tags.
pub(crate) fn expected(headers: &HeaderMap, stored: Option<u64>) -> Result<Expect, Problem> {
    let conflict = || {
        Problem::new(
            Kind::VersionConflict,
            "the stored version is not the one of If-Match, or there is one in spite of If-None-Match",
        )
    };
    if let Some(tags) = tags(headers, &header::IF_NONE_MATCH)? {
        return match stored {
            None => Ok(Expect::Absent),
            Some(version) if tags.fit(version) => Err(conflict()),
            Some(version) => Ok(Expect::Version(version)),
        };
    }
    match (tags(headers, &header::IF_MATCH)?, stored) {
        (None, _) => Ok(Expect::Any),
        (Some(tags), Some(version)) if tags.fit(version) => Ok(Expect::Version(version)),
        (Some(_), _) => Err(conflict()),
    }
}

enum Tags {
    Any,
    These(Vec<u64>),
}

impl Tags {
    fn fit(&self, version: u64) -> bool {
        match self {
            Self::Any => true,
            Self::These(versions) => versions.contains(&version),
        }
    }
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let refuse = || {
        let reason = "must be entity tags as they came, such as \"7\", or *";
        Problem::parameter(name.as_str().to_owned(), reason)
    };
    let mut found = None;
    for line in headers.get_all(name) {
        let line = line.to_str().map_err(|_| refuse())?.trim();
        if line == "*" {
            return Ok(Some(Tags::Any));
        }
        let versions = found.get_or_insert_with(Vec::new);
        for tag in line.split(',') {
            let tag = tag.trim();
            // A weak tag is compared strongly and so never fits, but it is one.
            let (weak, quoted) = match tag.strip_prefix("W/") {
                Some(rest) => (true, rest),
                None => (false, tag),
            };
            let inner = quoted
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'))
                .filter(|inner| !inner.contains('"'))
                .ok_or_else(refuse)?;
            if let (false, Ok(version)) = (weak, inner.parse::<u64>())
                && version.to_string() == inner
            {
                versions.push(version);
            }
        }
    }
    Ok(found.map(Tags::These))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: HeaderName, value: &str, stored: Option<u64>) -> Result<Expect, Kind> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        expected(&headers, stored).map_err(|problem| problem.kind())
    }

    #[test]
    fn tags_fit_their_own_version_only() {
        use header::{IF_MATCH, IF_NONE_MATCH};
        let conflict = Err(Kind::VersionConflict);
        assert_eq!(
            expected(&HeaderMap::new(), Some(7)).map_err(|p| p.kind()),
            Ok(Expect::Any)
        );
        for (value, stored, wanted) in [
            ("\"7\"", Some(7), Ok(Expect::Version(7))),
            ("\"6\", \"7\"", Some(7), Ok(Expect::Version(7))),
            ("*", Some(7), Ok(Expect::Version(7))),
            ("*", None, conflict),
            ("\"7\"", None, conflict),
            ("\"6\"", Some(7), conflict),
            ("\"07\"", Some(7), conflict),
            ("W/\"7\"", Some(7), conflict),
            ("\"abc\"", Some(7), conflict),
            ("7", Some(7), Err(Kind::InvalidParameter)),
            ("", Some(7), Err(Kind::InvalidParameter)),
            ("\"7", Some(7), Err(Kind::InvalidParameter)),
        ] {
            assert_eq!(asked(IF_MATCH, value, stored), wanted, "{value}");
        }
        for (value, stored, wanted) in [
            ("*", None, Ok(Expect::Absent)),
            ("*", Some(7), conflict),
            ("\"7\"", Some(7), conflict),
            ("\"6\"", Some(7), Ok(Expect::Version(7))),
        ] {
            assert_eq!(asked(IF_NONE_MATCH, value, stored), wanted, "{value}");
        }
    }
}
