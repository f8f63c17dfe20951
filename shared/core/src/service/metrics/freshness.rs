//! What may be kept of an answer, and for how long.
//!
//! Invariant: two answers of one tag have the same counts. Sealed counts change only under another version, and the tag is made
//! of every version that is read; counts that are not sealed have no tag.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::part::Part;
use super::source::Place;

/// Raised when the same counts are answered in another shape.
const SHAPE: u8 = 1;

/// What may be kept of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshness {
    /// Nothing: some of it may change at any moment.
    Live,
    /// It stands until an hour of it is restated, which this tag tells.
    Sealed(String),
    /// It stands for good: its hours are closed.
    Closed(String),
}

impl Freshness {
    /// The tag, if there is one.
    pub fn tag(&self) -> Option<&str> {
        match self {
            Self::Live => None,
            Self::Sealed(tag) | Self::Closed(tag) => Some(tag),
        }
    }

    pub(super) fn of<'a>(parts: impl Iterator<Item = &'a Part>) -> Self {
        let mut asked = format!("metrics {SHAPE}");
        let mut closed = true;
        for part in parts {
            let standings = &part.layout.standings;
            if !standings.all_final() {
                return Self::Live;
            }
            // Which ads a campaign has is not closed, and a closed hour may be given its placements later.
            closed &= standings.all_closed() && !part.query.group_by.is_of_members();
            // Writing to a string does not fail.
            let _ = write!(asked, "|{:?}|{}|", part.query, part.plan.zone_name);
            for (place, version) in part.layout.versions() {
                let _ = match place {
                    Place::Day(day) => write!(asked, "d{}:{version},", day.0),
                    Place::Hour(hour) => write!(asked, "h{}:{version},", hour.0),
                };
            }
        }
        let digest = Sha256::digest(asked);
        let tag = URL_SAFE_NO_PAD.encode(&digest[..16]);
        if closed {
            Self::Closed(tag)
        } else {
            Self::Sealed(tag)
        }
    }
}
