//! What was clicked, told apart by the story and not by the services: what the counts must come to.
//!
//! Invariant: a click is in here exactly if its record was kept.

use std::collections::BTreeMap;

use clickledger_core::domain::device::Device;
use clickledger_core::domain::ids::AdId;
use clickledger_core::domain::verdict::Verdict;
use serde::Serialize;

/// Clicks of one ad, or of all.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Clicks {
    pub(super) gross_clicks: u64,
    pub(super) clicks: u64,
    pub(super) invalid_by_verdict: BTreeMap<&'static str, u64>,
    /// Valid ones.
    pub(super) by_device: BTreeMap<&'static str, u64>,
    /// Valid ones.
    pub(super) by_country: BTreeMap<&'static str, u64>,
}

impl Clicks {
    fn add(&mut self, verdict: Verdict, device: Device, country: &'static str) {
        self.gross_clicks += 1;
        if verdict.is_valid() {
            self.clicks += 1;
            *self.by_device.entry(device.as_str()).or_default() += 1;
            *self.by_country.entry(country).or_default() += 1;
        } else {
            *self.invalid_by_verdict.entry(verdict.as_str()).or_default() += 1;
        }
    }
}

/// All clicks.
#[derive(Debug, Default, Serialize)]
pub(super) struct Tally {
    pub(super) total: Clicks,
    pub(super) ads: BTreeMap<AdId, Clicks>,
}

impl Tally {
    pub(super) fn add(&mut self, ad_id: AdId, verdict: Verdict, device: Device, country: &'static str) {
        self.total.add(verdict, device, country);
        self.ads.entry(ad_id).or_default().add(verdict, device, country);
    }
}
