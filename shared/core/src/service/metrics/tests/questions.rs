//! What is left out, put in order, put beside another range, and may be kept.

use super::*;

const FROM: i64 = 29_455_200;

fn cell(minute: i64, device: Device, country: &str) -> Click {
    Click {
        device,
        country: country.parse().unwrap(),
        ..valid(minute)
    }
}

fn some_clicks() -> Vec<Click> {
    vec![
        cell(FROM, Device::Mobile, "DE"),
        cell(FROM, Device::Mobile, "FR"),
        cell(FROM + 1, Device::Mobile, "DE"),
        cell(FROM + 1, Device::Tablet, "DE"),
        cell(FROM + 1, Device::Tablet, "US"),
        cell(FROM + 2, Device::Desktop, "DE"),
        Click {
            verdict: Verdict::Bot,
            ..valid(FROM + 2)
        },
    ]
}

fn over(minutes: i64, granularity: Granularity) -> MetricsQuery {
    MetricsQuery {
        granularity,
        ..MetricsQuery::over(AD, FROM * 60_000, (FROM + minutes) * 60_000)
    }
}

fn json(page: &MetricsPage) -> serde_json::Value {
    serde_json::to_value(page).unwrap()
}

#[test]
fn a_filters_clicks_are_those_of_its_cells_in_every_breakdown() {
    let service = service(&some_clicks());
    let total = over(3, Granularity::Total);
    let by_cell = MetricsQuery {
        group_by: GroupBy::DeviceCountry,
        ..total.clone()
    };
    let cells = run(&service, &by_cell).unwrap().rows;
    for (devices, countries) in [
        (Some("mobile"), None),
        (Some("mobile,tablet"), Some("DE")),
        (None, Some("US,FR")),
        (Some("tv"), None),
    ] {
        let filter = CellFilter {
            devices: devices.and_then(|text| text.parse().ok()),
            countries: countries.and_then(|text| text.parse().ok()),
        };
        let expected: u64 = cells
            .iter()
            .filter(|row| filter.takes(row.device.unwrap(), row.country.unwrap()))
            .filter_map(|row| row.clicks)
            .sum();
        for group_by in [
            GroupBy::None,
            GroupBy::Device,
            GroupBy::Country,
            GroupBy::DeviceCountry,
        ] {
            let page = run(
                &service,
                &MetricsQuery {
                    filter,
                    group_by,
                    ..total.clone()
                },
            )
            .unwrap();
            assert_eq!(
                clicks_of(&page).iter().sum::<u64>(),
                expected,
                "{filter:?} {group_by:?}"
            );
            assert_eq!(page.totals.clicks, Some(expected));
        }
    }
    let mut filtered = over(3, Granularity::Minute);
    filtered.filter.devices = "tablet,mobile".parse().ok();
    filtered.filter.countries = "DE".parse().ok();
    let page = json(&run(&service, &filtered).unwrap());
    assert_eq!(page["query"]["device"], serde_json::json!(["mobile", "tablet"]));
    assert_eq!(page["query"]["country"], serde_json::json!(["DE"]));
    assert_eq!(
        page["rows"][1],
        serde_json::json!({"start": "2026-01-02T00:01:00Z", "clicks": 2, "final": false})
    );
    assert_eq!(
        page["totals"],
        serde_json::json!({"clicks": 3, "peak_minute": {"start": "2026-01-02T00:01:00Z", "clicks": 2}})
    );
}

#[test]
fn filtered_clicks_of_more_than_31_days_have_no_peak() {
    let service = service(&some_clicks());
    let mut query = over(31 * 1440, Granularity::Total);
    query.filter.devices = "mobile".parse().ok();
    let peak = |query: &MetricsQuery| run(&service, query).unwrap().totals.peak_minute;
    assert_eq!(peak(&query).unwrap().unwrap().clicks, 2);
    query.to_ms += 60_000;
    assert_eq!(peak(&query), None);
}

#[test]
fn metrics_that_are_chosen_are_the_ones_that_rows_and_totals_carry() {
    let service = service(&some_clicks());
    let mut query = over(3, Granularity::Total);
    query.metrics = "invalid_clicks,invalid_click_rate".parse().ok();
    let page = run(&service, &query).unwrap();
    let written = json(&page);
    assert_eq!(
        written["query"]["metrics"],
        serde_json::json!(["invalid_clicks", "invalid_click_rate"])
    );
    assert_eq!(
        written["rows"],
        serde_json::json!([{"start": "2026-01-02T00:00:00Z", "invalid_clicks": 1, "invalid_click_rate": 0.1429, "final": false}])
    );
    assert_eq!(
        written["totals"],
        serde_json::json!({"invalid_clicks": 1, "invalid_click_rate": 0.1429})
    );
    assert_eq!(
        page.columns(),
        ["start", "invalid_clicks", "invalid_click_rate", "final"]
    );
    query.metrics = "clicks,peak_minute".parse().ok();
    let totals = json(&run(&service, &query).unwrap())["totals"].clone();
    assert_eq!(totals.as_object().unwrap().len(), 2, "{totals}");
}

#[test]
fn metrics_that_no_row_can_carry_are_refused() {
    let mut query = over(3, Granularity::Total);
    for (metrics, group_by, device) in [
        ("peak_minute", GroupBy::None, None),
        ("invalid_clicks", GroupBy::Device, None),
        ("gross_clicks,peak_minute", GroupBy::Verdict, None),
        ("clicks,gross_clicks", GroupBy::None, Some("mobile")),
        ("peak_minute", GroupBy::Country, Some("mobile")),
    ] {
        query.metrics = metrics.parse().ok();
        query.group_by = group_by;
        query.filter.devices = device.and_then(|device| device.parse().ok());
        assert_eq!(refused(&query), ["metrics"], "{metrics} {group_by:?}");
    }
    query.group_by = GroupBy::Verdict;
    query.metrics = None;
    let answer = run(&service(&[]), &query);
    assert!(
        matches!(
            answer,
            Err(QueryError::UnsupportedBreakdown(
                UnsupportedBreakdown::FilteredVerdicts
            ))
        ),
        "{answer:?}"
    );
}

#[test]
fn ordered_groups_are_the_first_of_one_row() {
    let service = service(&some_clicks());
    let mut query = over(3, Granularity::Total);
    query.group_by = GroupBy::Country;
    query.order = Some(Order::MostClicks);
    let countries = |query: &MetricsQuery| -> Vec<(String, u64)> {
        let page = run(&service, query).unwrap();
        assert_eq!(page.meta.next_cursor, None);
        page.rows
            .iter()
            .map(|row| (row.country.unwrap().to_string(), row.clicks.unwrap()))
            .collect()
    };
    let named = |of: &[(&str, u64)]| -> Vec<(String, u64)> {
        of.iter()
            .map(|(name, clicks)| ((*name).to_owned(), *clicks))
            .collect()
    };
    // France and the States have as many: they stand in the order of their codes.
    assert_eq!(countries(&query), named(&[("DE", 4), ("FR", 1), ("US", 1)]));
    query.limit = Some(2);
    assert_eq!(countries(&query), named(&[("DE", 4), ("FR", 1)]));

    query.granularity = Granularity::Day;
    assert_eq!(refused(&query), ["order"]);
    query.granularity = Granularity::Total;
    query.group_by = GroupBy::None;
    assert_eq!(refused(&query), ["order"]);
    query.group_by = GroupBy::Country;
    query.cursor = Some("x".to_owned());
    assert_eq!(refused(&query), ["cursor"]);
    query.order = None;
    query.compare = Some(Compare::PreviousPeriod);
    assert_eq!(refused(&query), ["compare"]);
    query.cursor = None;
    query.window = Some("1d".parse().unwrap());
    assert_eq!(refused(&query), ["window"]);
}

#[test]
fn the_whole_range_is_one_row_in_any_zone() {
    let service = service(&some_clicks());
    for zone in ["UTC", "Asia/Kathmandu", "America/St_Johns"] {
        let query = MetricsQuery {
            time_zone: zone.to_owned(),
            ..over(3, Granularity::Total)
        };
        let page = run(&service, &query).unwrap();
        assert_eq!(clicks_of(&page), [6]);
        assert_eq!(page.rows[0].start.unix_ms, query.from_ms);
        assert_eq!(page.meta.next_cursor, None);
    }
}

#[test]
fn a_comparison_is_the_same_query_over_its_own_range() {
    let service = service(&some_clicks());
    let asked = MetricsQuery {
        compare: Some(Compare::PreviousPeriod),
        limit: Some(1),
        ..MetricsQuery::over(AD, (FROM + 2) * 60_000, (FROM + 4) * 60_000)
    };
    for group_by in [GroupBy::None, GroupBy::Device] {
        for granularity in [Granularity::Minute, Granularity::Total] {
            let asked = MetricsQuery {
                group_by,
                granularity,
                ..asked.clone()
            };
            let page = run(&service, &asked).unwrap();
            let before = MetricsQuery {
                from_ms: FROM * 60_000,
                to_ms: (FROM + 2) * 60_000,
                compare: None,
                ..asked.clone()
            };
            let alone = run(&service, &before).unwrap();
            let comparison = page.comparison.clone().unwrap();
            assert_eq!(comparison.rows, alone.rows);
            assert_eq!(comparison.totals, alone.totals);
            assert_eq!(comparison.meta, alone.meta);
            let written = json(&page);
            assert_eq!(written["query"]["compare"], "previous_period");
            assert_eq!(written["comparison"]["from"], "2026-01-02T00:00:00Z");
            assert_eq!(written["comparison"]["to"], "2026-01-02T00:02:00Z");
            assert_eq!(serde_json::from_value::<MetricsPage>(written).unwrap(), page);
            // The pages that follow are asked for without it.
            if let Some(cursor) = page.meta.next_cursor {
                let next = MetricsQuery {
                    compare: None,
                    cursor: Some(cursor),
                    ..asked
                };
                assert_eq!(run(&service, &next).unwrap().comparison, None);
            }
        }
    }
}

#[test]
fn ordered_rows_are_put_beside_the_same_groups() {
    let clicks = [
        cell(FROM, Device::Mobile, "FR"),
        cell(FROM, Device::Mobile, "US"),
        cell(FROM, Device::Mobile, "US"),
        cell(FROM, Device::Mobile, "US"),
        cell(FROM + 1, Device::Mobile, "DE"),
        cell(FROM + 1, Device::Mobile, "DE"),
        cell(FROM + 1, Device::Mobile, "FR"),
    ];
    let asked = MetricsQuery {
        granularity: Granularity::Total,
        group_by: GroupBy::Country,
        order: Some(Order::MostClicks),
        compare: Some(Compare::PreviousPeriod),
        limit: Some(2),
        ..MetricsQuery::over(AD, (FROM + 1) * 60_000, (FROM + 2) * 60_000)
    };
    let page = run(&service(&clicks), &asked).unwrap();
    let countries = |rows: &[MetricsRow]| -> Vec<String> {
        rows.iter().map(|row| row.country.unwrap().to_string()).collect()
    };
    assert_eq!(countries(&page.rows), ["DE", "FR"]);
    let comparison = page.comparison.unwrap();
    assert_eq!(
        countries(&comparison.rows),
        ["FR"],
        "the States are not among the first now"
    );
    assert_eq!(comparison.totals.clicks, Some(4));
}
