//! Corrections and reports: what sealing changed, and what each run found.

use serde::{Deserialize, Serialize};

use super::counter::Counters;
use super::entity::Entity;
use super::manifest::{HourState, LakeTotals};
use super::time::{Hour, Minute};

/// Why a count was changed, where it can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Clicks reached the stream too late to be counted live.
    Late,
    /// Clicks that live counting could not write, or never saw, though they were on time.
    LostInStream,
    /// Repeats of a click were counted live.
    CountedTwice,
    /// Clicks that live counting put into quarantine.
    Quarantined,
    /// A duplicate took the place of a click that never reached the lake.
    Promoted,
    /// Clicks came unclaimed, and their impressions turned out to be others' (or theirs).
    Unclaimed,
    /// The rules changed since.
    Restated,
    /// It cannot be told.
    Unknown,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Cause; 8] = [
        Self::Late,
        Self::LostInStream,
        Self::CountedTwice,
        Self::Quarantined,
        Self::Promoted,
        Self::Unclaimed,
        Self::Restated,
        Self::Unknown,
    ];

    /// Its name in answers and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::LostInStream => "lost_in_stream",
            Self::CountedTwice => "counted_twice",
            Self::Quarantined => "quarantined",
            Self::Promoted => "promoted",
            Self::Unclaimed => "unclaimed",
            Self::Restated => "restated",
            Self::Unknown => "unknown",
        }
    }
}

/// One minute of one entity whose count sealing changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// Whose clicks.
    pub entity: Entity,
    /// In which minute.
    pub minute: Minute,
    /// By which version of the hour.
    pub version: u64,
    /// What readers saw before.
    pub before: Counters,
    /// What they see now.
    pub after: Counters,
    /// Why.
    pub cause: Cause,
    /// Whether the hour was closed already: then readers still see `before`, and this is owed.
    pub adjustment: bool,
    /// When it was made, Unix milliseconds.
    pub made_at_ms: i64,
}

/// Who asked for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// The hourly schedule.
    Hourly,
    /// The daily schedule.
    Daily,
    /// A person, for a range.
    Restatement,
    /// The same, without writing.
    DryRun,
}

/// How a run left one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Sealed under a new version.
    Sealed,
    /// Recounted: nothing is different from what is sealed.
    Unchanged,
    /// The lake is not proved complete yet.
    Waiting,
    /// The lake holds less than was counted.
    Disputed,
    /// Closed before: differences were recorded as adjustments.
    Adjusted,
    /// Another run has changed the hour in the meantime, or is at it.
    Overtaken,
    /// It would have been sealed so; nothing was written.
    Shown,
}

impl Outcome {
    /// Its name in answers and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Unchanged => "unchanged",
            Self::Waiting => "waiting",
            Self::Disputed => "disputed",
            Self::Adjusted => "adjusted",
            Self::Overtaken => "overtaken",
            Self::Shown => "shown",
        }
    }
}

/// What a run found in one hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HourReport {
    /// Which hour.
    pub hour: Hour,
    /// Who asked.
    pub run: RunKind,
    /// How it was left.
    pub outcome: Outcome,
    /// In which state it is now.
    pub state: HourState,
    /// Of an outcome that flips: the version that it flips to; else the version that readers see; 0: none.
    pub version: u64,
    /// Which version `version` took the place of, so that the corrections in force are those of the manifest's version, of
    /// the one that its report says it replaces, and so on down to 0 (the partials). Equal to `version`: nothing was flipped.
    #[serde(default)]
    pub replaces: u64,
    /// The lake's.
    pub lake: LakeTotals,
    /// Gross clicks that were counted before, by the total entity.
    pub counted: u64,
    /// Of these, valid.
    pub counted_valid: u64,
    /// How many minutes of entities were corrected.
    pub corrections: u64,
    /// What it waits for or why it is disputed, for a person; empty where there is nothing to say.
    pub detail: String,
    /// When the run looked at it, Unix milliseconds.
    pub at_ms: i64,
}

impl HourReport {
    /// Clicks in the lake that were not counted (negative: counted, but not in the lake).
    pub fn difference(&self) -> i64 {
        self.lake.clicks.cast_signed() - self.counted.cast_signed()
    }
}
