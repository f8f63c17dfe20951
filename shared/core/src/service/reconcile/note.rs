//! How far sealing an hour has come: what a run leaves for its successor.

use serde::{Deserialize, Serialize};

use crate::domain::manifest::{LakeTotals, Manifest};
use crate::domain::time::{HOUR_MS, Hour};

/// For how long a recount is gone on with: a run that died is followed within minutes.
const LIFE_MS: i64 = HOUR_MS;

/// Which recounts a run may go on with that another one began. What an hour lacks that came late is looked for by the daily
/// run of its arrival and by no other, and what somebody has put back by who restates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TakesUp {
    /// Any of the hour as it is.
    Any,
    /// Those that were begun when the lake was proved complete up to this time, Unix milliseconds.
    ProvedTo(i64),
    /// Those that were begun at or after this time, Unix milliseconds.
    Since(i64),
    /// None.
    None,
}

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
    /// The late clicks that had marked the hour.
    pub(super) marks: u64,
    /// When it was begun, Unix milliseconds.
    pub(super) begun_ms: i64,
    /// Up to when the lake was proved complete then, Unix milliseconds; 0: for the hour itself alone.
    pub(super) proved_ms: i64,
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

    /// Whether it may be gone on with: nothing that this run must have seen has come since.
    pub(super) fn follows(
        &self,
        base: &Manifest,
        arrivals_end: Hour,
        takes_up: TakesUp,
        now_ms: i64,
    ) -> bool {
        (self.revision, self.marks) == (base.revision, base.marks)
            && self.arrivals_end == arrivals_end
            && match takes_up {
                TakesUp::Any => true,
                TakesUp::ProvedTo(cut_ms) => self.proved_ms >= cut_ms,
                TakesUp::Since(from_ms) => self.begun_ms >= from_ms,
                TakesUp::None => false,
            }
            && now_ms - self.begun_ms <= LIFE_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restatement_goes_on_with_what_was_begun_since_it_was_asked_for() {
        let hour = Hour(490_920);
        let base = Manifest::open(hour);
        let progress = Progress {
            version: 3,
            recount: "r".to_owned(),
            lake: LakeTotals::default(),
            arrivals_end: hour,
            revision: base.revision,
            marks: base.marks,
            begun_ms: 5_000,
            proved_ms: 0,
            rulings: 0,
            special: 0,
            counted: (0, 0),
            row: 0,
            slice: 0,
            written: false,
            corrections: 0,
        };
        let follows = |takes_up| progress.follows(&base, hour, takes_up, 6_000);
        assert!(follows(TakesUp::Since(5_000)) && follows(TakesUp::Any));
        assert!(!follows(TakesUp::Since(5_001)) && !follows(TakesUp::None));
        assert!(!progress.follows(&base, hour, TakesUp::Since(0), 5_001 + LIFE_MS));
    }
}
