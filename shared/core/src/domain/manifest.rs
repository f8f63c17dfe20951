//! Manifests: what is known of an hour or a day as a whole, and which version of its counts readers see.
//!
//! Invariant: an hour's or day's counts are written under a new version first and become visible by one conditional change of
//! the manifest. In a sealed hour or day an entity without an item has no clicks.

use serde::{Deserialize, Serialize};

use super::time::{Day, Hour};

/// The rules by which verdicts are recounted. A change of them is a new number; which one an hour was counted under is
/// in its manifest.
pub const RULES_VERSION: u32 = 1;

/// What can be said of an hour's counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HourState {
    /// Not proved yet: its counts are the partials.
    #[default]
    Open,
    /// Proved against the lake.
    Sealed,
    /// The proof failed: the lake holds less than was counted. Its counts are what they were before.
    Disputed,
    /// Its bill is settled: its counts change no more; later differences are dated adjustments.
    Closed,
}

impl HourState {
    /// Its name in answers and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Sealed => "sealed",
            Self::Disputed => "disputed",
            Self::Closed => "closed",
        }
    }
}

/// What a recount found in the lake for one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LakeTotals {
    /// Rows, repeats included.
    pub rows: u64,
    /// Clicks: one for each `click_id`.
    pub clicks: u64,
    /// Of these, valid after sealing.
    pub valid: u64,
}

/// An hour as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Which hour (of `clicked_at`).
    pub hour: Hour,
    /// What can be said of it.
    pub state: HourState,
    /// The version of its items that readers see; 0: none, its counts are the partials.
    pub version: u64,
    /// Of a closed hour: the version of a later recount whose differences are recorded as adjustments; 0: none.
    pub adjusted: u64,
    /// The rules of `version`.
    pub rules: u32,
    /// What the lake held for `version`.
    pub lake: LakeTotals,
    /// The last arrival partition that is known to hold clicks of this hour.
    pub last_arrival: Hour,
    /// When `version` became visible, Unix milliseconds; 0: never.
    pub sealed_at_ms: i64,
    /// Rises with every [`flip`](crate::ports::Manifests::flip); 0: never flipped.
    pub revision: u64,
    /// How often live counting has marked the hour dirty.
    pub marks: u64,
    /// How many of these marks are of counts that live counting put into quarantine; the others are of late clicks.
    #[serde(default)]
    pub quarantined: u64,
    /// How many marks `version` has seen.
    pub marks_sealed: u64,
    /// How many rulings on clicks of the hour the last recount has seen: where there are more by now, it is counted anew.
    #[serde(default)]
    pub rulings: u64,
}

impl Manifest {
    /// Of an hour that nobody has looked at yet.
    pub fn open(hour: Hour) -> Self {
        Self {
            hour,
            state: HourState::Open,
            version: 0,
            adjusted: 0,
            rules: 0,
            lake: LakeTotals::default(),
            last_arrival: Hour(hour.0 + 1),
            sealed_at_ms: 0,
            revision: 0,
            marks: 0,
            quarantined: 0,
            marks_sealed: 0,
            rulings: 0,
        }
    }

    /// Whether readers take its counts from sealed items.
    pub fn is_sealed(&self) -> bool {
        self.version > 0
    }

    /// Whether a flip from here to there takes the sealed day of the hour from readers: its counts are others, or no longer
    /// sure.
    pub fn sets_day_aside(&self, flipped: &Manifest) -> bool {
        let is_disputed = |manifest: &Manifest| manifest.state == HourState::Disputed;
        self.version != flipped.version || is_disputed(flipped) && !is_disputed(self)
    }

    /// Whether it is sealed, and clicks are known that will change it. What is closed changes no more.
    pub fn is_provisional(&self) -> bool {
        self.is_sealed() && self.state != HourState::Closed && self.is_dirty()
    }

    /// Whether live counting left out clicks of it that no sealing has counted yet.
    pub fn is_dirty(&self) -> bool {
        self.marks > self.marks_sealed
    }
}

/// A UTC day as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayManifest {
    /// Which day.
    pub day: Day,
    /// The version of its items that readers see; 0: none, its counts are its hours'.
    pub version: u64,
    /// Rises whenever the version of one of its hours changes, which also sets `version` to 0, in the same step.
    pub generation: u64,
}

impl DayManifest {
    /// Of a day of which no hour is sealed.
    pub fn open(day: Day) -> Self {
        Self {
            day,
            version: 0,
            generation: 0,
        }
    }
}
