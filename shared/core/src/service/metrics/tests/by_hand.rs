//! The service against a count by hand, around the changes of difficult clocks: every click is looked at, every minute's
//! local time is asked of the zone.

use std::collections::BTreeSet;

use jiff::civil::Date;
use proptest::prelude::*;

use super::*;

/// The periods that the walk over single minutes finds in `from..to`.
fn brute_periods(zone: &TimeZone, granularity: Granularity, from: i64, to: i64) -> Vec<(i64, i64)> {
    let mut begins = Vec::new();
    let mut last_hour = None;
    let mut latest = Date::MIN;
    for minute in from..to {
        let local = Timestamp::from_second(minute * 60)
            .unwrap()
            .to_zoned_datetime(zone.clone());
        let new = match granularity {
            Granularity::Minute => true,
            Granularity::Hour => {
                let hour = Some((local.offset(), local.date(), local.hour()));
                std::mem::replace(&mut last_hour, hour) != hour
            }
            Granularity::Day => {
                let later = local.date() > latest;
                latest = latest.max(local.date());
                later
            }
            // Of the range alone: see its caller.
            Granularity::Total => minute == from,
        };
        if new {
            begins.push(minute);
        }
    }
    let ends: Vec<i64> = begins.iter().skip(1).copied().chain([to]).collect();
    begins.into_iter().zip(ends).collect()
}

type Group = (Option<Device>, Option<Country>, Option<Verdict>);

fn brute_group(group_by: GroupBy, click: &Click) -> Option<Group> {
    match group_by {
        GroupBy::None => Some((None, None, None)),
        GroupBy::Verdict => Some((None, None, Some(click.verdict))),
        _ if !click.verdict.is_valid() => None,
        // Ads and placements have entities of their own: see `by_ad` and the crate's test `by_placement`.
        GroupBy::Ad | GroupBy::Placement => None,
        GroupBy::Device => Some((Some(click.device), None, None)),
        GroupBy::Country => Some((None, Some(click.country), None)),
        GroupBy::DeviceCountry => Some((Some(click.device), Some(click.country), None)),
    }
}

/// The rows; `proved` says whether all of some minutes are.
pub(super) fn brute_rows(
    query: &MetricsQuery,
    window: Option<usize>,
    clicks: &[Click],
    proved: &dyn Fn(std::ops::Range<i64>) -> bool,
) -> Vec<MetricsRow> {
    let zone = TimeZone::get(&query.time_zone).unwrap();
    let (from, to) = (query.from_ms / 60_000, query.to_ms / 60_000);
    let unit = match query.granularity {
        Granularity::Minute => 1,
        Granularity::Hour => 60,
        Granularity::Day => 1440,
        Granularity::Total => to - from,
    };
    let clicks: Vec<Click> = clicks
        .iter()
        .filter(|click| taken(query, click))
        .copied()
        .collect();
    let lead = match query.granularity {
        Granularity::Total => 0,
        _ => (window.unwrap_or(1) as i64 + 1) * unit + 3 * 1440,
    };
    let periods = brute_periods(&zone, query.granularity, from - lead, to);
    let mut rows = Vec::new();
    for (place, (begin, end)) in periods.iter().enumerate() {
        if *end <= from {
            continue;
        }
        let start = (*begin).max(from);
        let since = window.map_or(start, |window| periods[place + 1 - window].0);
        let counted = clicks
            .iter()
            .filter(|click| (since..*end).contains(&click.minute));
        let offset_s = zone
            .to_offset(Timestamp::from_second(start * 60).unwrap())
            .seconds();
        let start = LocalTime {
            unix_ms: start * 60_000,
            offset_s,
        };
        let row = |(device, country, verdict): Group, clicks| MetricsRow {
            start,
            ad: None,
            placement: None,
            device,
            country,
            verdict,
            gross_clicks: None,
            clicks: Some(clicks),
            invalid_clicks: None,
            invalid_click_rate: None,
            invalid_by_verdict: None,
            r#final: proved(since..*end),
        };
        if query.group_by == GroupBy::None {
            let mut invalid = [0; 9];
            let mut valid = 0;
            for click in counted {
                if click.verdict.is_valid() {
                    valid += 1;
                } else {
                    invalid[click.verdict as usize] += 1;
                }
            }
            let sum: u64 = invalid.iter().sum();
            if query.filter.is_set() {
                rows.push(row((None, None, None), valid));
                continue;
            }
            rows.push(MetricsRow {
                gross_clicks: Some(valid + sum),
                invalid_clicks: Some(sum),
                invalid_by_verdict: Some(InvalidByVerdict(invalid)),
                ..row((None, None, None), valid)
            });
        } else {
            let mut groups: BTreeMap<Group, u64> = BTreeMap::new();
            counted
                .filter_map(|c| brute_group(query.group_by, c))
                .for_each(|g| *groups.entry(g).or_default() += 1);
            rows.extend(groups.into_iter().map(|(group, clicks)| row(group, clicks)));
        }
    }
    rows
}

/// Whether the query's filter lets the click be counted.
fn taken(query: &MetricsQuery, click: &Click) -> bool {
    let CellFilter { devices, countries } = query.filter;
    let devices = devices.is_none_or(|of| of.iter().any(|device| device == click.device));
    let countries = countries.is_none_or(|of| of.iter().any(|country| country == click.country));
    !query.filter.is_set() || (click.verdict.is_valid() && devices && countries)
}

pub(super) fn brute_totals(query: &MetricsQuery, clicks: &[Click]) -> (u64, [u64; 9], Option<(i64, u64)>) {
    let range = query.from_ms / 60_000..query.to_ms / 60_000;
    let mut invalid = [0; 9];
    let mut by_minute: BTreeMap<i64, u64> = BTreeMap::new();
    let counted = clicks.iter().filter(|click| taken(query, click));
    for click in counted.filter(|click| range.contains(&click.minute)) {
        if click.verdict.is_valid() {
            *by_minute.entry(click.minute).or_default() += 1;
        } else {
            invalid[click.verdict as usize] += 1;
        }
    }
    let most = by_minute.values().max().copied();
    let peak = most
        .and_then(|most| by_minute.iter().find(|(_, n)| **n == most))
        .map(|(m, n)| (*m, *n));
    (by_minute.values().sum(), invalid, peak)
}

/// Zones with offsets of 30 and 45 minutes, with changes by half an hour, at a minute past midnight, over midnight, of a
/// whole day, and of two hours.
const ZONES: [&str; 18] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "America/St_Johns",
    "America/Sao_Paulo",
    "America/Havana",
    "Asia/Pyongyang",
    "Pacific/Apia",
    "Antarctica/Troll",
    "Africa/Casablanca",
    "America/Caracas",
    "Asia/Beirut",
    "Pacific/Kiritimati",
    "Asia/Gaza",
];

/// The minutes at which the zone's offset changes from 2000 to 2030.
fn changes(zone: &str) -> Vec<i64> {
    let zone = TimeZone::get(zone).unwrap();
    let first: Timestamp = "2000-02-01T00:00:00Z".parse().unwrap();
    let last: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    zone.following(first)
        .map(|t| t.timestamp())
        .take_while(|t| *t < last)
        .map(|t| t.as_second() / 60)
        .collect()
}

#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) query: MetricsQuery,
    pub(super) window: Option<usize>,
    pub(super) clicks: Vec<Click>,
    pub(super) limits: Vec<usize>,
}

/// Mostly none; also of cells that occur and of some that don't.
fn filter() -> impl Strategy<Value = CellFilter> {
    let devices = prop::sample::select(&["desktop", "mobile,tablet", "desktop,tv", "bot"][..]);
    let countries = prop::sample::select(&["DE", "US,ZZ", "FR"][..]);
    prop_oneof![
        3 => Just(CellFilter::default()),
        2 => (prop::option::of(devices), prop::option::of(countries)).prop_map(|(devices, countries)| CellFilter {
            devices: devices.and_then(|devices| devices.parse().ok()),
            countries: countries.and_then(|countries| countries.parse().ok()),
        }),
    ]
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    let granularity = prop_oneof![
        Just(Granularity::Minute),
        Just(Granularity::Hour),
        Just(Granularity::Day),
        Just(Granularity::Total)
    ];
    let group_by = prop_oneof![
        3 => Just(GroupBy::None),
        1 => Just(GroupBy::Device),
        1 => Just(GroupBy::Country),
        1 => Just(GroupBy::DeviceCountry),
        1 => Just(GroupBy::Verdict),
    ];
    let zone = prop::sample::select(&ZONES[..]);
    (
        granularity,
        group_by,
        zone,
        any::<prop::sample::Index>(),
        prop::option::of(1..6_usize),
        filter(),
    )
        .prop_flat_map(|(granularity, group_by, zone, change, window, filter)| {
            let window = window.filter(|_| granularity != Granularity::Total);
            let filter = match group_by {
                GroupBy::Verdict => CellFilter::default(),
                _ => filter,
            };
            let (unit, length) = match granularity {
                Granularity::Minute => (1, 1..200_i64),
                Granularity::Hour => (60, 1..3000),
                Granularity::Day => (1440, 1..12_000),
                Granularity::Total => (0, 1..12_000),
            };
            let changes = changes(zone);
            // Around a change of the zone's offset, where there is one.
            let centre = if changes.is_empty() {
                minute("2024-02-29T00:00:00Z")
            } else {
                changes[change.index(changes.len())]
            };
            let aligned = prop_oneof![Just(1_i64), Just(15), Just(60)];
            (length, 0..1000_i64, aligned).prop_flat_map(move |(length, place, aligned)| {
                let from = (centre - length * place / 1000) / aligned * aligned;
                let to = from + length;
                let lead = (window.unwrap_or(1) as i64 + 1) * unit;
                let click = (
                    from - lead..to + 10,
                    prop_oneof![2 => Just(Verdict::Valid), 1 => prop::sample::select(&Verdict::ALL[..])],
                    prop::sample::select(&Device::ALL[..3]),
                    prop::sample::select(&["DE", "US", "ZZ"][..]),
                )
                    .prop_map(|(minute, verdict, device, country)| Click {
                        minute,
                        verdict,
                        device,
                        country: country.parse().unwrap(),
                    });
                let clicks = prop::collection::vec(click, 0..120);
                let limits = prop::collection::vec(1..40_usize, 1..4);
                (clicks, limits).prop_map(move |(clicks, limits)| Case {
                    query: MetricsQuery {
                        granularity,
                        group_by,
                        window: window.map(|rows| format!("{}m", rows as i64 * unit).parse().unwrap()),
                        time_zone: zone.to_owned(),
                        filter,
                        ..MetricsQuery::over(AD, from * 60_000, to * 60_000)
                    },
                    window,
                    clicks,
                    limits,
                })
            })
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn answers_are_what_counting_by_hand_finds(case in case()) {
        let Case { query, window, clicks, limits } = case;
        let service = service(&clicks);
        let page = run(&service, &query).unwrap();
        let expected = brute_rows(&query, window, &clicks, &|_| false);
        prop_assert_eq!(&page.rows, &expected);

        let (valid, invalid, peak) = brute_totals(&query, &clicks);
        let sum: u64 = invalid.iter().sum();
        let totals = page.totals;
        prop_assert_eq!(totals.clicks, Some(valid));
        let found = totals.peak_minute.unwrap().map(|peak| (peak.start.unix_ms / 60_000, peak.clicks));
        prop_assert_eq!(found, peak);
        if query.filter.is_set() {
            let only = MetricsTotals { clicks: totals.clicks, peak_minute: totals.peak_minute, ..MetricsTotals::default() };
            prop_assert_eq!(totals, only);
        } else {
            prop_assert_eq!(totals.invalid_by_verdict, Some(InvalidByVerdict(invalid)));
            prop_assert_eq!((totals.gross_clicks, totals.invalid_clicks), (Some(valid + sum), Some(sum)));
            let rate = totals.invalid_click_rate.unwrap().as_f64();
            prop_assert!((rate - sum as f64 / ((valid + sum).max(1)) as f64).abs() <= 0.000_050_1);
        }

        prop_assert_eq!(joined(&service, &query, &limits), expected);
    }

    #[test]
    fn pages_carry_the_same_totals(case in case()) {
        let service = service(&case.clicks);
        let whole = run(&service, &case.query).unwrap();
        let first = run(&service, &MetricsQuery { limit: Some(1), ..case.query.clone() }).unwrap();
        prop_assert_eq!(whole.totals, first.totals);
        if let Some(cursor) = first.meta.next_cursor {
            let second = run(&service, &MetricsQuery { limit: Some(1), cursor: Some(cursor), ..case.query }).unwrap();
            prop_assert_eq!(whole.totals, second.totals);
        }
    }

    #[test]
    fn answers_survive_json(case in case()) {
        let page = run(&service(&case.clicks), &case.query).unwrap();
        let text = serde_json::to_string(&page).unwrap();
        prop_assert_eq!(serde_json::from_str::<MetricsPage>(&text).unwrap(), page);
    }

    #[test]
    fn every_row_fits_its_columns(case in case()) {
        let page = run(&service(&case.clicks), &case.query).unwrap();
        let mut text = String::new();
        write_csv(&page, true, &mut text).unwrap();
        prop_assert_eq!(text.lines().count(), page.rows.len() + 1);
        let commas: BTreeSet<usize> = text.lines().map(|line| line.matches(',').count()).collect();
        prop_assert_eq!(commas, BTreeSet::from([page.columns().len() - 1]));
        prop_assert!(!text.contains('"'));
    }
}
