//! The service over a store in memory: what its answers are, case by case. [`by_hand`] compares it with counting by
//! hand, [`sealed`] also where days and hours are sealed, [`by_ad`] where rows are ads; [`questions`] is about what is left
//! out, put in order and put beside.

mod by_ad;
mod by_hand;
mod questions;
mod sealed;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::FutureExt;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::*;
use crate::domain::bucket::{Bucket, Committed, PartialWrite};
use crate::domain::counter::{Counted, CounterKey, Counters};
use crate::domain::country::Country;
use crate::domain::device::Device;
use crate::domain::entity::Entity;
use crate::domain::ids::{AdId, AdvertiserId};
use crate::domain::time::Minute;
use crate::domain::verdict::Verdict;
use crate::ports::{BucketStore, MinuteTotals, PortError, PortResult};

const AD: Entity = Entity::Ad(AdId(731));
const NOW_MS: i64 = 1_767_312_121_000;

#[derive(Default)]
struct Store {
    buckets: BTreeMap<(Entity, i64), Counters>,
    down: bool,
    /// The minutes of every read.
    reads: Mutex<Vec<(i64, i64)>>,
}

#[async_trait]
impl BucketStore for Store {
    async fn commit(&self, _writes: Vec<PartialWrite>) -> Vec<PortResult<Committed>> {
        panic!("a query writes nothing");
    }

    async fn read(&self, entity: Entity, from: Minute, to: Minute) -> PortResult<Vec<Bucket>> {
        self.reads.lock().unwrap().push((from.0, to.0));
        if self.down {
            return Err(PortError::unavailable("down"));
        }
        let found = self.buckets.range((entity, from.0)..(entity, to.0));
        Ok(found
            .map(|((entity, minute), counters)| Bucket {
                entity: *entity,
                minute: Minute(*minute),
                counters: counters.clone(),
            })
            .collect())
    }

    async fn read_totals(&self, entity: Entity, from: Minute, to: Minute) -> PortResult<Vec<MinuteTotals>> {
        let totals = |bucket: &Bucket| {
            let mut invalid = [0; 9];
            for (key, count) in bucket.counters.iter() {
                if let Counted::Invalid(verdict) = key.counted() {
                    invalid[verdict as usize] += count;
                }
            }
            MinuteTotals {
                minute: bucket.minute,
                valid: bucket.counters.valid(),
                invalid,
            }
        };
        Ok(self.read(entity, from, to).await?.iter().map(totals).collect())
    }
}

struct FixedClock;

#[async_trait]
impl Clock for FixedClock {
    fn now_ms(&self) -> i64 {
        NOW_MS
    }
    async fn sleep(&self, _ms: u64) {}
}

#[derive(Debug, Clone, Copy)]
struct Click {
    minute: i64,
    verdict: Verdict,
    device: Device,
    country: Country,
}

fn valid(minute: i64) -> Click {
    Click {
        minute,
        verdict: Verdict::Valid,
        device: Device::Mobile,
        country: Country::ZZ,
    }
}

fn store_of(clicks: &[Click]) -> Store {
    let mut store = Store::default();
    for click in clicks {
        let key = CounterKey::of(click.verdict, click.device, click.country);
        store.buckets.entry((AD, click.minute)).or_default().add(key, 1);
    }
    store
}

fn service_over(store: Arc<Store>) -> MetricsService {
    MetricsService::new(
        CountStores::unsealed(store),
        Arc::new(FixedClock),
        MetricsConfig::default(),
    )
}

fn service(clicks: &[Click]) -> MetricsService {
    service_over(Arc::new(store_of(clicks)))
}

fn run(service: &MetricsService, query: &MetricsQuery) -> Result<MetricsPage, QueryError> {
    service
        .query(query)
        .now_or_never()
        .expect("the store in memory never waits")
}

fn at(text: &str) -> i64 {
    text.parse::<LocalTime>().unwrap().unix_ms
}

fn minute(text: &str) -> i64 {
    at(text) / 60_000
}

fn query(from: &str, to: &str, granularity: Granularity, zone: &str) -> MetricsQuery {
    MetricsQuery {
        granularity,
        time_zone: zone.to_owned(),
        ..MetricsQuery::over(AD, at(from), at(to))
    }
}

fn starts(page: &MetricsPage) -> Vec<String> {
    page.rows.iter().map(|row| row.start.to_string()).collect()
}

fn clicks_of(page: &MetricsPage) -> Vec<u64> {
    page.rows.iter().map(|row| row.clicks.unwrap()).collect()
}

/// Every page of a query, joined; the cursors and limits as given.
fn joined(service: &MetricsService, query: &MetricsQuery, limits: &[usize]) -> Vec<MetricsRow> {
    let mut query = query.clone();
    let mut rows = Vec::new();
    // More pages than any case has rows: a cursor that leads back to its own page fails here.
    for limit in limits.iter().cycle().take(20_000) {
        query.limit = Some(*limit);
        let page = run(service, &query).unwrap();
        assert!(page.rows.len() <= *limit);
        assert!(
            page.meta.next_cursor.is_none() || page.rows.len() == *limit,
            "only the last page may be short"
        );
        rows.extend(page.rows);
        query.cursor = page.meta.next_cursor;
        if query.cursor.is_none() {
            return rows;
        }
    }
    panic!("the pages never end")
}

#[test]
fn every_zone_is_whole_quarter_hours_from_utc_since_2000() {
    assert!(jiff::tz::db().available().count() > 400);
    for name in jiff::tz::db().available() {
        let zone = TimeZone::get(name.as_str()).unwrap();
        let begin: Timestamp = "1999-01-01T00:00:00Z".parse().unwrap();
        let offsets = zone.following(begin).take(200).map(|t| t.offset());
        for offset in offsets.chain([zone.to_offset(begin)]) {
            assert_eq!(offset.seconds() % 900, 0, "{name}");
        }
    }
}

#[test]
fn days_are_23_24_or_25_hours_long() {
    let clicks: Vec<Click> = (minute("2026-03-28T00:00:00Z")..minute("2026-10-27T00:00:00Z"))
        .map(valid)
        .collect();
    let service = service(&clicks);
    let days = |from, to| {
        let page = run(&service, &query(from, to, Granularity::Day, "Europe/Berlin")).unwrap();
        starts(&page)
            .into_iter()
            .zip(clicks_of(&page))
            .collect::<Vec<_>>()
    };
    let spring = days("2026-03-29T00:00:00+01:00", "2026-03-31T00:00:00+02:00");
    let expected = [
        ("2026-03-29T00:00:00+01:00".to_owned(), 23 * 60),
        ("2026-03-30T00:00:00+02:00".to_owned(), 1440),
    ];
    assert_eq!(spring, expected);
    let autumn = days("2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00");
    assert_eq!(autumn, [("2026-10-25T00:00:00+02:00".to_owned(), 25 * 60)]);
}

#[test]
fn an_hour_that_comes_twice_is_two_rows_and_one_that_is_left_out_is_none() {
    let hours = |from, to| {
        starts(
            &run(
                &service(&[]),
                &query(from, to, Granularity::Hour, "Europe/Berlin"),
            )
            .unwrap(),
        )
    };
    assert_eq!(
        hours("2026-10-25T01:00:00+02:00", "2026-10-25T04:00:00+01:00"),
        [
            "2026-10-25T01:00:00+02:00",
            "2026-10-25T02:00:00+02:00",
            "2026-10-25T02:00:00+01:00",
            "2026-10-25T03:00:00+01:00"
        ]
    );
    assert_eq!(
        hours("2026-03-29T01:00:00+01:00", "2026-03-29T04:00:00+02:00"),
        ["2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00"]
    );
}

#[test]
fn lord_howe_sets_its_clock_by_half_an_hour() {
    let all: Vec<Click> = (minute("2026-04-04T00:00:00Z")..minute("2026-04-06T00:00:00Z"))
        .map(valid)
        .collect();
    let zone = "Australia/Lord_Howe";
    let service = service(&all);
    let page = run(
        &service,
        &query(
            "2026-04-05T01:00:00+11:00",
            "2026-04-05T03:00:00+10:30",
            Granularity::Hour,
            zone,
        ),
    )
    .unwrap();
    assert_eq!(
        starts(&page),
        [
            "2026-04-05T01:00:00+11:00",
            "2026-04-05T01:30:00+10:30",
            "2026-04-05T02:00:00+10:30"
        ]
    );
    assert_eq!(clicks_of(&page), [60, 30, 60]);
    let day = query(
        "2026-04-05T00:00:00+11:00",
        "2026-04-06T00:00:00+10:30",
        Granularity::Day,
        zone,
    );
    assert_eq!(clicks_of(&run(&service, &day).unwrap()), [24 * 60 + 30]);
}

#[test]
fn a_date_that_samoa_left_out_has_no_row() {
    let page = run(
        &service(&[]),
        &query(
            "2011-12-29T00:00:00-10:00",
            "2012-01-01T00:00:00+14:00",
            Granularity::Day,
            "Pacific/Apia",
        ),
    );
    assert_eq!(
        starts(&page.unwrap()),
        ["2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00"]
    );
}

#[test]
fn a_clock_set_back_over_midnight_begins_no_second_day() {
    // One minute past midnight of 2 November 2008, back to 23:01 of the day before.
    let page = run(
        &service(&[]),
        &query(
            "2008-11-01T00:00:00-02:30",
            "2008-11-03T00:00:00-03:30",
            Granularity::Day,
            "America/St_Johns",
        ),
    );
    assert_eq!(
        starts(&page.unwrap()),
        ["2008-11-01T00:00:00-02:30", "2008-11-02T00:00:00-02:30"]
    );
}

#[test]
fn hours_of_zones_between_the_hours_are_local() {
    for (zone, first, second) in [
        (
            "Asia/Kolkata",
            "2026-01-02T05:30:00+05:30",
            "2026-01-02T06:00:00+05:30",
        ),
        (
            "Asia/Kathmandu",
            "2026-01-02T05:45:00+05:45",
            "2026-01-02T06:00:00+05:45",
        ),
        (
            "Pacific/Chatham",
            "2026-01-02T13:45:00+13:45",
            "2026-01-02T14:00:00+13:45",
        ),
    ] {
        let page = run(
            &service(&[]),
            &query(
                "2026-01-02T00:00:00Z",
                "2026-01-02T01:00:00Z",
                Granularity::Hour,
                zone,
            ),
        )
        .unwrap();
        assert_eq!(starts(&page), [first, second]);
    }
}

#[test]
fn rows_at_both_ends_are_cut_to_the_range() {
    let all: Vec<Click> = (minute("2026-01-02T00:00:00Z")..minute("2026-01-02T06:00:00Z"))
        .map(valid)
        .collect();
    let page = run(
        &service(&all),
        &query(
            "2026-01-02T01:50:00Z",
            "2026-01-02T03:05:00Z",
            Granularity::Hour,
            "UTC",
        ),
    )
    .unwrap();
    assert_eq!(
        starts(&page),
        [
            "2026-01-02T01:50:00Z",
            "2026-01-02T02:00:00Z",
            "2026-01-02T03:00:00Z"
        ]
    );
    assert_eq!(clicks_of(&page), [10, 60, 5]);
    assert_eq!(page.totals.clicks, Some(75));
}

#[test]
fn a_window_reads_what_lies_before_the_range() {
    let from = minute("2026-01-02T00:00:00Z");
    let clicks: Vec<Click> = [from - 15, from - 14, from - 1, from].map(valid).to_vec();
    let store = Arc::new(store_of(&clicks));
    let mut asked = query(
        "2026-01-02T00:00:00Z",
        "2026-01-02T00:03:00Z",
        Granularity::Minute,
        "UTC",
    );
    asked.window = Some("15m".parse().unwrap());
    let page = run(&service_over(Arc::clone(&store)), &asked).unwrap();
    assert_eq!(clicks_of(&page), [3, 2, 2]);
    assert_eq!(page.totals.clicks, Some(1), "totals are of the range alone");
    assert_eq!(*store.reads.lock().unwrap(), [(from - 14, from + 3)]);
}

#[test]
fn an_empty_range_is_filled_with_zeros_and_a_breakdown_of_it_is_empty() {
    let mut asked = query(
        "2026-01-02T00:00:00Z",
        "2026-01-02T00:03:00Z",
        Granularity::Minute,
        "UTC",
    );
    let page = run(&service(&[]), &asked).unwrap();
    assert_eq!(clicks_of(&page), [0, 0, 0]);
    assert_eq!(page.totals.peak_minute, Some(None));
    assert_eq!(page.totals.invalid_click_rate, Some(Share::default()));
    asked.group_by = GroupBy::Device;
    assert_eq!(run(&service(&[]), &asked).unwrap().rows, []);
}

#[test]
fn of_equal_peak_minutes_the_earliest_is_named() {
    let from = minute("2026-01-02T00:00:00Z");
    let clicks = [
        from - 1,
        from - 1,
        from - 1,
        from + 1,
        from + 4,
        from + 4,
        from + 7,
        from + 7,
    ]
    .map(valid);
    let page = run(
        &service(&clicks),
        &query(
            "2026-01-02T00:00:00Z",
            "2026-01-02T01:00:00Z",
            Granularity::Hour,
            "Europe/Berlin",
        ),
    );
    let peak = page.unwrap().totals.peak_minute.unwrap().unwrap();
    assert_eq!(
        (peak.start.to_string().as_str(), peak.clicks),
        ("2026-01-02T01:04:00+01:00", 2)
    );
}

#[test]
fn another_entity_s_clicks_are_not_counted() {
    let mut asked = query(
        "2026-01-02T00:00:00Z",
        "2026-01-02T00:01:00Z",
        Granularity::Minute,
        "UTC",
    );
    let clicks = [valid(minute("2026-01-02T00:00:00Z"))];
    assert_eq!(run(&service(&clicks), &asked).unwrap().totals.clicks, Some(1));
    asked.entity = Entity::Advertiser(AdvertiserId(731));
    assert_eq!(run(&service(&clicks), &asked).unwrap().totals.clicks, Some(0));
}

#[test]
fn json_is_shaped_as_documented() {
    let first = minute("2026-01-02T00:00:00Z");
    let invalid = |verdict| Click {
        verdict,
        ..valid(first + 1)
    };
    let clicks = [
        valid(first),
        valid(first + 1),
        valid(first + 1),
        invalid(Verdict::Duplicate),
        invalid(Verdict::Prefetch),
        invalid(Verdict::Duplicate),
    ];
    let mut asked = query(
        "2026-01-02T00:00:00Z",
        "2026-01-02T00:02:00Z",
        Granularity::Minute,
        "Europe/Berlin",
    );
    asked.window = Some("1m".parse().unwrap());
    let page = run(&service(&clicks), &asked).unwrap();
    let expected = serde_json::json!({
        "query": {"entity": "ad", "id": "731", "from": "2026-01-02T00:00:00Z", "to": "2026-01-02T00:02:00Z",
                  "granularity": "minute", "group_by": [], "window": "1m", "tz": "Europe/Berlin"},
        "rows": [
            {"start": "2026-01-02T01:00:00+01:00", "gross_clicks": 1, "clicks": 1, "invalid_clicks": 0,
             "invalid_by_verdict": {}, "final": false},
            {"start": "2026-01-02T01:01:00+01:00", "gross_clicks": 5, "clicks": 2, "invalid_clicks": 3,
             "invalid_by_verdict": {"prefetch": 1, "duplicate": 2}, "final": false},
        ],
        "totals": {"gross_clicks": 6, "clicks": 3, "invalid_clicks": 3, "invalid_click_rate": 0.5,
                   "invalid_by_verdict": {"prefetch": 1, "duplicate": 2},
                   "peak_minute": {"start": "2026-01-02T01:01:00+01:00", "clicks": 2}},
        "meta": {"final_until": null, "as_of": "2026-01-02T00:02:01Z", "state": "live",
                 "states": ["open"], "next_cursor": null},
    });
    assert_eq!(serde_json::to_value(&page).unwrap(), expected);

    asked.group_by = GroupBy::DeviceCountry;
    asked.window = None;
    asked.entity = AD;
    let page = serde_json::to_value(run(&service(&clicks), &asked).unwrap()).unwrap();
    assert_eq!(
        page["query"]["group_by"],
        serde_json::json!(["device", "country"])
    );
    assert_eq!(
        page["rows"][1],
        serde_json::json!({"start": "2026-01-02T01:01:00+01:00", "device": "mobile", "country": "ZZ", "clicks": 2,
                           "final": false})
    );
}

#[test]
fn csv_columns_are_stable() {
    let first = minute("2026-01-02T00:00:00Z");
    let clicks = [
        valid(first),
        Click {
            verdict: Verdict::Bot,
            ..valid(first)
        },
    ];
    let mut asked = query(
        "2026-01-02T00:00:00Z",
        "2026-01-02T00:01:00Z",
        Granularity::Minute,
        "UTC",
    );
    let csv = |asked: &MetricsQuery| {
        let mut text = String::new();
        write_csv(&run(&service(&clicks), asked).unwrap(), true, &mut text).unwrap();
        text
    };
    assert_eq!(
        csv(&asked),
        "start,gross_clicks,clicks,invalid_clicks,invalid_prefetch,invalid_missing_token,invalid_bad_token,\
         invalid_expired_token,invalid_inactive_ad,invalid_bot,invalid_rate_limited,invalid_duplicate,final\n\
         2026-01-02T00:00:00Z,2,1,1,0,0,0,0,0,1,0,0,false\n"
    );
    let named: Vec<String> = Verdict::ALL[1..]
        .iter()
        .map(|verdict| format!("invalid_{verdict}"))
        .collect();
    assert_eq!(run(&service(&clicks), &asked).unwrap().columns()[4..12], named);
    asked.group_by = GroupBy::DeviceCountry;
    assert_eq!(
        csv(&asked),
        "start,device,country,clicks,final\n2026-01-02T00:00:00Z,mobile,ZZ,1,false\n"
    );
    asked.group_by = GroupBy::Verdict;
    assert_eq!(
        csv(&asked),
        "start,verdict,clicks,final\n2026-01-02T00:00:00Z,valid,1,false\n2026-01-02T00:00:00Z,bot,1,false\n"
    );
}

#[test]
fn the_invalid_rate_has_four_digits() {
    let first = minute("2026-01-02T00:00:00Z");
    let mut clicks = vec![valid(first); 82];
    clicks.extend(
        [Click {
            verdict: Verdict::Bot,
            ..valid(first)
        }; 8],
    );
    let asked = query(
        "2026-01-02T00:00:00Z",
        "2026-01-02T00:01:00Z",
        Granularity::Minute,
        "UTC",
    );
    assert_eq!(
        serde_json::to_value(run(&service(&clicks), &asked).unwrap().totals.invalid_click_rate).unwrap(),
        0.0889
    );
}

/// The parameters that a query is refused for.
fn refused(asked: &MetricsQuery) -> Vec<&'static str> {
    match run(&service(&[]), asked) {
        Err(QueryError::InvalidParameters(invalid)) => {
            invalid.iter().map(|invalid| invalid.parameter).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn refused_parameters_are_named() {
    let good = query(
        "2026-01-02T00:00:00Z",
        "2026-01-03T00:00:00Z",
        Granularity::Hour,
        "UTC",
    );
    assert!(run(&service(&[]), &good).is_ok());
    let with = |change: &dyn Fn(&mut MetricsQuery)| {
        let mut asked = good.clone();
        change(&mut asked);
        refused(&asked)
    };
    assert_eq!(with(&|q| q.from_ms += 1), ["from"]);
    assert_eq!(with(&|q| q.to_ms -= 1000), ["to"]);
    assert_eq!(with(&|q| q.to_ms = q.from_ms), ["to"]);
    assert_eq!(with(&|q| q.to_ms = q.from_ms - 60_000), ["to"]);
    assert_eq!(with(&|q| q.from_ms = 0), ["from"]);
    assert_eq!(with(&|q| q.to_ms = i64::MAX), ["to"]);
    assert_eq!(
        with(&|q| (q.from_ms, q.to_ms) = (i64::MIN, i64::MIN)),
        ["from", "to", "to"]
    );
    for zone in [
        "",
        "Berlin",
        "+01:00",
        "Etc/Unknown",
        "CET-1CEST",
        "../../etc/passwd",
        "Europe/Berlin\0",
    ] {
        assert_eq!(with(&|q| q.time_zone = zone.to_owned()), ["tz"], "{zone:?}");
    }
    assert_eq!(with(&|q| q.limit = Some(0)), ["limit"]);
    assert_eq!(with(&|q| q.limit = Some(10_001)), ["limit"]);
    assert_eq!(with(&|q| q.window = Some("90m".parse().unwrap())), ["window"]);
    assert_eq!(with(&|q| q.window = Some("32d".parse().unwrap())), ["window"]);
    assert_eq!(
        with(&|q| (q.from_ms, q.limit) = (q.from_ms + 1, Some(0))),
        ["from", "limit"],
        "all at once"
    );
    assert_eq!(with(&|q| q.cursor = Some("x".to_owned())), ["cursor"]);
}

#[test]
fn zone_names_are_echoed_in_their_usual_spelling() {
    let asked = query(
        "2026-01-02T00:00:00Z",
        "2026-01-02T01:00:00Z",
        Granularity::Hour,
        "europe/berlin",
    );
    assert_eq!(run(&service(&[]), &asked).unwrap().query.tz, "Europe/Berlin");
}

#[test]
fn words_of_queries_are_read_and_others_refused() {
    for (text, written) in [
        ("15m", "15m"),
        ("60m", "1h"),
        ("1h", "1h"),
        ("24h", "1d"),
        ("7d", "7d"),
        ("90m", "90m"),
    ] {
        assert_eq!(text.parse::<Window>().unwrap().to_string(), written);
    }
    for bad in [
        "",
        "m",
        "0m",
        "01m",
        "-1m",
        "+1m",
        "1",
        "1s",
        "1.5h",
        "1 h",
        "9999999d",
        "99999999999999999999m",
        "ä",
    ] {
        assert_eq!(bad.parse::<Window>(), Err(BadWindow), "{bad:?}");
    }
    assert_eq!("country,device".parse(), Ok(GroupBy::DeviceCountry));
    assert_eq!("".parse(), Ok(GroupBy::None));
    assert_eq!("placement".parse(), Ok(GroupBy::Placement));
    for bad in [
        "ad,device",
        "placement,device",
        "placements",
        "device,verdict",
        "device,device",
        "device,",
        "Device",
        "device country",
    ] {
        assert_eq!(
            bad.parse::<GroupBy>(),
            Err(UnsupportedBreakdown::Columns(bad.to_owned())),
            "{bad:?}"
        );
    }
    assert_eq!("week".parse::<Granularity>(), Err(UnknownGranularity));
}

#[test]
fn ranges_are_limited_by_granularity_on_the_local_clock() {
    let too_large =
        |from, to, granularity, zone| match run(&service(&[]), &query(from, to, granularity, zone)) {
            Ok(_) => None,
            Err(QueryError::RangeTooLarge { longest_days, .. }) => Some(longest_days),
            Err(other) => panic!("{other}"),
        };
    let berlin = "Europe/Berlin";
    use Granularity::{Day, Hour, Minute};
    // October is 31 days and an hour; 31 times 24 hours may end an hour past the 31st local midnight.
    assert_eq!(
        too_large(
            "2026-10-01T00:00:00+02:00",
            "2026-11-01T00:00:00+01:00",
            Minute,
            berlin
        ),
        None
    );
    assert_eq!(
        too_large(
            "2026-10-01T00:00:00+02:00",
            "2026-11-01T00:01:00+01:00",
            Minute,
            berlin
        ),
        Some(31)
    );
    assert_eq!(
        too_large("2026-03-15T00:00:00Z", "2026-04-15T00:00:00Z", Minute, berlin),
        None
    );
    assert_eq!(
        too_large("2026-03-15T00:00:00Z", "2026-04-15T00:01:00Z", Minute, berlin),
        Some(31)
    );
    assert_eq!(
        too_large("2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z", Hour, "UTC"),
        None
    );
    assert_eq!(
        too_large("2024-01-01T00:00:00Z", "2025-01-01T00:01:00Z", Hour, "UTC"),
        Some(366)
    );
    assert_eq!(
        too_large("2016-01-01T00:00:00Z", "2026-01-01T00:00:00Z", Day, "UTC"),
        None
    );
    assert_eq!(
        too_large("2016-01-01T00:00:00Z", "2026-01-02T00:00:00Z", Day, "UTC"),
        Some(3653)
    );
}

#[test]
fn a_cursor_is_refused_by_another_query_and_takes_another_limit() {
    let asked = query(
        "2026-01-02T00:00:00Z",
        "2026-01-02T01:00:00Z",
        Granularity::Minute,
        "UTC",
    );
    let service = service(&[]);
    let first = run(
        &service,
        &MetricsQuery {
            limit: Some(7),
            ..asked.clone()
        },
    )
    .unwrap();
    let cursor = first.meta.next_cursor;
    let next = run(
        &service,
        &MetricsQuery {
            limit: Some(100),
            cursor: cursor.clone(),
            ..asked.clone()
        },
    )
    .unwrap();
    assert_eq!((next.rows.len(), next.meta.next_cursor), (53, None));
    for other in [
        MetricsQuery {
            to_ms: asked.to_ms + 60_000,
            ..asked.clone()
        },
        MetricsQuery {
            from_ms: asked.from_ms - 60_000,
            ..asked.clone()
        },
        MetricsQuery {
            entity: Entity::Total,
            ..asked.clone()
        },
        MetricsQuery {
            granularity: Granularity::Hour,
            ..asked.clone()
        },
        MetricsQuery {
            group_by: GroupBy::Verdict,
            ..asked.clone()
        },
        MetricsQuery {
            window: Some("5m".parse().unwrap()),
            ..asked.clone()
        },
        MetricsQuery {
            time_zone: "Europe/Berlin".to_owned(),
            ..asked
        },
    ] {
        let Err(error) = run(
            &service,
            &MetricsQuery {
                cursor: cursor.clone(),
                ..other
            },
        ) else {
            panic!("accepted")
        };
        assert!(error.to_string().contains("belongs to another query"), "{error}");
    }
}

#[test]
fn clicks_that_come_between_pages_shift_no_row() {
    let first = minute("2026-01-02T00:00:00Z");
    let asked = MetricsQuery {
        group_by: GroupBy::Device,
        limit: Some(1),
        ..query(
            "2026-01-02T00:00:00Z",
            "2026-01-02T00:02:00Z",
            Granularity::Minute,
            "UTC",
        )
    };
    let cursor = run(&service(&[valid(first), valid(first + 1)]), &asked)
        .unwrap()
        .meta
        .next_cursor;
    let more = [
        valid(first),
        Click {
            device: Device::Desktop,
            ..valid(first)
        },
        valid(first + 1),
    ];
    let page = run(&service(&more), &MetricsQuery { cursor, ..asked }).unwrap();
    assert_eq!(starts(&page), ["2026-01-02T00:01:00Z"]);
}

#[test]
fn a_long_range_is_read_in_stretches_without_gap_or_overlap() {
    let store = Arc::new(Store::default());
    let mut asked = query(
        "2020-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z",
        Granularity::Day,
        "Asia/Kolkata",
    );
    for group_by in [GroupBy::None, GroupBy::Device] {
        asked.group_by = group_by;
        run(&service_over(Arc::clone(&store)), &asked).unwrap();
        let reads = std::mem::take(&mut *store.reads.lock().unwrap());
        assert!(reads.iter().all(|(from, to)| to - from <= source::TOTALS_STRETCH));
        assert!(reads.windows(2).all(|pair| pair[0].1 == pair[1].0));
        assert_eq!(reads.first().unwrap().0, asked.from_ms / 60_000);
        assert_eq!(reads.last().unwrap().1, asked.to_ms / 60_000);
    }
}

#[test]
fn a_store_that_is_down_is_an_error_that_may_be_tried_again() {
    let store = Store {
        down: true,
        ..Store::default()
    };
    let asked = query(
        "2026-01-02T00:00:00Z",
        "2026-01-02T01:00:00Z",
        Granularity::Hour,
        "UTC",
    );
    match run(&service_over(Arc::new(store)), &asked) {
        Err(QueryError::Store(error)) => assert!(error.is_retryable()),
        other => panic!("{other:?}"),
    }
}
