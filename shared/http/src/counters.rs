//! What is counted about the edge, by the crate `metrics`; whoever runs the router exports it.

use clickledger_core::domain::verdict::Verdict;
use metrics::{Counter, counter};

/// The names of all metrics of this crate.
pub mod names {
    /// Clicks on known ads, by label `verdict`.
    pub const CLICKS: &str = "clicks_total";
    /// Clicks that were redirected though no store took their record.
    pub const CLICKS_UNRECORDED: &str = "clicks_unrecorded_total";
    /// Clicks whose record waits in the spill.
    pub const CLICKS_SPILLED: &str = "clicks_spilled_total";
    /// Clicks whose record only the last resort took.
    pub const CLICKS_LAST_RESORT: &str = "clicks_last_resort_total";
    /// Clicks that led nowhere, by label `reason`: `invalid`, `unknown_ad`, `unavailable`.
    pub const CLICKS_REFUSED: &str = "clicks_refused_total";
    /// Impressions that were issued.
    pub const IMPRESSIONS: &str = "impressions_total";
}

/// The counters of `/click`, looked up once: a look-up for each click would cost more than counting it.
pub(crate) struct ClickCounters {
    verdicts: [Counter; Verdict::ALL.len()],
    pub(crate) unrecorded: Counter,
    pub(crate) spilled: Counter,
    pub(crate) last_resort: Counter,
    pub(crate) invalid: Counter,
    pub(crate) unknown_ad: Counter,
    pub(crate) unavailable: Counter,
}

impl ClickCounters {
    pub(crate) fn new() -> Self {
        Self {
            verdicts: Verdict::ALL.map(|verdict| counter!(names::CLICKS, "verdict" => verdict.as_str())),
            unrecorded: counter!(names::CLICKS_UNRECORDED),
            spilled: counter!(names::CLICKS_SPILLED),
            last_resort: counter!(names::CLICKS_LAST_RESORT),
            invalid: counter!(names::CLICKS_REFUSED, "reason" => "invalid"),
            unknown_ad: counter!(names::CLICKS_REFUSED, "reason" => "unknown_ad"),
            unavailable: counter!(names::CLICKS_REFUSED, "reason" => "unavailable"),
        }
    }

    pub(crate) fn of(&self, verdict: Verdict) -> &Counter {
        // Verdicts are numbered as they stand in the list.
        &self.verdicts[verdict as usize]
    }
}
