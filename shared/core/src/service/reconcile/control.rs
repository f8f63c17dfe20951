//! Control totals: an hour's recount must agree in total before any single difference is believed.

use std::collections::BTreeMap;

use crate::domain::counter::{CounterKey, Counters};
use crate::domain::entity::Entity;

/// Every click is one ad's, one campaign's, one advertiser's, and in the total.
const KINDS: usize = 4;

/// Sums over entities, by the minute's place and the counter.
#[derive(Debug, Default)]
pub(super) struct ControlTotals {
    sums: BTreeMap<(u8, CounterKey), [u64; KINDS]>,
}

impl ControlTotals {
    /// Adds a minute of an entity. Placements are left out: forged clicks have none.
    pub(super) fn add(&mut self, entity: Entity, place: u8, counters: &Counters) {
        let kind = match entity {
            Entity::Ad(_) => 0,
            Entity::Campaign(_) => 1,
            Entity::Advertiser(_) => 2,
            Entity::Total => 3,
            Entity::Placement(_) => return,
        };
        for (counter, count) in counters.iter() {
            self.sums.entry((place, counter)).or_default()[kind] += count;
        }
    }

    /// Whether ads, campaigns, advertisers and the total say the same.
    pub(super) fn agree(&self) -> bool {
        self.sums
            .values()
            .all(|sums| sums.iter().all(|sum| *sum == sums[0]))
    }
}

/// Gross and valid clicks by the minute's place: by these it shows whether all ads were looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ByPlace(Vec<(u64, u64)>);

impl Default for ByPlace {
    fn default() -> Self {
        Self(vec![(0, 0); 60])
    }
}

impl ByPlace {
    pub(super) fn add(&mut self, minutes: &[(u8, Counters)]) {
        for (place, counters) in minutes {
            if let Some((gross, valid)) = self.0.get_mut(usize::from(*place)) {
                *gross += counters.gross();
                *valid += counters.valid();
            }
        }
    }

    /// Gross and valid clicks of all minutes.
    pub(super) fn sum(&self) -> (u64, u64) {
        self.0
            .iter()
            .fold((0, 0), |sum, minute| (sum.0 + minute.0, sum.1 + minute.1))
    }
}
