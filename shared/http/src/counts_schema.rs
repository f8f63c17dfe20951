//! The shapes of metrics as the API's description tells them. They mirror `clickledger_core::service::metrics`, which knows no
//! HTTP; a test holds an answer against them.

#![allow(dead_code)] // read by the macros that make the description, never made

use std::collections::BTreeMap;

use utoipa::{IntoParams, ToSchema};

/// What is asked.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct MetricsParams {
    /// From when on: RFC 3339 with an offset, a whole minute.
    #[param(format = DateTime, example = "2026-01-02T00:00:00Z")]
    from: String,
    /// Until when, exclusive; at most a minute in the future.
    #[param(format = DateTime, example = "2026-01-02T00:02:00Z")]
    to: String,
    /// `minute` (31 days at most), `hour` (366 days), `day` (3653 days) or `total` (one row for the whole range); `hour` if nothing
    /// is said.
    granularity: Option<String>,
    /// `device`, `country`, `device,country` or `verdict`; of a campaign or an advertiser `ad` too, of at most 1000 ads. Nothing if
    /// nothing is said.
    group_by: Option<String>,
    /// IANA name of the zone whose hours and days are meant; `UTC` if nothing is said.
    #[param(example = "Europe/Berlin")]
    tz: Option<String>,
    /// Each row is the sum of this time up to its end: `15m`, `1h`, `7d`.
    window: Option<String>,
    /// Only valid clicks of these device classes: `desktop`, `mobile`, `tablet`, `tv`, `bot`, `other`, `unknown`, separated by commas.
    /// With a filter rows and totals carry `clicks`, and totals of at most 31 days `peak_minute`.
    #[param(example = "mobile,tablet")]
    device: Option<String>,
    /// Only valid clicks of these countries: ISO 3166-1 alpha-2, or `ZZ` where it is not known, separated by commas.
    #[param(example = "DE,FR")]
    country: Option<String>,
    /// What rows and totals carry: some of `gross_clicks`, `clicks`, `invalid_clicks`, `invalid_click_rate`, `invalid_by_verdict`,
    /// `peak_minute` (of totals only), separated by commas.
    metrics: Option<String>,
    /// `-clicks`: the most clicks first; with `granularity=total` and a `group_by`. Then the page is the first `limit` rows, and the
    /// only one.
    order: Option<String>,
    /// `previous_period` (as long, ends at `from`) or `previous_year`: the same over another range of the same zone comes as
    /// `comparison`. Of the first page only, and not as CSV.
    compare: Option<String>,
    /// Most rows of this page, 1 to 10,000.
    limit: Option<u32>,
    /// The `next_cursor` of the page before; only `limit` may change from page to page, and `compare` is left out.
    cursor: Option<String>,
    /// `json` or `csv`, whatever `Accept` says. A page of CSV names the next one in `Clickledger-Next-Cursor`, and only the first
    /// has the names of the columns.
    format: Option<String>,
}

/// One page of an answer.
#[derive(ToSchema)]
pub(crate) struct MetricsDocument {
    query: MetricsQueryDocument,
    rows: Vec<MetricsRowDocument>,
    totals: MetricsTotalsDocument,
    meta: MetricsMetaDocument,
    /// With `compare`.
    #[schema(nullable = false)]
    comparison: Option<ComparisonDocument>,
}

/// The same query over another range. Of ordered rows it has the groups of the answer.
#[derive(ToSchema)]
pub(crate) struct ComparisonDocument {
    #[schema(format = DateTime)]
    from: String,
    #[schema(format = DateTime)]
    to: String,
    rows: Vec<MetricsRowDocument>,
    totals: MetricsTotalsDocument,
    /// Its `next_cursor` is one of the query over this range.
    meta: MetricsMetaDocument,
}

/// The query as it was understood.
#[derive(ToSchema)]
pub(crate) struct MetricsQueryDocument {
    /// `ad`, `campaign`, `advertiser`, `placement` or `total`.
    entity: String,
    /// Absent for `total`.
    #[schema(required = false, nullable = false)]
    id: Option<String>,
    #[schema(format = DateTime)]
    from: String,
    #[schema(format = DateTime)]
    to: String,
    granularity: String,
    group_by: Vec<String>,
    #[schema(required = true)]
    window: Option<String>,
    tz: String,
    /// Where it was given; so are those below.
    #[schema(nullable = false)]
    device: Option<Vec<String>>,
    #[schema(nullable = false)]
    country: Option<Vec<String>>,
    #[schema(nullable = false)]
    metrics: Option<Vec<String>>,
    #[schema(nullable = false)]
    order: Option<String>,
    #[schema(nullable = false)]
    compare: Option<String>,
    #[schema(nullable = false)]
    limit: Option<u32>,
}

/// One period, or one group of it.
#[derive(ToSchema)]
pub(crate) struct MetricsRowDocument {
    /// When it begins, in the zone of the query.
    #[schema(format = DateTime)]
    start: String,
    /// With `group_by` of it.
    #[schema(nullable = false)]
    ad: Option<String>,
    /// With `group_by` of it.
    #[schema(nullable = false)]
    device: Option<String>,
    /// With `group_by` of it: ISO 3166-1 alpha-2, or `ZZ`.
    #[schema(nullable = false)]
    country: Option<String>,
    /// With `group_by` of it.
    #[schema(nullable = false)]
    verdict: Option<String>,
    /// Valid and invalid clicks; without `group_by` or by ad, and without a filter.
    #[schema(nullable = false)]
    gross_clicks: Option<u64>,
    /// Valid clicks; by verdict: clicks of that verdict. Null where some of them are known no more: then there is no other count.
    clicks: Option<u64>,
    /// Where `gross_clicks` are.
    #[schema(nullable = false)]
    invalid_clicks: Option<u64>,
    /// Where `gross_clicks` are, if `metrics` asks for it.
    #[schema(nullable = false)]
    invalid_click_rate: Option<f64>,
    /// Where `gross_clicks` are; verdicts that did not occur are absent.
    #[schema(nullable = false)]
    invalid_by_verdict: Option<BTreeMap<String, u64>>,
    /// Whether every minute of it is proved against the lake.
    r#final: bool,
}

/// Sums over the whole range, as far as it is known, whatever the page and the window.
#[derive(ToSchema)]
pub(crate) struct MetricsTotalsDocument {
    #[schema(nullable = false)]
    gross_clicks: Option<u64>,
    #[schema(nullable = false)]
    clicks: Option<u64>,
    #[schema(nullable = false)]
    invalid_clicks: Option<u64>,
    #[schema(nullable = false)]
    invalid_click_rate: Option<f64>,
    #[schema(nullable = false)]
    invalid_by_verdict: Option<BTreeMap<String, u64>>,
    /// Null where there is no valid click; absent for filtered clicks of more than 31 days.
    peak_minute: Option<PeakMinuteDocument>,
}

/// The minute with the most valid clicks.
#[derive(ToSchema)]
pub(crate) struct PeakMinuteDocument {
    #[schema(format = DateTime)]
    start: String,
    clicks: u64,
}

/// How the answer is to be read.
#[derive(ToSchema)]
pub(crate) struct MetricsMetaDocument {
    /// Until when counts are final, from the beginning of the range on; null where its beginning is not.
    #[schema(required = true, format = DateTime)]
    final_until: Option<String>,
    #[schema(format = DateTime)]
    as_of: String,
    /// `final`, `live`, `mixed` (some is final), or `incomplete`: some was never proved and is kept no longer.
    state: String,
    /// The states of the range's hours, each once: `open`, `dirty` (clicks came late), `sealed` (proved), `disputed` (the proof
    /// failed), `closed` (proved and settled), `incomplete`.
    states: Vec<String>,
    /// The next page's `cursor`; null on the last one.
    #[schema(required = true)]
    next_cursor: Option<String>,
}
