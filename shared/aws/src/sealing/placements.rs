//! The placements by which an advertiser has sealed clicks, named by the month: what a breakdown by placement begins with.
//!
//! | partition key | sort key |
//! | --- | --- |
//! | `v#<advertiser>/p` | `<yyyymm>#<placement>` |
//!
//! Invariant: a name is written before the items that it leads to, without a condition, and never deleted: one that leads to
//! nothing (any more) costs its reader one empty read, one that is missing would cost clicks.

use std::collections::BTreeSet;

use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::{AdvertiserId, PlacementId};
use clickledger_core::ports::PortResult;

use super::table::Table;
use crate::dynamodb::item::{Item, item, s, text};
use crate::failure::damaged;

fn partition(advertiser: AdvertiserId) -> String {
    format!("{}/p", Entity::Advertiser(advertiser))
}

/// So many digits that keys sort as ids do.
fn sort_key(month: &str, placement: u64) -> String {
    format!("{month}#{placement:019}")
}

/// What names a pair's placement in this month (`yyyymm`); nothing of other entities.
pub(super) fn name(entity: Entity, month: &str) -> Option<Item> {
    let Entity::AdvertiserPlacement(advertiser, placement) = entity else {
        return None;
    };
    Some(item([
        ("pk", s(partition(advertiser))),
        ("sk", s(sort_key(month, placement.0))),
    ]))
}

/// Those that are named in some of these months, in order, after `after`, at most `limit`. Strongly consistent: who has read a
/// manifest finds the name of whatever is sealed by it.
pub(super) async fn list(
    table: &Table,
    advertiser: AdvertiserId,
    months: impl Iterator<Item = String>,
    after: Option<PlacementId>,
    limit: usize,
) -> PortResult<Vec<PlacementId>> {
    let (pk, first) = (partition(advertiser), after.map_or(0, |after| after.0 + 1));
    let mut found = BTreeSet::new();
    for month in months {
        let (from, to) = (sort_key(&month, first), format!("{month}$"));
        // The first of all are among the first of each.
        for stored in table.range(&pk, &from, &to, Some(limit)).await? {
            let placement = text(&stored, "sk")?.split('#').nth(1);
            let placement = placement.and_then(|digits| digits.parse().ok());
            found.insert(PlacementId(placement.ok_or_else(|| damaged("sk"))?));
        }
    }
    Ok(found.into_iter().take(limit).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_months_and_then_as_placements_do() {
        let name = |entity| name(entity, "202601");
        assert_eq!(name(Entity::Advertiser(AdvertiserId(9))), None);
        let pair = |placement| Entity::AdvertiserPlacement(AdvertiserId(9), PlacementId(placement));
        let named = name(pair(5)).unwrap();
        assert_eq!(text(&named, "pk").unwrap(), "v#9/p");
        assert_eq!(text(&named, "sk").unwrap(), "202601#0000000000000000005");
        let keys = [
            sort_key("202512", i64::MAX as u64),
            sort_key("202601", 5),
            sort_key("202601", 40),
            sort_key("202601", i64::MAX as u64),
            // What comes after the last id there is.
            sort_key("202601", i64::MAX as u64 + 1),
            "202601$".to_owned(),
        ];
        assert!(keys.is_sorted(), "{keys:?}");
    }
}
