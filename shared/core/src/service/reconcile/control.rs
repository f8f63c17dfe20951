//! Control totals: an hour's recount must agree in total before any single difference is believed.

use std::collections::BTreeMap;

use crate::domain::counter::{CounterKey, Counters};
use crate::domain::entity::Entity;

/// Every click is one ad's, one campaign's, one advertiser's, and in the total. Those that have a placement are one
/// placement's, and one pair's of advertiser and placement.
const KINDS: usize = 6;
/// Of these each has every click.
const WHOLE: usize = 4;

/// Sums over entities, by the minute's place and the counter.
#[derive(Debug, Default)]
pub(super) struct ControlTotals {
    sums: BTreeMap<(u8, CounterKey), [u64; KINDS]>,
}

impl ControlTotals {
    /// Adds a minute of an entity.
    pub(super) fn add(&mut self, entity: Entity, place: u8, counters: &Counters) {
        let kind = match entity {
            Entity::Ad(_) => 0,
            Entity::Campaign(_) => 1,
            Entity::Advertiser(_) => 2,
            Entity::Total => 3,
            Entity::Placement(_) => 4,
            Entity::AdvertiserPlacement(..) => 5,
        };
        for (counter, count) in counters.iter() {
            self.sums.entry((place, counter)).or_default()[kind] += count;
        }
    }

    /// Whether ads, campaigns, advertisers and the total say the same, and pairs what placements do: forged clicks have neither.
    pub(super) fn agree(&self) -> bool {
        self.sums.values().all(|sums| {
            let (whole, placed) = sums.split_at(WHOLE);
            whole.iter().all(|sum| *sum == whole[0]) && placed.iter().all(|sum| *sum == placed[0])
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::country::Country;
    use crate::domain::device::Device;
    use crate::domain::ids::{AdId, AdvertiserId, CampaignId, PlacementId};
    use crate::domain::verdict::Verdict;

    #[test]
    fn pairs_must_add_up_to_placements_whatever_clicks_without_one_there_are() {
        let clicks = |verdict, count| {
            let key = CounterKey::of(verdict, Device::Mobile, Country::ZZ);
            Counters::from_iter([(key, count)])
        };
        let pair = |advertiser, placement| {
            Entity::AdvertiserPlacement(AdvertiserId(advertiser), PlacementId(placement))
        };
        let agree = |pairs: &[(Entity, u8, u64)]| {
            let mut control = ControlTotals::default();
            for entity in [
                Entity::Ad(AdId(1)),
                Entity::Campaign(CampaignId(2)),
                Entity::Advertiser(AdvertiserId(3)),
                Entity::Total,
            ] {
                control.add(entity, 5, &clicks(Verdict::Valid, 7));
                control.add(entity, 5, &clicks(Verdict::BadToken, 2));
            }
            control.add(Entity::Placement(PlacementId(4)), 5, &clicks(Verdict::Valid, 7));
            for (entity, place, count) in pairs {
                control.add(*entity, *place, &clicks(Verdict::Valid, *count));
            }
            control.agree()
        };
        assert!(agree(&[(pair(3, 4), 5, 7)]));
        assert!(agree(&[(pair(3, 4), 5, 3), (pair(8, 4), 5, 4)]));
        for wrong in [
            &[][..],
            &[(pair(3, 4), 5, 6)],
            &[(pair(3, 4), 6, 7)],
            &[(pair(3, 4), 5, 7), (pair(3, 9), 5, 1)],
        ] {
            assert!(!agree(wrong), "{wrong:?}");
        }
    }
}
