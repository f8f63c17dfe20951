//! What sealing found and changed, for those who may ask: reports of hours, and the corrections that are in force.
//!
//! A run writes its corrections before readers see its counts, so a run that was overtaken leaves corrections that never came
//! into force. Those in force are of the version that readers see (of a closed hour also those of its adjustments), of the
//! version that this one took the place of, as its report says, and so on.
//!
//! Invariant: a correction that is shown explains a change of counts that readers saw, or one that is owed.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::correction::{Correction, HourReport};
use crate::domain::entity::Entity;
use crate::domain::time::{Hour, Minute};
use crate::ports::{Manifests, PortResult, SealReports};

/// Items of one read.
const PAGE: usize = 1000;

/// A correction's place among those of its hour.
pub type CorrectionPlace = (u64, Entity, Minute);

/// Reads reports and corrections.
#[derive(Clone)]
pub struct ReconciliationsService {
    manifests: Arc<dyn Manifests>,
    reports: Arc<dyn SealReports>,
}

impl ReconciliationsService {
    /// Over these ports.
    pub fn new(manifests: Arc<dyn Manifests>, reports: Arc<dyn SealReports>) -> Self {
        Self { manifests, reports }
    }

    /// The reports of the hours in `from..to`, in the order of hours and times, after `after` (hour and time), at most
    /// `limit`.
    ///
    /// # Errors
    /// Those of the ports.
    pub async fn reports(
        &self,
        from: Hour,
        to: Hour,
        after: Option<(Hour, i64)>,
        limit: usize,
    ) -> PortResult<Vec<HourReport>> {
        self.reports.reports(from, to, after, limit).await
    }

    /// At most `limit` corrections of an hour that are in force, in the order of versions, entities and minutes, and where the
    /// next ones begin, if this was not all. One read: there may be fewer than `limit`, even none, and more to come.
    ///
    /// # Errors
    /// Those of the ports.
    pub async fn corrections(
        &self,
        hour: Hour,
        after: Option<CorrectionPlace>,
        limit: usize,
    ) -> PortResult<(Vec<Correction>, Option<CorrectionPlace>)> {
        let in_force = self.versions_in_force(hour).await?;
        let mut found = self.reports.corrections(hour, after, limit).await?;
        let more = found.len() >= limit;
        let next = found.last().filter(|_| more);
        let next = next.map(|last| (last.version, last.entity, last.minute));
        found.retain(|correction| in_force.contains(&correction.version));
        Ok((found, next))
    }

    /// The hours of `from..to` of which a report tells corrections, in the order of time.
    ///
    /// # Errors
    /// Those of the ports.
    pub async fn corrected_hours(&self, from: Hour, to: Hour) -> PortResult<Vec<Hour>> {
        let mut hours = Vec::new();
        let mut after = None;
        loop {
            let reports = self.reports.reports(from, to, after, PAGE).await?;
            let corrected = reports.iter().filter(|report| report.corrections > 0);
            hours.extend(corrected.map(|report| report.hour));
            match reports.last() {
                Some(last) if reports.len() >= PAGE => after = Some((last.hour, last.at_ms)),
                _ => break,
            }
        }
        // In order already: an hour has a report for every look at it.
        hours.dedup();
        Ok(hours)
    }

    /// The versions whose corrections made the hour's counts what they are, or what is owed.
    async fn versions_in_force(&self, hour: Hour) -> PortResult<Vec<u64>> {
        let next = Hour(hour.0 + 1);
        let manifests = self.manifests.hours(hour, next).await?;
        let Some(manifest) = manifests.first() else {
            return Ok(Vec::new());
        };
        let mut replaces = HashMap::new();
        let mut after = None;
        loop {
            let reports = self.reports.reports(hour, next, after, PAGE).await?;
            let flips = reports.iter().filter(|report| report.replaces < report.version);
            replaces.extend(flips.map(|report| (report.version, report.replaces)));
            match reports.last() {
                Some(last) if reports.len() >= PAGE => after = Some((last.hour, last.at_ms)),
                _ => break,
            }
        }
        let mut in_force = Vec::new();
        for newest in [manifest.adjusted, manifest.version] {
            let mut version = newest;
            // Each replaces a lower one, so this ends.
            while version > 0 && !in_force.contains(&version) {
                in_force.push(version);
                version = replaces.get(&version).copied().unwrap_or(0);
            }
        }
        Ok(in_force)
    }
}
