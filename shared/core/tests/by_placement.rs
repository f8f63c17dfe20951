//! A breakdown by placement: an advertiser's sealed clicks by where they came from, and nothing of what is not sealed.

#![allow(clippy::unwrap_used)] // a test suite: a panic is its way to say no

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use clickledger_core::domain::bucket::{Condition, PartialWrite};
use clickledger_core::domain::counter::{CounterKey, Counters};
use clickledger_core::domain::device::Device;
use clickledger_core::domain::entity::{BucketKey, Entity};
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, PlacementId};
use clickledger_core::domain::manifest::{HourState, Manifest};
use clickledger_core::domain::sealed::{SealedDay, SealedHour};
use clickledger_core::domain::time::{Day, HOUR_MS, Hour, Minute};
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::ports::{BucketStore, Manifests, SealedCounts};
use clickledger_core::service::metrics::{
    CellFilter, Compare, CountStores, Freshness, Granularity, GroupBy, MetricsConfig, MetricsPage,
    MetricsQuery, MetricsRow, MetricsService, MetricsState, Order, QueryError, UnsupportedBreakdown,
    write_csv,
};
use clickledger_testkit::memory::{MemoryBuckets, MemorySeals};
use clickledger_testkit::virtual_time::VirtualTime;
use futures_util::FutureExt;
use proptest::prelude::*;

const ADVERTISER: AdvertiserId = AdvertiserId(9);
const OWNER: Entity = Entity::Advertiser(ADVERTISER);
/// 2026-01-01T00:00:00Z.
const FIRST: i64 = 490_896;
const HOURS: i64 = 72;

#[derive(Debug, Clone)]
struct Click {
    /// 0: none.
    placement: u64,
    advertiser: u64,
    /// Minute of the three days.
    minute: i64,
    verdict: Verdict,
    device: Device,
    country: &'static str,
}

impl Click {
    fn hour(&self) -> Hour {
        Hour(FIRST + self.minute / 60)
    }

    fn entities(&self) -> Vec<Entity> {
        let (advertiser, placement) = (AdvertiserId(self.advertiser), PlacementId(self.placement));
        let mut all = vec![Entity::Advertiser(advertiser)];
        if self.placement > 0 {
            all.extend([
                Entity::Placement(placement),
                Entity::AdvertiserPlacement(advertiser, placement),
            ]);
        }
        all
    }
}

fn now<T>(call: impl Future<Output = T>) -> T {
    call.now_or_never().unwrap()
}

/// The clicks of hours that are sealed as items, those of whole days too; the others as partials of what is counted live.
fn service(clicks: &[Click], unsealed: &BTreeSet<i64>, days: [bool; 3]) -> MetricsService {
    let (seals, buckets) = (MemorySeals::default(), MemoryBuckets::default());
    let is_sealed = |hour: Hour| !unsealed.contains(&(hour.0 - FIRST));
    let mut minutes: BTreeMap<(Hour, Entity, u8), Counters> = BTreeMap::new();
    for click in clicks {
        let key = CounterKey::of(click.verdict, click.device, click.country.parse().unwrap());
        for entity in click.entities() {
            let place = (click.hour(), entity, (click.minute % 60) as u8);
            minutes.entry(place).or_default().add(key, 1);
        }
    }
    let mut items: BTreeMap<(Hour, Entity), SealedHour> = BTreeMap::new();
    for ((hour, entity, place), counters) in minutes {
        if is_sealed(hour) {
            let item = items.entry((hour, entity)).or_insert_with(|| SealedHour {
                entity,
                hour,
                version: 1,
                minutes: Vec::new(),
            });
            item.minutes.push((place, counters));
        } else if entity.is_counted_live() {
            let minute = Minute(hour.first_minute().0 + i64::from(place));
            let write = PartialWrite {
                key: BucketKey { entity, minute },
                shard: "s".into(),
                condition: Condition::Below(1.into()),
                last: 1.into(),
                delta: counters,
            };
            now(buckets.commit(vec![write]));
        }
    }
    for hour in (FIRST..FIRST + HOURS).map(Hour).filter(|hour| is_sealed(*hour)) {
        let of_hour = items.values().filter(|item| item.hour == hour).cloned();
        now(seals.write_hours(hour, 1, 0, of_hour.collect())).unwrap();
        let manifest = Manifest {
            state: HourState::Sealed,
            version: 1,
            ..Manifest::open(hour)
        };
        assert!(now(seals.flip(&manifest)).unwrap());
    }
    for (day, _) in (FIRST / 24..).map(Day).zip(days).filter(|(_, sealed)| *sealed) {
        if !day.hours().all(is_sealed) {
            continue;
        }
        let entities: BTreeSet<Entity> = items.keys().map(|(_, entity)| *entity).collect();
        let of_day = |entity| {
            let own = items.values().filter(|item| item.entity == entity).cloned();
            SealedDay::of_hours(entity, day, 1, &own.collect::<Vec<_>>())
        };
        now(seals.write_days(entities.into_iter().filter_map(of_day).collect())).unwrap();
        let generation = now(seals.days(day, Day(day.0 + 1))).unwrap()[0].generation;
        assert!(now(seals.flip_day(day, generation, 1)).unwrap());
    }
    let stores = CountStores {
        buckets: Arc::new(buckets),
        manifests: Arc::new(seals.clone()),
        sealed: Arc::new(seals),
    };
    let clock = Arc::new(VirtualTime::new((FIRST + HOURS) * HOUR_MS));
    MetricsService::new(stores, clock, MetricsConfig::default())
}

fn ask(service: &MetricsService, query: &MetricsQuery) -> MetricsPage {
    now(service.query(query)).unwrap()
}

/// `from..to` in minutes of the three days.
fn by_placement(from: i64, to: i64, granularity: Granularity) -> MetricsQuery {
    let ms = |minute: i64| FIRST * HOUR_MS + minute * 60_000;
    MetricsQuery {
        granularity,
        group_by: GroupBy::Placement,
        ..MetricsQuery::over(OWNER, ms(from), ms(to))
    }
}

fn clicks() -> impl Strategy<Value = Vec<Click>> {
    let click = (
        0..=4_u64,
        prop_oneof![4 => Just(9_u64), 1 => Just(8)],
        0..HOURS * 60,
        prop_oneof![2 => Just(Verdict::Valid), 1 => prop::sample::select(&Verdict::ALL[..])],
        prop::sample::select(&Device::ALL[..3]),
        prop::sample::select(&["DE", "US"][..]),
    );
    let click = click.prop_map(
        |(placement, advertiser, minute, verdict, device, country)| Click {
            placement,
            advertiser,
            minute,
            verdict,
            device,
            country,
        },
    );
    prop::collection::vec(click, 0..200)
}

/// The rows as counting by hand finds them: start, placement, valid and gross clicks.
fn by_hand(
    clicks: &[Click],
    unsealed: &BTreeSet<i64>,
    query: &MetricsQuery,
    periods: &[(i64, i64)],
    window: usize,
) -> Vec<(i64, u64, u64, u64)> {
    let mut rows = Vec::new();
    for (n, (start, end)) in periods.iter().enumerate() {
        // The window reaches before the range by periods of the same length.
        let length = end - start;
        let begin = start - length * (window as i64 - 1);
        let sealed = (start.div_euclid(60)..=(end - 1).div_euclid(60)).any(|hour| !unsealed.contains(&hour));
        for placement in 1..=4 {
            let own = clicks.iter().filter(|click| {
                (click.placement, click.advertiser) == (placement, 9)
                    && (begin..*end).contains(&click.minute)
                    && !unsealed.contains(&(click.minute / 60))
            });
            let own: Vec<&Click> = own.filter(|click| taken(query, click)).collect();
            let valid = own.iter().filter(|click| click.verdict.is_valid()).count() as u64;
            if sealed && !own.is_empty() {
                rows.push((n as i64, placement, valid, own.len() as u64));
            }
        }
    }
    rows
}

fn taken(query: &MetricsQuery, click: &Click) -> bool {
    let devices = query.filter.devices;
    devices
        .is_none_or(|devices| click.verdict.is_valid() && devices.iter().any(|device| device == click.device))
}

fn joined(service: &MetricsService, query: &MetricsQuery, limit: usize) -> Vec<MetricsRow> {
    let mut query = MetricsQuery {
        limit: Some(limit),
        ..query.clone()
    };
    let mut rows = Vec::new();
    loop {
        let page = ask(service, &query);
        rows.extend(page.rows);
        query.cursor = page.meta.next_cursor;
        if query.cursor.is_none() {
            return rows;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn rows_are_the_advertisers_sealed_clicks_by_placement_however_pages_are_cut(
        clicks in clicks(),
        unsealed in prop::collection::btree_set(0..HOURS, 0..20),
        days: [bool; 3],
        from in 0..HOURS,
        length in 1..HOURS,
        granularity in prop::sample::select(&[Granularity::Hour, Granularity::Day, Granularity::Total][..]),
        window in 1..4_usize,
        filtered: bool,
        limit in 1..9_usize,
    ) {
        let service = service(&clicks, &unsealed, days);
        let (unit, from, to) = match granularity {
            Granularity::Day => (1440, from / 24 * 1440, 1440 * 3),
            Granularity::Total => {
                let to = (from + length).min(HOURS);
                ((to - from) * 60, from * 60, to * 60)
            }
            _ => (60, from * 60, (from + length).min(HOURS) * 60),
        };
        let window = if granularity == Granularity::Hour { window } else { 1 };
        let mut query = by_placement(from, to, granularity);
        query.window = (window > 1).then(|| format!("{window}h").parse().unwrap());
        if filtered {
            query.filter = CellFilter { devices: "mobile,desktop".parse().ok(), countries: None };
        }
        let page = ask(&service, &query);
        let periods: Vec<(i64, i64)> = (from..to).step_by(unit as usize).map(|start| (start, start + unit)).collect();
        let must = by_hand(&clicks, &unsealed, &query, &periods, window);
        let found: Vec<(i64, u64, u64, u64)> = page.rows.iter().map(|row| {
            let minute = row.start.unix_ms / 60_000 - FIRST * 60;
            let clicks = row.clicks.unwrap();
            ((minute - from) / unit, row.placement.unwrap().0, clicks, row.gross_clicks.unwrap_or(clicks))
        }).collect();
        prop_assert_eq!(found, must);
        prop_assert_eq!(&joined(&service, &query, limit), &page.rows);

        // The totals are all of the advertiser's, and a row is final where all of it is sealed.
        let plain = MetricsQuery { group_by: GroupBy::None, window: None, ..query.clone() };
        let whole = ask(&service, &plain);
        prop_assert_eq!(&page.totals, &whole.totals);
        for row in &page.rows {
            let start = row.start.unix_ms / 60_000 - FIRST * 60;
            let begin = start - unit * (window as i64 - 1);
            // Before the first day nothing is sealed.
            let hours = begin.div_euclid(60)..(start + unit) / 60;
            let all = hours.into_iter().all(|hour| hour >= 0 && !unsealed.contains(&hour));
            prop_assert_eq!(row.r#final, all);
        }
        if granularity == Granularity::Total {
            let top = ask(&service, &MetricsQuery { order: Some(Order::MostClicks), ..query });
            let mut expected = page.rows;
            expected.sort_by_key(|row| (std::cmp::Reverse(row.clicks), row.placement));
            prop_assert_eq!(top.rows, expected);
        }
        let text = serde_json::to_string(&whole).unwrap();
        prop_assert_eq!(serde_json::from_str::<MetricsPage>(&text).unwrap(), whole);
    }
}

fn valid(placement: u64, minute: i64) -> Click {
    Click {
        placement,
        advertiser: 9,
        minute,
        verdict: Verdict::Valid,
        device: Device::Mobile,
        country: "DE",
    }
}

#[test]
fn a_row_that_reaches_into_unsealed_time_has_the_sealed_part_and_is_not_final() {
    let clicks = [valid(3, 10), valid(3, 70), valid(5, 70), valid(0, 20)];
    let service = service(&clicks, &BTreeSet::from([1]), [false; 3]);
    let page = ask(&service, &by_placement(0, 120, Granularity::Total));
    let rows: Vec<_> = page
        .rows
        .iter()
        .map(|row| (row.placement, row.clicks, row.r#final))
        .collect();
    assert_eq!(rows, [(Some(PlacementId(3)), Some(1), false)]);
    assert_eq!(
        page.totals.clicks,
        Some(4),
        "clicks without a placement, and live ones"
    );
    assert_eq!(page.meta.state, MetricsState::Mixed);

    // A window that reaches back to what is sealed gives unsealed time no row.
    let mut query = by_placement(0, 180, Granularity::Hour);
    query.window = "3h".parse().ok();
    let starts: Vec<i64> = ask(&service, &query)
        .rows
        .iter()
        .map(|row| row.start.unix_ms / HOUR_MS - FIRST)
        .collect();
    assert_eq!(starts, [0, 2]);
}

#[test]
fn rows_have_every_count_as_json_and_csv_and_another_range_beside_them() {
    let bot = Click {
        verdict: Verdict::Bot,
        ..valid(3, 70)
    };
    let clicks = [
        valid(3, 65),
        bot,
        valid(5, 65),
        valid(5, 66),
        valid(3, 5),
        valid(7, 6),
    ];
    let service = service(&clicks, &BTreeSet::new(), [false; 3]);
    let mut query = by_placement(60, 120, Granularity::Total);
    query.order = Some(Order::MostClicks);
    query.metrics = "gross_clicks,clicks".parse().ok();
    query.compare = Some(Compare::PreviousPeriod);
    let page = ask(&service, &query);
    let json = serde_json::to_value(&page).unwrap();
    let start = "2026-01-01T01:00:00Z";
    assert_eq!(
        json["rows"],
        serde_json::json!([
            {"start": start, "placement": "5", "gross_clicks": 2, "clicks": 2, "final": true},
            {"start": start, "placement": "3", "gross_clicks": 2, "clicks": 1, "final": true},
        ])
    );
    assert_eq!(json["query"]["group_by"], serde_json::json!(["placement"]));
    // Groups of the answer, in its order, as far as they were there.
    assert_eq!(
        json["comparison"]["rows"],
        serde_json::json!([
            {"start": "2026-01-01T00:00:00Z", "placement": "3", "gross_clicks": 1, "clicks": 1, "final": true},
        ])
    );
    let mut csv = String::new();
    write_csv(&page, true, &mut csv).unwrap();
    assert_eq!(
        csv,
        format!("start,placement,gross_clicks,clicks,final\n{start},5,2,2,true\n{start},3,2,1,true\n")
    );
    assert_eq!(serde_json::from_value::<MetricsPage>(json).unwrap(), page);
}

#[test]
fn only_an_advertiser_has_placements_and_too_much_is_refused() {
    let many: Vec<Click> = (1..=1001).map(|placement| valid(placement, 5)).collect();
    let asked = |clicks: &[Click], entity, to: i64, granularity| {
        let query = MetricsQuery {
            entity,
            ..by_placement(0, to, granularity)
        };
        now(service(clicks, &BTreeSet::new(), [false; 3]).query(&query))
    };
    for entity in [
        Entity::Ad(AdId(1)),
        Entity::Campaign(CampaignId(1)),
        Entity::Placement(PlacementId(1)),
        Entity::Total,
    ] {
        let refused = asked(&many, entity, 60, Granularity::Hour);
        assert!(
            matches!(
                refused,
                Err(QueryError::UnsupportedBreakdown(
                    UnsupportedBreakdown::PlacementsOf
                ))
            ),
            "{refused:?}"
        );
    }
    let whole = asked(&many[..1000], OWNER, 60, Granularity::Hour).unwrap();
    assert_eq!(whole.rows.len(), 1000);
    let refused = asked(&many, OWNER, 60, Granularity::Hour).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a breakdown by placement is of at most 1000 placements, and there are more: ask for a shorter range"
    );
    // 4,000 days of members by the minute.
    assert!(asked(&many[..1000], OWNER, 4 * 1440, Granularity::Minute).is_ok());
    let refused = asked(&many[..1000], OWNER, 5 * 1440, Granularity::Minute);
    assert!(
        matches!(
            refused,
            Err(QueryError::TooManyMemberDays {
                members: 1000,
                days: 5,
                ..
            })
        ),
        "{refused:?}"
    );
}

#[test]
fn an_answer_of_sealed_hours_has_a_tag_and_is_asked_for_again_also_when_they_are_closed() {
    let service = service(&[valid(3, 5)], &BTreeSet::from([2]), [false; 3]);
    let freshness = |from, to| {
        let prepared = now(service.prepare(&by_placement(from, to, Granularity::Hour))).unwrap();
        prepared.freshness()
    };
    assert!(matches!(freshness(0, 120), Freshness::Sealed(_)));
    assert_eq!(freshness(0, 180), Freshness::Live);
}
