//! Cursors: where a page ended, as an opaque text.
//!
//! 33 bytes, 44 characters of base64url without padding or spare bits: version, fingerprint of the query (8 bytes), the
//! last row's start in Unix minutes (8), its group (8), check (8).
//!
//! Invariant: a text that is not exactly what [`encode`] made for the same query is refused. A cursor gives no right to
//! anything (it only names a place in what its bearer may ask for), so the check is not keyed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::query::MetricsQuery;

const VERSION: u8 = 2;
const LENGTH: usize = 33;
const CHECKED: usize = 25;

/// Tells one query from another; the page's size and cursor are not part of it.
pub(super) type Fingerprint = [u8; 8];

/// The last row of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// Its start, Unix minutes.
    pub(super) start: i64,
    /// Its group, or its ad's or placement's id; 0 without a breakdown.
    pub(super) group: u64,
}

/// Why a text is no cursor here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadCursor {
    #[error("is not a cursor of this API; pass next_cursor as it came, or none to begin at the first page")]
    NotOurs,
    #[error("belongs to another query; only limit may change from page to page, and compare is left out")]
    OfAnotherQuery,
}

pub(super) fn fingerprint(query: &MetricsQuery, zone_name: &str) -> Fingerprint {
    let MetricsQuery {
        entity,
        from_ms,
        to_ms,
        granularity,
        group_by,
        window,
        time_zone: _,
        filter,
        metrics,
        order,
        // The answer beside it is the first page's alone, and an ad that is new shifts no row of another.
        compare: _,
        ads: _,
        limit: _,
        cursor: _,
    } = query;
    let window = window.map(|window| window.to_string()).unwrap_or_default();
    let asked = format!(
        "{entity}|{from_ms}|{to_ms}|{}|{}|{window}|{zone_name}|{filter:?}|{metrics:?}|{order:?}",
        granularity.as_str(),
        group_by.columns().join(",")
    );
    first_8(Sha256::digest(asked).as_slice())
}

pub(super) fn encode(fingerprint: Fingerprint, position: Position) -> String {
    let mut bytes = [0_u8; LENGTH];
    bytes[0] = VERSION;
    bytes[1..9].copy_from_slice(&fingerprint);
    bytes[9..17].copy_from_slice(&position.start.to_be_bytes());
    bytes[17..CHECKED].copy_from_slice(&position.group.to_be_bytes());
    let check = check(&bytes);
    bytes[CHECKED..].copy_from_slice(&check);
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn decode(text: &str, fingerprint: Fingerprint) -> Result<Position, BadCursor> {
    let mut bytes = [0_u8; LENGTH];
    match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
        Ok(LENGTH) if bytes[0] == VERSION && bytes[CHECKED..] == check(&bytes) => {}
        _ => return Err(BadCursor::NotOurs),
    }
    if bytes[1..9] != fingerprint {
        return Err(BadCursor::OfAnotherQuery);
    }
    let start = i64::from_be_bytes(first_8(&bytes[9..]));
    Ok(Position {
        start,
        group: u64::from_be_bytes(first_8(&bytes[17..])),
    })
}

fn check(bytes: &[u8; LENGTH]) -> [u8; 8] {
    first_8(
        Sha256::new()
            .chain_update(b"metrics cursor")
            .chain_update(&bytes[..CHECKED])
            .finalize()
            .as_slice(),
    )
}

fn first_8(bytes: &[u8]) -> [u8; 8] {
    std::array::from_fn(|i| bytes[i])
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: Fingerprint = [7; 8];
    const POSITION: Position = Position {
        start: 29_455_200,
        group: 0x0138_0000_0000_0007,
    };

    #[test]
    fn a_cursor_brings_its_position_back_for_its_own_query_only() {
        let text = encode(QUERY, POSITION);
        assert_eq!(text.len(), 44);
        assert_eq!(decode(&text, QUERY), Ok(POSITION));
        assert_eq!(decode(&text, [8; 8]), Err(BadCursor::OfAnotherQuery));
    }

    #[test]
    fn every_flipped_bit_and_every_other_length_is_refused() {
        let text = encode(QUERY, POSITION);
        for bit in 0..text.len() * 8 {
            let mut changed = text.clone().into_bytes();
            changed[bit / 8] ^= 1 << (bit % 8);
            if let Ok(changed) = String::from_utf8(changed) {
                assert_eq!(decode(&changed, QUERY), Err(BadCursor::NotOurs), "bit {bit}");
            }
        }
        for length in 0..=200 {
            let cut: String = text.chars().cycle().take(length).collect();
            assert_eq!(decode(&cut, QUERY).is_ok(), length == text.len(), "{length}");
        }
        assert_eq!(decode("ä", QUERY), Err(BadCursor::NotOurs));
    }
}
