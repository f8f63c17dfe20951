//! Breakdowns by ad, held against asking for each ad alone.

use proptest::prelude::*;

use super::*;
use crate::domain::ids::CampaignId;

const OWNER: Entity = Entity::Advertiser(AdvertiserId(9));

/// What three ads of one advertiser have; an ad's clicks are the advertiser's too.
fn store_of_ads(clicks: &[(u64, Click)]) -> Store {
    let mut store = Store::default();
    for (ad, click) in clicks {
        let key = CounterKey::of(click.verdict, click.device, click.country);
        for entity in [Entity::Ad(AdId(*ad)), OWNER] {
            store
                .buckets
                .entry((entity, click.minute))
                .or_default()
                .add(key, 1);
        }
    }
    store
}

fn by_ad(from: i64, to: i64, granularity: Granularity) -> MetricsQuery {
    MetricsQuery {
        granularity,
        group_by: GroupBy::Ad,
        ads: vec![AdId(1), AdId(2), AdId(3), AdId(4)],
        ..MetricsQuery::over(OWNER, from * 60_000, to * 60_000)
    }
}

const FROM: i64 = 29_455_200;

fn clicks() -> impl Strategy<Value = Vec<(u64, Click)>> {
    let click = (
        1..4_u64,
        FROM - 100..FROM + 400,
        prop_oneof![2 => Just(Verdict::Valid), 1 => prop::sample::select(&Verdict::ALL[..])],
        prop::sample::select(&Device::ALL[..3]),
        prop::sample::select(&["DE", "US"][..]),
    );
    let click = click.prop_map(|(ad, minute, verdict, device, country)| {
        let country = country.parse().unwrap();
        let click = Click {
            minute,
            verdict,
            device,
            country,
        };
        (ad, click)
    });
    prop::collection::vec(click, 0..150)
}

/// The rows that each ad alone has, with its id, in the order of time and ads.
fn one_by_one(service: &MetricsService, query: &MetricsQuery) -> Vec<MetricsRow> {
    let mut rows = Vec::new();
    for ad in &query.ads {
        let alone = MetricsQuery {
            entity: Entity::Ad(*ad),
            group_by: GroupBy::None,
            order: None,
            limit: None,
            ..query.clone()
        };
        let page = run(service, &alone).unwrap();
        let clicked = page.rows.into_iter().filter(|row| match row.gross_clicks {
            Some(gross) => gross > 0,
            None => row.clicks > Some(0),
        });
        rows.extend(clicked.map(|row| MetricsRow { ad: Some(*ad), ..row }));
    }
    rows.sort_by_key(|row| (row.start.unix_ms, row.ad));
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn rows_are_those_of_each_ad_alone_and_add_up_to_the_totals_however_pages_are_cut(
        clicks in clicks(),
        granularity in prop::sample::select(&[Granularity::Minute, Granularity::Hour, Granularity::Day, Granularity::Total][..]),
        window in prop::option::of(1..4_u32),
        filtered: bool,
        limits in prop::collection::vec(1..9_usize, 1..4),
    ) {
        let service = service_over(Arc::new(store_of_ads(&clicks)));
        let mut query = by_ad(FROM + 7, FROM + 333, granularity);
        query.window = window.filter(|_| granularity == Granularity::Minute).map(|rows| format!("{rows}m").parse().unwrap());
        if filtered {
            query.filter.devices = "mobile,desktop".parse().ok();
        }
        let whole = run(&service, &query).unwrap();
        prop_assert_eq!(&whole.rows, &one_by_one(&service, &query));
        prop_assert_eq!(&joined(&service, &query, &limits), &whole.rows);
        if query.window.is_none() {
            let sum: u64 = whole.rows.iter().filter_map(|row| row.clicks).sum();
            prop_assert_eq!(Some(sum), whole.totals.clicks);
            let gross: Option<u64> = whole.rows.iter().map(|row| row.gross_clicks).sum();
            prop_assert_eq!(gross.filter(|_| !filtered), whole.totals.gross_clicks);
        }
        let text = serde_json::to_string(&whole).unwrap();
        prop_assert_eq!(serde_json::from_str::<MetricsPage>(&text).unwrap(), whole);
    }

    #[test]
    fn the_top_ads_are_those_with_most_clicks(clicks in clicks(), limit in 1..5_usize) {
        let service = service_over(Arc::new(store_of_ads(&clicks)));
        let query = MetricsQuery {
            order: Some(Order::MostClicks),
            limit: Some(limit),
            ..by_ad(FROM, FROM + 300, Granularity::Total)
        };
        let page = run(&service, &query).unwrap();
        let mut expected = one_by_one(&service, &query);
        expected.sort_by_key(|row| (std::cmp::Reverse(row.clicks), row.ad));
        expected.truncate(limit);
        prop_assert_eq!(page.rows, expected);
        prop_assert_eq!(page.meta.next_cursor, None);
    }
}

#[test]
fn ad_rows_have_every_count_as_json_and_csv() {
    let click = |ad, verdict| {
        let click = Click {
            verdict,
            ..valid(FROM)
        };
        (ad, click)
    };
    let clicks = [
        click(2, Verdict::Valid),
        click(2, Verdict::Valid),
        click(2, Verdict::Bot),
        click(1, Verdict::Valid),
    ];
    let service = service_over(Arc::new(store_of_ads(&clicks)));
    let mut query = by_ad(FROM, FROM + 60, Granularity::Total);
    query.order = Some(Order::MostClicks);
    query.metrics = "gross_clicks,clicks,invalid_click_rate".parse().ok();
    let page = run(&service, &query).unwrap();
    let json = serde_json::to_value(&page).unwrap();
    assert_eq!(
        json["rows"],
        serde_json::json!([
            {"start": "2026-01-02T00:00:00Z", "ad": "2", "gross_clicks": 3, "clicks": 2, "invalid_click_rate": 0.3333,
             "final": false},
            {"start": "2026-01-02T00:00:00Z", "ad": "1", "gross_clicks": 1, "clicks": 1, "invalid_click_rate": 0.0,
             "final": false},
        ])
    );
    assert_eq!(
        json["totals"],
        serde_json::json!({"gross_clicks": 4, "clicks": 3, "invalid_click_rate": 0.25})
    );
    let mut csv = String::new();
    write_csv(&page, true, &mut csv).unwrap();
    assert_eq!(
        csv,
        "start,ad,gross_clicks,clicks,invalid_click_rate,final\n\
         2026-01-02T00:00:00Z,2,3,2,0.3333,false\n2026-01-02T00:00:00Z,1,1,1,0,false\n"
    );
}

#[test]
fn only_campaigns_and_advertisers_have_ads_and_too_much_is_refused() {
    let service = service(&[]);
    let asked = |entity, ads: u64, days: i64, granularity| {
        let query = MetricsQuery {
            entity,
            ads: (1..=ads).map(AdId).collect(),
            ..by_ad(FROM, FROM + days * 1440, granularity)
        };
        run(&service, &query).map(|page| page.rows.len())
    };
    let campaign = Entity::Campaign(CampaignId(12));
    assert!(matches!(asked(campaign, 1000, 1, Granularity::Total), Ok(0)));
    for entity in [AD, Entity::Total] {
        let refused = asked(entity, 1, 1, Granularity::Total);
        assert!(
            matches!(
                refused,
                Err(QueryError::UnsupportedBreakdown(UnsupportedBreakdown::AdsOf))
            ),
            "{refused:?}"
        );
    }
    let refused = asked(OWNER, 1001, 1, Granularity::Total);
    assert!(
        matches!(refused, Err(QueryError::TooManyMembers { most: 1000, .. })),
        "{refused:?}"
    );
    for (ads, days, granularity, fits) in [
        (1000, 100, Granularity::Total, true),
        (1000, 101, Granularity::Total, false),
        (10, 3653, Granularity::Day, true),
        (28, 3653, Granularity::Day, false),
        (1000, 31, Granularity::Hour, true),
        (1000, 32, Granularity::Hour, false),
        (129, 31, Granularity::Minute, true),
        (130, 31, Granularity::Minute, false),
    ] {
        let answer = asked(OWNER, ads, days, granularity);
        let refused = matches!(answer, Err(QueryError::TooManyMemberDays { .. }));
        assert_eq!(refused, !fits, "{ads} ads, {days} days: {answer:?}");
    }
}
