//! A breakdown by ad over sealed hours and days: the ads of an advertiser add up to it, in every cell and filter.

#![allow(clippy::unwrap_used)] // a test suite: a panic is its way to say no

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use clickledger_core::domain::counter::{CounterKey, Counters};
use clickledger_core::domain::device::Device;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::{AdId, AdvertiserId};
use clickledger_core::domain::manifest::{HourState, Manifest};
use clickledger_core::domain::sealed::{SealedDay, SealedHour};
use clickledger_core::domain::time::{Day, HOUR_MS, Hour};
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::ports::{Manifests, SealedCounts};
use clickledger_core::service::metrics::{
    CellFilter, CountStores, Granularity, GroupBy, MetricsConfig, MetricsPage, MetricsQuery, MetricsService,
    MetricsState, Order,
};
use clickledger_testkit::memory::{MemoryBuckets, MemorySeals};
use clickledger_testkit::virtual_time::VirtualTime;
use futures_util::FutureExt;
use proptest::prelude::*;

const OWNER: Entity = Entity::Advertiser(AdvertiserId(9));
/// 2026-01-01T00:00:00Z.
const FIRST: i64 = 490_896;
const HOURS: i64 = 72;

#[derive(Debug, Clone)]
struct Click {
    ad: u64,
    /// Minute of the three days.
    minute: i64,
    verdict: Verdict,
    device: Device,
    country: &'static str,
}

fn now<T>(call: impl Future<Output = T>) -> T {
    call.now_or_never().unwrap()
}

/// All hours sealed, and of the days those that are named.
fn sealed(clicks: &[Click], days: [bool; 3]) -> MetricsService {
    let mut minutes: BTreeMap<(i64, Entity, u8), Counters> = BTreeMap::new();
    for click in clicks {
        let key = CounterKey::of(click.verdict, click.device, click.country.parse().unwrap());
        for entity in [Entity::Ad(AdId(click.ad)), OWNER] {
            let place = (click.minute / 60, entity, (click.minute % 60) as u8);
            minutes.entry(place).or_default().add(key, 1);
        }
    }
    let seals = MemorySeals::default();
    let mut items: BTreeMap<(i64, Entity), SealedHour> = BTreeMap::new();
    for ((hour, entity, minute), counters) in minutes {
        let item = items.entry((hour, entity)).or_insert_with(|| SealedHour {
            entity,
            hour: Hour(FIRST + hour),
            version: 1,
            minutes: Vec::new(),
        });
        item.minutes.push((minute, counters));
    }
    for hour in 0..HOURS {
        let of_hour: Vec<SealedHour> = items
            .range((hour, Entity::Ad(AdId(0)))..=(hour, Entity::Total))
            .map(|(_, item)| item.clone())
            .collect();
        let manifest = Manifest {
            state: HourState::Sealed,
            version: 1,
            ..Manifest::open(Hour(FIRST + hour))
        };
        now(seals.write_hours(Hour(FIRST + hour), 1, 0, of_hour)).unwrap();
        assert!(now(seals.flip(&manifest)).unwrap());
    }
    for (day, _) in (FIRST / 24..).zip(days).filter(|(_, sealed)| *sealed) {
        let entities: Vec<Entity> = (1..=4).map(|ad| Entity::Ad(AdId(ad))).chain([OWNER]).collect();
        let of_day = |entity| {
            let hours: Vec<SealedHour> = items
                .values()
                .filter(|item| item.entity == entity && item.hour.0.div_euclid(24) == day)
                .cloned()
                .collect();
            SealedDay::of_hours(entity, Day(day), 1, &hours)
        };
        now(seals.write_days(entities.into_iter().filter_map(of_day).collect())).unwrap();
        let generation = now(seals.days(Day(day), Day(day + 1))).unwrap()[0].generation;
        assert!(now(seals.flip_day(Day(day), generation, 1)).unwrap());
    }
    let stores = CountStores {
        buckets: Arc::new(MemoryBuckets::default()),
        manifests: Arc::new(seals.clone()),
        sealed: Arc::new(seals),
    };
    let clock = Arc::new(VirtualTime::new((FIRST + HOURS) * HOUR_MS));
    MetricsService::new(stores, clock, MetricsConfig::default())
}

fn ask(service: &MetricsService, query: &MetricsQuery) -> MetricsPage {
    now(service.query(query)).unwrap()
}

fn clicks() -> impl Strategy<Value = Vec<Click>> {
    let click = (
        1..=4_u64,
        0..HOURS * 60,
        prop_oneof![2 => Just(Verdict::Valid), 1 => prop::sample::select(&Verdict::ALL[..])],
        prop::sample::select(&Device::ALL[..3]),
        prop::sample::select(&["DE", "US"][..]),
    );
    let click = click.prop_map(|(ad, minute, verdict, device, country)| Click {
        ad,
        minute,
        verdict,
        device,
        country,
    });
    prop::collection::vec(click, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn ads_add_up_to_their_advertiser_in_every_filter_and_cell(
        clicks in clicks(),
        days: [bool; 3],
        from in 0..HOURS * 4,
        length in 1..HOURS * 4,
        granularity in prop::sample::select(&[Granularity::Hour, Granularity::Day, Granularity::Total][..]),
        devices in prop::option::of(prop::sample::select(&["mobile", "desktop,tablet"][..])),
    ) {
        let service = sealed(&clicks, days);
        let to = (from + length).min(HOURS * 4);
        let ms = |quarter: i64| FIRST * HOUR_MS + quarter * HOUR_MS / 4;
        let filter = CellFilter { devices: devices.and_then(|devices| devices.parse().ok()), countries: None };
        let plain = MetricsQuery {
            granularity,
            filter,
            time_zone: "Asia/Kathmandu".to_owned(),
            ..MetricsQuery::over(OWNER, ms(from), ms(to.max(from + 1)))
        };
        let whole = ask(&service, &plain);
        prop_assert_eq!(whole.meta.state, MetricsState::Final);
        let by_ad = MetricsQuery { group_by: GroupBy::Ad, ads: (1..=5).map(AdId).collect(), ..plain.clone() };
        let page = ask(&service, &by_ad);
        prop_assert_eq!(&page.totals, &whole.totals);
        prop_assert!(page.rows.iter().all(|row| row.r#final));
        for row in &whole.rows {
            let ads = page.rows.iter().filter(|ad| ad.start == row.start);
            let (mut valid, mut gross) = (0, 0);
            for ad in ads {
                valid += ad.clicks.unwrap();
                gross += ad.gross_clicks.unwrap_or(0);
            }
            prop_assert_eq!(Some(valid), row.clicks);
            prop_assert_eq!(gross, row.gross_clicks.unwrap_or(0));
        }
        let by_cell = MetricsQuery { group_by: GroupBy::DeviceCountry, ..plain };
        let cells: u64 = ask(&service, &by_cell).rows.iter().filter_map(|row| row.clicks).sum();
        prop_assert_eq!(Some(cells), whole.totals.clicks);
        if granularity == Granularity::Total {
            let top = ask(&service, &MetricsQuery { order: Some(Order::MostClicks), ..by_ad });
            let mut expected = page.rows;
            expected.sort_by_key(|row| (std::cmp::Reverse(row.clicks), row.ad));
            prop_assert_eq!(top.rows, expected);
        }
    }
}
