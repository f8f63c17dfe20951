//! What is counted about the edge, by the crate `metrics`; whoever runs the router exports it.

use clickledger_core::domain::verdict::Verdict;
use clickledger_core::metric_names as names;
use metrics::{Counter, counter};

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
