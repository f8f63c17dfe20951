//! Counts under versions.

use std::collections::BTreeSet;

use async_trait::async_trait;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::{AdvertiserId, PlacementId};
use clickledger_core::domain::sealed::{SealedDay, SealedHour};
use clickledger_core::domain::time::{Day, Hour};
use clickledger_core::ports::{
    MinuteTotals, PortResult, QuarterTotals, SealedCounts, SealedDayTotals, SealedHourTotals,
};

use super::MemorySeals;

#[async_trait]
impl SealedCounts for MemorySeals {
    async fn write_hours(
        &self,
        hour: Hour,
        version: u64,
        slice: u32,
        items: Vec<SealedHour>,
    ) -> PortResult<()> {
        let mut state = self.state.lock();
        let before =
            |(_, of, by): &(Entity, Hour, u64), from: &u32| (*of, *by, *from) == (hour, version, slice);
        state.hours.retain(|key, (from, _)| !before(key, from));
        for item in items {
            state.hours.insert((item.entity, hour, version), (slice, item));
        }
        Ok(())
    }

    async fn entities(
        &self,
        hour: Hour,
        version: u64,
        after: Option<Entity>,
        limit: usize,
    ) -> PortResult<Vec<Entity>> {
        let state = self.state.lock();
        let of_hour = state
            .hours
            .keys()
            .filter(|(_, of, by)| (*of, *by) == (hour, version));
        let entities = of_hour
            .map(|(entity, ..)| *entity)
            .filter(|entity| Some(*entity) > after);
        Ok(entities.take(limit).collect())
    }

    async fn read_hours(&self, entity: Entity, from: Hour, to: Hour) -> PortResult<Vec<SealedHour>> {
        let state = self.state.lock();
        let wanted = |(of, hour, _): &(Entity, Hour, u64)| *of == entity && (from..to).contains(hour);
        let found = state.hours.iter().filter(|(key, _)| wanted(key));
        Ok(found.map(|(_, (_, item))| item.clone()).collect())
    }

    async fn read_hour_totals(
        &self,
        entity: Entity,
        from: Hour,
        to: Hour,
    ) -> PortResult<Vec<SealedHourTotals>> {
        let totals = |item: SealedHour| SealedHourTotals {
            hour: item.hour,
            version: item.version,
            minutes: item
                .minutes
                .iter()
                .map(|(place, counters)| MinuteTotals::of(item.minute(*place), counters))
                .collect(),
        };
        let items = self.read_hours(entity, from, to).await?;
        Ok(items.into_iter().map(totals).collect())
    }

    async fn placements(
        &self,
        advertiser: AdvertiserId,
        from: Hour,
        to: Hour,
        after: Option<PlacementId>,
        limit: usize,
    ) -> PortResult<Vec<PlacementId>> {
        let state = self.state.lock();
        let found: BTreeSet<PlacementId> = state
            .hours
            .keys()
            .filter(|(_, hour, _)| (from..to).contains(hour))
            .filter_map(|(entity, ..)| match entity {
                Entity::AdvertiserPlacement(of, placement) if *of == advertiser => Some(*placement),
                _ => None,
            })
            .collect();
        let later = found.into_iter().filter(|placement| Some(*placement) > after);
        Ok(later.take(limit).collect())
    }

    async fn write_days(&self, items: Vec<SealedDay>) -> PortResult<()> {
        let mut state = self.state.lock();
        for item in items {
            state
                .sealed_days
                .insert((item.entity, item.day, item.version), item);
        }
        Ok(())
    }

    async fn read_days(&self, entity: Entity, from: Day, to: Day) -> PortResult<Vec<SealedDay>> {
        let mut found = self.all_sealed_days();
        found.retain(|item| item.entity == entity && (from..to).contains(&item.day));
        Ok(found)
    }

    async fn read_day_totals(&self, entity: Entity, from: Day, to: Day) -> PortResult<Vec<SealedDayTotals>> {
        let totals = |item: SealedDay| SealedDayTotals {
            day: item.day,
            version: item.version,
            quarters: item
                .quarters
                .iter()
                .map(|quarter| QuarterTotals {
                    totals: MinuteTotals::of(item.minute(quarter.place), &quarter.counters),
                    peak: quarter.peak,
                })
                .collect(),
        };
        let items = self.read_days(entity, from, to).await?;
        Ok(items.into_iter().map(totals).collect())
    }

    async fn forget_hours(&self, hour: Hour, below: u64, keep: &[u64], limit: usize) -> PortResult<usize> {
        let mut state = self.state.lock();
        let goes = |(_, of, version): &&(Entity, Hour, u64)| {
            *of == hour && *version < below && !keep.contains(version)
        };
        let gone: Vec<_> = state.hours.keys().filter(goes).take(limit).copied().collect();
        for key in &gone {
            state.hours.remove(key);
        }
        Ok(gone.len())
    }

    async fn forget_days(&self, day: Day, below: u64, keep: u64, limit: usize) -> PortResult<usize> {
        let mut state = self.state.lock();
        let goes =
            |(_, of, version): &&(Entity, Day, u64)| *of == day && *version < below && *version != keep;
        let gone: Vec<_> = state
            .sealed_days
            .keys()
            .filter(goes)
            .take(limit)
            .copied()
            .collect();
        for key in &gone {
            state.sealed_days.remove(key);
        }
        Ok(gone.len())
    }
}
