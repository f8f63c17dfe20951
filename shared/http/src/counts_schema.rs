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
    /// `minute` (31 days at most), `hour` (366 days) or `day` (3653 days); `hour` if nothing is said.
    granularity: Option<String>,
    /// `device`, `country`, `device,country` or `verdict`; nothing if nothing is said.
    group_by: Option<String>,
    /// IANA name of the zone whose hours and days are meant; `UTC` if nothing is said.
    #[param(example = "Europe/Berlin")]
    tz: Option<String>,
    /// Each row is the sum of this time up to its end: `15m`, `1h`, `7d`.
    window: Option<String>,
    /// Most rows of this page, 1 to 10,000.
    limit: Option<u32>,
    /// The `next_cursor` of the page before; only `limit` may change from page to page.
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
}

/// One period, or one group of it.
#[derive(ToSchema)]
pub(crate) struct MetricsRowDocument {
    /// When it begins, in the zone of the query.
    #[schema(format = DateTime)]
    start: String,
    /// With `group_by` of it.
    #[schema(nullable = false)]
    device: Option<String>,
    /// With `group_by` of it: ISO 3166-1 alpha-2, or `ZZ`.
    #[schema(nullable = false)]
    country: Option<String>,
    /// With `group_by` of it.
    #[schema(nullable = false)]
    verdict: Option<String>,
    /// Without `group_by`: valid and invalid clicks.
    #[schema(nullable = false)]
    gross_clicks: Option<u64>,
    /// Valid clicks; by verdict: clicks of that verdict. Null where some of them are known no more: then there is no other count.
    #[schema(required = true)]
    clicks: Option<u64>,
    /// Without `group_by`.
    #[schema(nullable = false)]
    invalid_clicks: Option<u64>,
    /// Without `group_by`; verdicts that did not occur are absent.
    #[schema(nullable = false)]
    invalid_by_verdict: Option<BTreeMap<String, u64>>,
    /// Whether every minute of it is proved against the lake.
    r#final: bool,
}

/// Sums over the whole range, as far as it is known, whatever the page and the window.
#[derive(ToSchema)]
pub(crate) struct MetricsTotalsDocument {
    gross_clicks: u64,
    clicks: u64,
    invalid_clicks: u64,
    invalid_click_rate: f64,
    invalid_by_verdict: BTreeMap<String, u64>,
    #[schema(required = true)]
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
