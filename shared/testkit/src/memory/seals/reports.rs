//! Corrections and reports.

use async_trait::async_trait;
use clickledger_core::domain::correction::{Correction, HourReport};
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::time::{Hour, Minute};
use clickledger_core::ports::{PortResult, SealReports};

use super::MemorySeals;

#[async_trait]
impl SealReports for MemorySeals {
    async fn correct(&self, hour: Hour, corrections: &[Correction]) -> PortResult<()> {
        let mut state = self.state.lock();
        for correction in corrections {
            let key = (hour, correction.version, correction.entity, correction.minute);
            state.corrections.insert(key, correction.clone());
        }
        Ok(())
    }

    async fn corrections(
        &self,
        hour: Hour,
        after: Option<(u64, Entity, Minute)>,
        limit: usize,
    ) -> PortResult<Vec<Correction>> {
        let state = self.state.lock();
        let wanted = |(of, version, entity, minute): &(Hour, u64, Entity, Minute)| {
            *of == hour && Some((*version, *entity, *minute)) > after
        };
        let found = state.corrections.iter().filter(|(key, _)| wanted(key));
        Ok(found
            .map(|(_, correction)| correction.clone())
            .take(limit)
            .collect())
    }

    async fn report(&self, report: &HourReport) -> PortResult<()> {
        let key = (report.hour, report.at_ms);
        self.state.lock().reports.insert(key, report.clone());
        Ok(())
    }

    async fn reports(
        &self,
        from: Hour,
        to: Hour,
        after: Option<(Hour, i64)>,
        limit: usize,
    ) -> PortResult<Vec<HourReport>> {
        let state = self.state.lock();
        let wanted = |key: &(Hour, i64)| (from..to).contains(&key.0) && Some(*key) > after;
        let found = state.reports.iter().filter(|(key, _)| wanted(key));
        Ok(found.map(|(_, report)| report.clone()).take(limit).collect())
    }
}
