//! How far sealing an hour has come: what a run leaves for its successor.

use serde::{Deserialize, Serialize};

use crate::domain::manifest::{LakeTotals, Manifest};
use crate::domain::time::Hour;

/// A recount that is being written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Under this version.
    pub(super) version: u64,
    /// The recount.
    pub(super) recount: String,
    /// What it found, `valid` included.
    pub(super) lake: LakeTotals,
    /// Up to which arrival partition it reads (exclusive).
    pub(super) arrivals_end: Hour,
    /// The manifest's revision that it is to follow.
    pub(super) revision: u64,
    /// The rulings that it has seen.
    pub(super) rulings: u64,
    /// How many clicks in the lake are not what their records say.
    pub(super) special: usize,
    /// Gross and valid clicks that were counted before.
    pub(super) counted: (u64, u64),
    /// The next row to be written.
    pub(super) row: u64,
    /// The next slice's number.
    pub(super) slice: u32,
    /// Whether every row is written.
    pub(super) written: bool,
    /// Corrections so far.
    pub(super) corrections: u64,
}

impl Progress {
    pub(super) fn parse(note: Option<&str>) -> Option<Self> {
        serde_json::from_str(note?).ok()
    }

    pub(super) fn to_note(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }

    /// Whether it may be gone on with.
    pub(super) fn follows(&self, base: &Manifest, arrivals_end: Hour) -> bool {
        self.revision == base.revision && self.arrivals_end == arrivals_end
    }
}
