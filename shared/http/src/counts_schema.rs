//! The shapes of metrics as the API's description tells them. They mirror `clickledger_core::service::metrics`, which knows no
//! HTTP; a test holds an answer against them.

#![allow(dead_code)] // read by the macros that make the description, never made

use std::collections::BTreeMap;

use utoipa::{IntoParams, ToSchema};

use crate::counts_words::{
    ColumnWord, CompareWord, CountStateWord, DeviceWord, EntityWord, FormatWord, GranularityWord,
    GroupByWord, MetricWord, OrderWord, StateWord, VerdictWord,
};
use crate::problem::ProblemDocument;

/// What is asked.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct MetricsParams {
    /// From when on: RFC 3339 with an offset, a whole minute.
    #[param(format = DateTime, example = "2026-01-02T00:00:00Z")]
    from: String,
    /// Until when, exclusive; at most five minutes in the future.
    #[param(format = DateTime, example = "2026-01-02T00:02:00Z")]
    to: String,
    /// How long a row is, and how long the range may be: `minute` 31 days, `hour` 366 days, `day` and `total` (one row for the whole
    /// range) 3653 days; `hour` if nothing is said.
    #[param(inline)]
    granularity: Option<GranularityWord>,
    /// What rows are broken down by: nothing if nothing is said. `ad` is for campaigns and advertisers of at most 1000 ads,
    /// `placement` for advertisers whose clicks came by at most 1000: of sealed hours only, the totals are of all.
    #[param(inline)]
    group_by: Option<GroupByWord>,
    /// IANA name of the zone whose hours and days are meant; `UTC` if nothing is said.
    #[param(example = "Europe/Berlin")]
    tz: Option<String>,
    /// Each row is the sum of this time up to its end: `15m`, `1h`, `7d`; a whole number of rows.
    #[param(pattern = "^[1-9][0-9]{0,5}[mhd]$", example = "15m")]
    window: Option<String>,
    /// Only valid clicks of these device classes. With a filter rows and totals carry `clicks`, and totals of at most 31 days
    /// `peak_minute`: invalid clicks are not kept by device and country.
    #[param(inline, style = Form, explode = false, example = json!(["mobile", "tablet"]))]
    device: Option<Vec<DeviceWord>>,
    /// Only valid clicks of these countries: ISO 3166-1 alpha-2, or `ZZ` where it is not known.
    #[param(style = Form, explode = false, example = json!(["DE", "FR"]))]
    country: Option<Vec<String>>,
    /// What rows and totals carry; what there is, if nothing is said. `peak_minute` is of totals only.
    #[param(inline, style = Form, explode = false, example = json!(["gross_clicks", "clicks"]))]
    metrics: Option<Vec<MetricWord>>,
    /// The most clicks first: with `granularity=total` and a `group_by`. Then the page is the first `limit` rows, and the only one.
    #[param(inline)]
    order: Option<OrderWord>,
    /// The same over another range of the same zone comes as `comparison`: `previous_period` is as long and ends at `from`. Of the
    /// first page only, and not as CSV.
    #[param(inline)]
    compare: Option<CompareWord>,
    /// Most rows of this page; 10,000 if nothing is said.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before; only `limit` may change from page to page, and `compare` is left out.
    cursor: Option<String>,
    /// How the answer is written, whatever `Accept` says. A page of CSV names the next one in `Clickledger-Next-Cursor`, and only the
    /// first has the names of the columns.
    #[param(inline)]
    format: Option<FormatWord>,
}

/// One question about many entities. What is beside them means what the parameters of `/v1/ads/{ad_id}/metrics` mean.
#[derive(ToSchema)]
#[schema(example = json!({
    "entities": [{ "entity": "ad", "id": "731" }, { "entity": "campaign", "id": "12" }],
    "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "granularity": "total",
}))]
pub(crate) struct MetricsQueryBody {
    #[schema(min_items = 1, max_items = 100)]
    entities: Vec<AskedEntity>,
    #[schema(format = DateTime)]
    from: String,
    #[schema(format = DateTime)]
    to: String,
    granularity: Option<GranularityWord>,
    group_by: Option<Vec<ColumnWord>>,
    #[schema(example = "Europe/Berlin")]
    tz: Option<String>,
    #[schema(pattern = "^[1-9][0-9]{0,5}[mhd]$")]
    window: Option<String>,
    device: Option<Vec<DeviceWord>>,
    country: Option<Vec<String>>,
    metrics: Option<Vec<MetricWord>>,
    order: Option<OrderWord>,
    compare: Option<CompareWord>,
    /// Most rows of each entity: at most 10,000 for all of them together, which is also what it is if nothing is said.
    #[schema(minimum = 1, maximum = 10000)]
    limit: Option<u32>,
}

/// Whose clicks are asked for.
#[derive(ToSchema)]
pub(crate) struct AskedEntity {
    entity: EntityWord,
    /// Its id; none of `total`, which is for administrators.
    #[schema(pattern = "^[1-9][0-9]{0,18}$", example = "731")]
    id: Option<String>,
}

/// An answer or a problem for each entity, in the order of the question.
#[derive(ToSchema)]
pub(crate) struct BatchDocument {
    results: Vec<BatchResultDocument>,
}

#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum BatchResultDocument {
    Answered(Box<AnsweredDocument>),
    Refused(Box<RefusedDocument>),
}

/// One entity's clicks: the document that its own address answers. Further pages are asked for there.
#[derive(ToSchema)]
pub(crate) struct AnsweredDocument {
    entity: EntityWord,
    #[schema(nullable = false)]
    id: Option<String>,
    query: MetricsQueryDocument,
    rows: Vec<MetricsRowDocument>,
    totals: MetricsTotalsDocument,
    meta: MetricsMetaDocument,
    #[schema(nullable = false)]
    comparison: Option<ComparisonDocument>,
}

/// Why there is no answer for one entity: what its own address would say.
#[derive(ToSchema)]
pub(crate) struct RefusedDocument {
    entity: EntityWord,
    #[schema(nullable = false)]
    id: Option<String>,
    #[schema(value_type = ProblemDocument<'static>)]
    problem: ProblemDocument<'static>,
}

/// One page of an answer.
#[derive(ToSchema)]
#[schema(example = json!({
    "query": { "entity": "ad", "id": "731", "from": "2026-01-02T00:00:00Z", "to": "2026-01-02T00:01:00Z", "granularity": "minute",
               "group_by": [], "window": null, "tz": "Europe/Berlin" },
    "rows": [{ "start": "2026-01-02T01:00:00+01:00", "gross_clicks": 90, "clicks": 82, "invalid_clicks": 8,
               "invalid_by_verdict": { "bad_token": 2, "duplicate": 5, "prefetch": 1 }, "final": true }],
    "totals": { "gross_clicks": 90, "clicks": 82, "invalid_clicks": 8, "invalid_click_rate": 0.0889,
                "invalid_by_verdict": { "bad_token": 2, "duplicate": 5, "prefetch": 1 },
                "peak_minute": { "start": "2026-01-02T01:00:00+01:00", "clicks": 82 } },
    "meta": { "final_until": "2026-01-02T00:01:00Z", "as_of": "2026-01-02T02:00:01Z", "state": "final", "states": ["sealed"],
              "next_cursor": null },
}))]
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
    entity: EntityWord,
    /// Absent for `total`.
    #[schema(required = false, nullable = false)]
    id: Option<String>,
    #[schema(format = DateTime)]
    from: String,
    #[schema(format = DateTime)]
    to: String,
    granularity: GranularityWord,
    group_by: Vec<ColumnWord>,
    #[schema(required = true)]
    window: Option<String>,
    tz: String,
    /// Where it was given; so are those below.
    #[schema(nullable = false)]
    device: Option<Vec<DeviceWord>>,
    #[schema(nullable = false)]
    country: Option<Vec<String>>,
    #[schema(nullable = false)]
    metrics: Option<Vec<MetricWord>>,
    #[schema(nullable = false)]
    order: Option<OrderWord>,
    #[schema(nullable = false)]
    compare: Option<CompareWord>,
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
    /// With `group_by` of it: the placement's id. Clicks that came by none, and of hours that are not sealed yet, are in the totals
    /// only.
    #[schema(nullable = false)]
    placement: Option<String>,
    /// With `group_by` of it.
    #[schema(nullable = false)]
    device: Option<DeviceWord>,
    /// With `group_by` of it: ISO 3166-1 alpha-2, or `ZZ`.
    #[schema(nullable = false)]
    country: Option<String>,
    /// With `group_by` of it.
    #[schema(nullable = false)]
    verdict: Option<VerdictWord>,
    /// Valid and invalid clicks; without `group_by` or by ad or placement, and without a filter.
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
    state: StateWord,
    /// The states of the range's hours, each once: `open`, `dirty` (clicks came late), `sealed` (proved), `disputed` (the proof
    /// failed), `closed` (proved and settled), `incomplete`.
    states: Vec<CountStateWord>,
    /// The next page's `cursor`; null on the last one.
    #[schema(required = true)]
    next_cursor: Option<String>,
}
