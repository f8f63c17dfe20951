//! Which representation the client prefers (RFC 9110, section 12.5.1).
//!
//! Invariant: what is offered first is answered unless something else is preferred to it; nothing is ever refused for its type.

use axum::http::{HeaderMap, header};

/// The place in `offered` of the media type that the client likes best.
pub(crate) fn preferred(headers: &HeaderMap, offered: &[&str]) -> usize {
    let mut best = (0, 0);
    for (place, media_type) in offered.iter().enumerate() {
        let quality = quality(headers, media_type);
        if quality > best.1 {
            best = (place, quality);
        }
    }
    best.0
}

/// In thousandths; everything is liked where nothing is said.
fn quality(headers: &HeaderMap, media_type: &str) -> u16 {
    let mut best: Option<(u8, u16)> = None;
    let mut said = false;
    for line in headers.get_all(header::ACCEPT) {
        said = true;
        for range in line.to_str().unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let exactness = if name.eq_ignore_ascii_case(media_type) {
                2
            } else if name == "*/*" {
                0
            } else if name.strip_suffix("/*").is_some_and(|kind| {
                media_type
                    .split('/')
                    .next()
                    .is_some_and(|k| k.eq_ignore_ascii_case(kind))
            }) {
                1
            } else {
                continue;
            };
            let weight = parts
                .find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")))
                .map_or(Some(1000), thousandths);
            if let Some(weight) = weight
                && best.is_none_or(|(other, _)| exactness > other)
            {
                best = Some((exactness, weight));
            }
        }
    }
    match best {
        Some((_, weight)) => weight,
        None if said => 0,
        None => 1000,
    }
}

/// `0`, `0.5`, `1.000`; nothing else is a weight.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    if rest.len() > 3 || !rest.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let rest: u16 = format!("{rest:0<3}").parse().ok()?;
    match whole {
        "0" => Some(rest),
        "1" if rest == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_type_is_found_and_the_first_one_wins_ties() {
        let offered = ["application/json", "text/html"];
        for (accept, place) in [
            (None, 0),
            (Some("*/*"), 0),
            (Some("application/json"), 0),
            (Some("text/html"), 1),
            (Some("TEXT/HTML"), 1),
            (Some("text/*"), 1),
            (Some("text/html, application/json"), 0),
            (Some("text/html, application/json;q=0.9"), 1),
            (Some("text/html;q=0.1, application/json;q=0.2"), 0),
            (
                Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
                1,
            ),
            (Some("text/html;q=0"), 0),
            (Some("*/*;q=0.5, application/json;q=0.1"), 1),
            (Some("image/png"), 0),
            (Some("text/html;q=nonsense"), 0),
            (Some("text/html;q=1.5"), 0),
            (Some(""), 0),
            (Some(",;,q=1,/*"), 0),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(preferred(&headers, &offered), place, "{accept:?}");
        }
    }
}
