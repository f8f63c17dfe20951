//! [`SealedCounts`]: items under versions come back whole, with and without their cells.

use clickledger_core::domain::counter::{CounterKey, Counters};
use clickledger_core::domain::country::Country;
use clickledger_core::domain::device::Device;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, PlacementId};
use clickledger_core::domain::sealed::{QUARTERS, Quarter, SealedDay, SealedHour};
use clickledger_core::domain::time::{Day, Hour};
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::ports::{MinuteTotals, QuarterTotals, SealedCounts, SealedDayTotals, SealedHourTotals};

use super::unique;

/// Some cells and verdicts, `n` of the first.
fn counters(n: u64) -> Counters {
    let key = |verdict, device, country: &str| CounterKey::of(verdict, device, country.parse().unwrap());
    [
        (key(Verdict::Valid, Device::Mobile, "DE"), n),
        (key(Verdict::Valid, Device::Unknown, "ZZ"), n % 7 * 1_000_000_007),
        (key(Verdict::Bot, Device::Mobile, "DE"), n % 3),
        (key(Verdict::Duplicate, Device::Mobile, "DE"), n % 5),
    ]
    .into_iter()
    .collect()
}

fn sealed_hour(entity: Entity, hour: Hour, version: u64, places: &[u8]) -> SealedHour {
    let minute = |place: &u8| (*place, counters(u64::from(*place) + version));
    SealedHour {
        entity,
        hour,
        version,
        minutes: places.iter().map(minute).collect(),
    }
}

fn sealed_day(entity: Entity, day: Day, version: u64, places: &[u8]) -> SealedDay {
    let quarter = |place: &u8| Quarter {
        place: *place,
        counters: counters(u64::from(*place) + version),
        peak: (place % 15, u64::from(*place) * version),
    };
    SealedDay {
        entity,
        day,
        version,
        quarters: places.iter().map(quarter).collect(),
    }
}

fn hour_totals(item: &SealedHour) -> SealedHourTotals {
    let minute = |(place, counters): &(u8, Counters)| MinuteTotals::of(item.minute(*place), counters);
    SealedHourTotals {
        hour: item.hour,
        version: item.version,
        minutes: item.minutes.iter().map(minute).collect(),
    }
}

fn day_totals(item: &SealedDay) -> SealedDayTotals {
    let quarter = |quarter: &Quarter| QuarterTotals {
        totals: MinuteTotals::of(item.minute(quarter.place), &quarter.counters),
        peak: quarter.peak,
    };
    SealedDayTotals {
        day: item.day,
        version: item.version,
        quarters: item.quarters.iter().map(quarter).collect(),
    }
}

async fn assert_hours(store: &dyn SealedCounts, entity: Entity, from: Hour, to: Hour, items: &[SealedHour]) {
    assert_eq!(store.read_hours(entity, from, to).await.unwrap(), items);
    let totals: Vec<_> = items.iter().map(hour_totals).collect();
    assert_eq!(store.read_hour_totals(entity, from, to).await.unwrap(), totals);
}

async fn assert_days(store: &dyn SealedCounts, entity: Entity, from: Day, to: Day, items: &[SealedDay]) {
    assert_eq!(store.read_days(entity, from, to).await.unwrap(), items);
    let totals: Vec<_> = items.iter().map(day_totals).collect();
    assert_eq!(store.read_day_totals(entity, from, to).await.unwrap(), totals);
}

/// All entities of a version, in pages.
async fn all_entities(store: &dyn SealedCounts, hour: Hour, version: u64, limit: usize) -> Vec<Entity> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = store.entities(hour, version, after, limit).await.unwrap();
        assert!(page.len() <= limit);
        all.extend(&page);
        if page.len() < limit {
            return all;
        }
        after = all.last().copied();
    }
}

/// Six entities, one of each kind, in order.
fn entities() -> [Entity; 6] {
    let n = unique::number();
    [
        Entity::Ad(AdId(n)),
        Entity::Campaign(CampaignId(n)),
        Entity::Advertiser(AdvertiserId(n)),
        Entity::Placement(PlacementId(n)),
        Entity::Total,
        pair(n, n + 1),
    ]
}

fn pair(advertiser: u64, placement: u64) -> Entity {
    Entity::AdvertiserPlacement(AdvertiserId(advertiser), PlacementId(placement))
}

/// Every version that is stored, by hour; each entity its own.
pub async fn hours_come_back_whole_with_and_without_cells(store: &dyn SealedCounts) {
    let start = unique::day().first_hour();
    let (ours, other) = (unique::entity(), unique::entity());
    let at = |n: i64| Hour(start.0 + n);
    let items = [
        sealed_hour(ours, at(0), 3, &[0, 1, 30, 58, 59]),
        sealed_hour(ours, at(0), 7, &[0]),
        sealed_hour(ours, at(1), 2, &[59]),
        sealed_hour(ours, at(30), 2, &[14, 15]),
    ];
    for item in items.iter().rev() {
        let items = vec![item.clone(), sealed_hour(other, item.hour, item.version, &[5])];
        store
            .write_hours(item.hour, item.version, 0, items)
            .await
            .unwrap();
    }
    assert_hours(store, ours, at(0), at(31), &items).await;
    assert_hours(store, ours, at(0), at(1), &items[..2]).await;
    assert_hours(store, ours, at(1), at(30), &items[2..3]).await;
    assert_hours(store, ours, at(2), at(2), &[]).await;
    assert_hours(store, other, at(1), at(2), &[sealed_hour(other, at(1), 2, &[5])]).await;
}

/// A slice that is written again (applied, answer lost, retried; or by the run that took the work up) replaces itself.
pub async fn slice_that_is_written_again_replaces_itself(store: &dyn SealedCounts) {
    let hour = unique::day().first_hour();
    let next = Hour(hour.0 + 1);
    let all = entities();
    let of = |some: &[Entity], places: &[u8]| -> Vec<SealedHour> {
        some.iter()
            .map(|entity| sealed_hour(*entity, hour, 4, places))
            .collect()
    };
    for _ in 0..2 {
        store
            .write_hours(hour, 4, 0, of(&all[..2], &[1, 2, 3]))
            .await
            .unwrap();
        store.write_hours(hour, 4, 1, of(&all[2..], &[1])).await.unwrap();
    }
    store.write_hours(hour, 4, 0, of(&all[..2], &[9])).await.unwrap();
    assert_hours(store, all[0], hour, next, &of(&all[..1], &[9])).await;
    assert_hours(store, all[4], hour, next, &of(&all[4..5], &[1])).await;
    assert_hours(store, all[5], hour, next, &of(&all[5..], &[1])).await;
    for limit in [1, 2, 5, 100] {
        assert_eq!(all_entities(store, hour, 4, limit).await, all);
    }
    assert_eq!(all_entities(store, hour, 5, 10).await, []);
    assert_eq!(all_entities(store, next, 4, 10).await, []);
}

/// More entities than any page or transaction of a store holds.
pub async fn entities_of_many_slices_are_listed_in_order(store: &dyn SealedCounts) {
    let hour = unique::day().first_hour();
    let all: Vec<Entity> = (0..300).map(|_| unique::entity()).collect();
    for (slice, some) in all.chunks(60).enumerate() {
        let items = some.iter().map(|entity| sealed_hour(*entity, hour, 9, &[7]));
        store
            .write_hours(hour, 9, slice as u32, items.collect())
            .await
            .unwrap();
    }
    assert_eq!(all_entities(store, hour, 9, 70).await, all);
    let after = store.entities(hour, 9, Some(all[100]), 3).await.unwrap();
    assert_eq!(after, all[101..104]);
}

/// Every version that is stored, by day; each entity its own; a day that is written again is replaced.
pub async fn days_come_back_whole_with_and_without_cells(store: &dyn SealedCounts) {
    let start = unique::day();
    let (ours, other) = (unique::entity(), unique::entity());
    let at = |n: i64| Day(start.0 + n);
    let items = [
        sealed_day(ours, at(0), 3, &[0, 1, 47, 95]),
        sealed_day(ours, at(0), 12, &[0]),
        sealed_day(ours, at(1), 2, &[95]),
        sealed_day(ours, at(40), 2, &[3]),
    ];
    let mut written = vec![
        sealed_day(other, at(0), 3, &[5]),
        sealed_day(ours, at(0), 12, &[8, 9]),
    ];
    store.write_days(written.clone()).await.unwrap();
    written.truncate(1);
    written.extend(items.iter().rev().cloned());
    for _ in 0..2 {
        store.write_days(written.clone()).await.unwrap();
    }
    assert_days(store, ours, at(0), at(41), &items).await;
    assert_days(store, ours, at(0), at(1), &items[..2]).await;
    assert_days(store, ours, at(1), at(40), &items[2..3]).await;
    assert_days(store, ours, at(2), at(2), &[]).await;
    assert_days(store, other, at(0), at(2), &written[..1]).await;
}

/// What every device in every country clicks in every minute and quarter-hour is an item too.
pub async fn largest_items_are_stored(store: &dyn SealedCounts) {
    let day = unique::day();
    let (entity, hour) = (unique::entity(), day.first_hour());
    let keys = || (0..=u16::MAX).filter_map(CounterKey::from_u16);
    let full = |n: u64| {
        keys()
            .map(|key| (key, n + u64::from(key.to_u16()) % 90))
            .collect()
    };
    assert!(keys().count() > 1_700, "{:?}", (Device::ALL.len(), Country::ZZ));
    let sealed = SealedHour {
        entity,
        hour,
        version: 1,
        minutes: (0..60).map(|place| (place, full(u64::from(place) + 1))).collect(),
    };
    store.write_hours(hour, 1, 0, vec![sealed.clone()]).await.unwrap();
    assert_hours(store, entity, hour, Hour(hour.0 + 1), &[sealed]).await;
    let quarter = |place| Quarter {
        place,
        counters: full(u64::from(place) + 1),
        peak: (14, 1 << 40),
    };
    let sealed = SealedDay {
        entity,
        day,
        version: 1,
        quarters: (0..QUARTERS).map(quarter).collect(),
    };
    store.write_days(vec![sealed.clone()]).await.unwrap();
    assert_days(store, entity, day, Day(day.0 + 1), &[sealed]).await;
}

/// Only versions below, and not those that are still read; in steps.
pub async fn old_versions_of_an_hour_are_forgotten_in_steps(store: &dyn SealedCounts) {
    let hour = unique::day().first_hour();
    let next = Hour(hour.0 + 1);
    let all: Vec<Entity> = (0..7).map(|_| unique::entity()).collect();
    for version in [1, 2, 3, 4, 5] {
        for at in [hour, next] {
            let items = all.iter().map(|entity| sealed_hour(*entity, at, version, &[7]));
            store.write_hours(at, version, 0, items.collect()).await.unwrap();
        }
    }
    let mut forgotten = 0;
    loop {
        let step = store.forget_hours(hour, 5, &[2, 4], 4).await.unwrap();
        assert!(step <= 4);
        forgotten += step;
        if step == 0 {
            break;
        }
    }
    assert_eq!(forgotten, 14);
    for entity in &all {
        let left = [2, 4, 5].map(|version| sealed_hour(*entity, hour, version, &[7]));
        assert_hours(store, *entity, hour, next, &left).await;
    }
    assert_eq!(all_entities(store, hour, 1, 10).await, []);
    assert_eq!(all_entities(store, hour, 2, 10).await, all);
    let beside = store.read_hours(all[0], next, Hour(next.0 + 1)).await.unwrap();
    assert_eq!(beside.len(), 5, "another hour's are its own");
}

/// Only versions below, and not the one that is still read; in steps.
pub async fn old_versions_of_a_day_are_forgotten_in_steps(store: &dyn SealedCounts) {
    let day = unique::day();
    let (hour, next) = (day.first_hour(), Day(day.0 + 1));
    let all: Vec<Entity> = (0..7).map(|_| unique::entity()).collect();
    // An adapter may know a day's entities by its hours.
    for (hours_version, some) in [(1, &all[..4]), (2, &all[4..])] {
        let hour = Hour(hour.0 + hours_version);
        let items = some
            .iter()
            .map(|entity| sealed_hour(*entity, hour, hours_version.cast_unsigned(), &[7]));
        store
            .write_hours(hour, hours_version.cast_unsigned(), 0, items.collect())
            .await
            .unwrap();
    }
    for version in [1, 2, 3, 4] {
        for at in [day, next] {
            let items = all.iter().map(|entity| sealed_day(*entity, at, version, &[7]));
            store.write_days(items.collect()).await.unwrap();
        }
    }
    let mut forgotten = 0;
    loop {
        let step = store.forget_days(day, 4, 2, 3).await.unwrap();
        assert!(step <= 3);
        forgotten += step;
        if step == 0 {
            break;
        }
    }
    assert_eq!(forgotten, 14);
    for entity in &all {
        let left = [2, 4].map(|version| sealed_day(*entity, day, version, &[7]));
        assert_days(store, *entity, day, next, &left).await;
    }
    let beside = store.read_days(all[0], next, Day(next.0 + 1)).await.unwrap();
    assert_eq!(beside.len(), 4, "another day's are its own");
}

/// All placements of an advertiser in `from..to`, in pages.
async fn all_placements(
    store: &dyn SealedCounts,
    advertiser: u64,
    from: Hour,
    to: Hour,
    limit: usize,
) -> Vec<u64> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let advertiser = AdvertiserId(advertiser);
        let page = store
            .placements(advertiser, from, to, after, limit)
            .await
            .unwrap();
        assert!(page.len() <= limit);
        all.extend(page.iter().map(|placement| placement.0));
        if page.len() < limit {
            assert!(all.is_sorted_by(|a, b| a < b), "{all:?}");
            return all;
        }
        after = page.last().copied();
    }
}

/// Two pairs of one advertiser, or of one placement, are as different as any two entities: in hours, in days, and when old
/// versions are forgotten.
pub async fn pairs_are_told_apart_by_both_of_their_ids(store: &dyn SealedCounts) {
    let day = unique::day();
    let (hour, next) = (day.first_hour(), Hour(day.first_hour().0 + 1));
    let n = unique::number();
    let (other, highest) = (unique::number(), i64::MAX as u64);
    let mut all = vec![
        pair(n, n),
        pair(n, other),
        pair(n, highest),
        pair(other, n),
        pair(other, 1),
        pair(other, highest),
        Entity::Advertiser(AdvertiserId(n)),
        Entity::Placement(PlacementId(n)),
        Entity::Total,
    ];
    all.sort_unstable();
    let of = |entity: Entity, at: Hour, version: u64| {
        let place = all.iter().position(|it| *it == entity).unwrap() as u8;
        sealed_hour(entity, at, version, &[place, place + 20])
    };
    for version in [3, 4] {
        for (slice, some) in all.chunks(4).enumerate() {
            let items = some.iter().map(|entity| of(*entity, hour, version)).collect();
            store
                .write_hours(hour, version, slice as u32, items)
                .await
                .unwrap();
        }
    }
    for entity in &all {
        let items = [of(*entity, hour, 3), of(*entity, hour, 4)];
        assert_hours(store, *entity, hour, next, &items).await;
    }
    assert_hours(store, pair(n, 2), hour, next, &[]).await;
    assert_hours(store, pair(2, n), hour, next, &[]).await;
    for limit in [1, 2, 4, 9, 100] {
        assert_eq!(all_entities(store, hour, 4, limit).await, all);
    }

    let place = |entity: &Entity| all.iter().position(|it| it == entity).unwrap() as u8;
    let of_day = |entity: &Entity| sealed_day(*entity, day, 8, &[place(entity), 90]);
    store.write_days(all.iter().map(of_day).collect()).await.unwrap();
    for entity in &all {
        assert_days(store, *entity, day, Day(day.0 + 1), &[of_day(entity)]).await;
    }
    assert_days(store, pair(n, 2), day, Day(day.0 + 1), &[]).await;

    let mut forgotten = 0;
    loop {
        match store.forget_hours(hour, 4, &[], 4).await.unwrap() {
            0 => break,
            step => forgotten += step,
        }
    }
    assert_eq!(forgotten, all.len());
    for entity in &all {
        assert_hours(store, *entity, hour, next, &[of(*entity, hour, 4)]).await;
    }
}

/// None is left out, in whatever version it is; each advertiser has its own. More may be named, of other hours too.
pub async fn placements_of_an_advertiser_are_listed_page_by_page(store: &dyn SealedCounts) {
    let start = unique::day().first_hour();
    // So far that some lie in other months.
    let at = |days: i64| Hour(start.0 + 24 * days);
    let far = unique::day().first_hour();
    assert!(far > at(40), "unique days rise");
    let end = Hour(far.0 + 1);
    let (ours, rival) = (unique::number(), unique::number());
    let written = [
        (at(0), 1, ours, vec![7, 5, i64::MAX as u64]),
        (at(0), 2, ours, vec![5]),
        (at(0), 1, rival, vec![6]),
        (Hour(start.0 + 1), 1, ours, vec![100, 5]),
        (at(40), 1, ours, vec![5, 11]),
        (far, 1, ours, vec![3, 12]),
    ];
    let mut slices = std::collections::BTreeMap::new();
    for (hour, version, advertiser, placements) in &written {
        let pairs = placements.iter().map(|placement| pair(*advertiser, *placement));
        let others = [
            Entity::Advertiser(AdvertiserId(*advertiser)),
            Entity::Placement(PlacementId(8)),
        ];
        let items = pairs
            .chain(others)
            .map(|entity| sealed_hour(entity, *hour, *version, &[1]));
        let slice = slices.entry((*hour, *version)).or_insert(0);
        for _ in 0..2 {
            store
                .write_hours(*hour, *version, *slice, items.clone().collect())
                .await
                .unwrap();
        }
        *slice += 1;
    }
    let last = i64::MAX as u64;
    for (from, to, must) in [
        (at(0), end, &[3, 5, 7, 11, 12, 100, last][..]),
        (at(0), at(1), &[5, 7, 100, last]),
        (at(0), at(41), &[5, 7, 11, 100, last]),
        (at(40), at(41), &[5, 11]),
        (far, end, &[3, 12]),
        (at(20), at(21), &[]),
        (at(0), at(0), &[]),
    ] {
        let listed = all_placements(store, ours, from, to, 100).await;
        assert!(must.iter().all(|it| listed.contains(it)), "{listed:?} {must:?}");
        let known = [3, 5, 7, 11, 12, 100, last];
        assert!(listed.iter().all(|it| known.contains(it)), "{listed:?}");
        for limit in [1, 2, 3, 7] {
            assert_eq!(
                all_placements(store, ours, from, to, limit).await,
                listed,
                "{limit}"
            );
        }
    }
    assert_eq!(all_placements(store, rival, at(0), end, 10).await, [6]);
    assert_eq!(
        all_placements(store, unique::number(), at(0), end, 10).await,
        [] as [u64; 0]
    );
    // What was forgotten may be named still, what stands must be.
    while store.forget_hours(at(0), 2, &[], 10).await.unwrap() > 0 {}
    let left = all_placements(store, ours, at(0), at(1), 10).await;
    assert!([5, 100].iter().all(|it| left.contains(it)), "{left:?}");
}

/// Makes a test of every case.
#[macro_export]
macro_rules! sealed_counts_contract {
    ($open:path) => {
        $crate::contract_cases!(
            sealed_counts as sealed_counts,
            $open,
            [
                hours_come_back_whole_with_and_without_cells,
                slice_that_is_written_again_replaces_itself,
                entities_of_many_slices_are_listed_in_order,
                days_come_back_whole_with_and_without_cells,
                largest_items_are_stored,
                old_versions_of_an_hour_are_forgotten_in_steps,
                old_versions_of_a_day_are_forgotten_in_steps,
                pairs_are_told_apart_by_both_of_their_ids,
                placements_of_an_advertiser_are_listed_page_by_page,
            ]
        );
    };
}
