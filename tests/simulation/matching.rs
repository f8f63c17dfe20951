//! Which valid clicks may be whose: each impression has one, in the minute and cell of one of its own clicks.

use std::collections::{BTreeMap, BTreeSet};

use clickledger_core::domain::counter::CounterKey;
use clickledger_core::domain::ids::{AdId, ClickId, ImpressionId};
use clickledger_core::domain::time::Minute;
use clickledger_core::domain::verdict::Verdict;

use crate::truth::Durable;

/// Where a click may be counted as valid.
pub(crate) type Spot = (AdId, Minute, CounterKey);

/// The spots of each impression's own otherwise-valid clicks.
pub(crate) fn own(clicks: &BTreeMap<ClickId, Durable>) -> BTreeMap<ImpressionId, BTreeSet<Spot>> {
    let mut own: BTreeMap<ImpressionId, BTreeSet<Spot>> = BTreeMap::new();
    for Durable { record, .. } in clicks.values() {
        let real = matches!(record.verdict, Verdict::Valid | Verdict::Duplicate);
        if let (true, Some(impression_id)) = (real, record.impression_id) {
            let cell = CounterKey::of(Verdict::Valid, record.device, record.country);
            let spot = (record.ad_id, Minute::of(record.clicked_at_ms), cell);
            own.entry(impression_id).or_default().insert(spot);
        }
    }
    own
}

/// Valid clicks and impressions, matched as far as they can be.
pub(crate) struct Matched {
    /// Impressions without a valid click.
    pub(crate) short: Vec<ImpressionId>,
    /// Valid clicks without an impression.
    pub(crate) over: Vec<Spot>,
}

struct Rooms<'a> {
    own: &'a BTreeMap<ImpressionId, BTreeSet<Spot>>,
    rooms: BTreeMap<Spot, Vec<Option<ImpressionId>>>,
}

impl Rooms<'_> {
    /// Finds a place, asking those who have one to move.
    fn place(&mut self, impression: ImpressionId, tried: &mut BTreeSet<Spot>) -> bool {
        let Some(own) = self.own.get(&impression) else {
            return false;
        };
        for spot in own {
            if !tried.insert(*spot) {
                continue;
            }
            for at in 0..self.rooms.get(spot).map_or(0, Vec::len) {
                let other = self.rooms[spot][at];
                if other.is_none_or(|other| self.place(other, tried)) {
                    if let Some(room) = self.rooms.get_mut(spot) {
                        room[at] = Some(impression);
                    }
                    return true;
                }
            }
        }
        false
    }
}

pub(crate) fn matched(valid: &BTreeMap<Spot, u64>, own: &BTreeMap<ImpressionId, BTreeSet<Spot>>) -> Matched {
    let rooms = valid
        .iter()
        .map(|(spot, count)| (*spot, vec![None; *count as usize]));
    let mut rooms = Rooms {
        own,
        rooms: rooms.collect(),
    };
    let impressions = own.keys().copied();
    let short = impressions.filter(|impression| !rooms.place(*impression, &mut BTreeSet::new()));
    let short = short.collect();
    let empty = rooms.rooms.iter().filter(|(_, room)| room.contains(&None));
    Matched {
        short,
        over: empty.map(|(spot, _)| *spot).collect(),
    }
}

#[cfg(test)]
mod tests {
    use clickledger_core::domain::country::Country;
    use clickledger_core::domain::device::Device;

    use super::*;

    #[test]
    fn impressions_move_over_for_each_other_and_what_is_left_is_told() {
        let spot = |minute| {
            (
                AdId(1),
                Minute(minute),
                CounterKey::of(Verdict::Valid, Device::Mobile, Country::ZZ),
            )
        };
        let [a, b] = [ImpressionId(1), ImpressionId(2)];
        let own = BTreeMap::from([
            (a, BTreeSet::from([spot(1), spot(2)])),
            (b, BTreeSet::from([spot(1)])),
        ]);
        let found = matched(&BTreeMap::from([(spot(1), 1), (spot(2), 1)]), &own);
        assert!(found.short.is_empty() && found.over.is_empty());
        let found = matched(&BTreeMap::from([(spot(1), 2), (spot(2), 1)]), &own);
        assert_eq!((found.short, found.over), (Vec::new(), vec![spot(1)]));
        let found = matched(&BTreeMap::from([(spot(2), 1)]), &own);
        assert_eq!((found.short, found.over), (vec![b], Vec::new()));
    }
}
