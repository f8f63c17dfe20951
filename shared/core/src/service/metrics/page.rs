//! What a query answers.
//!
//! Invariant: what was not asked for is not there; `null` is only what nobody knows, or what there is none of.

use serde::{Deserialize, Deserializer, Serialize};

use super::choice::{Compare, Countries, Devices, Metrics, Order};
use super::local_time::LocalTime;
use super::row::{InvalidByVerdict, MetricsRow, Share};
use super::standing::CountState;
use super::words::{Granularity, GroupBy, Window};

/// One page of an answer; the shape of the API's JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricsPage {
    /// What was asked.
    pub query: QueryEcho,
    /// The page's rows, in the order of time and, within a period, of groups.
    pub rows: Vec<MetricsRow>,
    /// Sums over the whole range, whatever the page and the window.
    pub totals: MetricsTotals,
    /// How the answer is to be read.
    pub meta: MetricsMeta,
    /// The same of another range, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

/// What the answer is put beside: the first page of the same query over another range. Of ordered rows it has the groups of
/// the answer, in its order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// From when on, in UTC.
    pub from: LocalTime,
    /// Until when, exclusive, in UTC.
    pub to: LocalTime,
    /// Its rows.
    pub rows: Vec<MetricsRow>,
    /// Sums over its whole range.
    pub totals: MetricsTotals,
    /// How it is to be read. Its `next_cursor` is one of the query over this range.
    pub meta: MetricsMeta,
}

/// The query as it was understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryEcho {
    /// `ad`, `campaign`, `advertiser`, `placement` or `total`.
    pub entity: String,
    /// The entity's id, a decimal string; absent for `total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// From when on, in UTC.
    pub from: LocalTime,
    /// Until when, exclusive, in UTC.
    pub to: LocalTime,
    /// How long a row is.
    pub granularity: Granularity,
    /// The columns that rows are broken down by.
    pub group_by: GroupBy,
    /// How long a time a row is the trailing sum of, if not only its own.
    pub window: Option<Window>,
    /// IANA name of the time zone.
    pub tz: String,
    /// The device classes that valid clicks are of, where not any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Devices>,
    /// The countries that valid clicks are of, where not any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<Countries>,
    /// What rows and totals carry, where it was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// The order of rows, where it is not their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// What the answer is put beside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<Compare>,
    /// Most rows of a page, where it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// Sums over the range, of what is known of it; what was not asked for, and with a filter all but valid clicks, is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MetricsTotals {
    /// All clicks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gross_clicks: Option<u64>,
    /// Valid clicks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clicks: Option<u64>,
    /// Clicks that are not valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid_clicks: Option<u64>,
    /// Their share of all clicks; 0 where there are no clicks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid_click_rate: Option<Share>,
    /// Clicks that are not valid, by verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid_by_verdict: Option<InvalidByVerdict>,
    /// The first of the minutes with most valid clicks; `Some(None)`, in JSON `null`, where there is no valid click. Filtered
    /// clicks of more than 31 days have none: it would have to be looked for in every hour.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub peak_minute: Option<Option<PeakMinute>>,
}

/// What is there, `null` too.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A minute and its valid clicks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeakMinute {
    /// When it begins.
    pub start: LocalTime,
    /// Its valid clicks.
    pub clicks: u64,
}

/// How an answer is to be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricsMeta {
    /// Until when all of the range is proved, from its beginning on; `null` where its beginning is not.
    pub final_until: Option<LocalTime>,
    /// When the counts were read.
    pub as_of: LocalTime,
    /// What the counts come from.
    pub state: MetricsState,
    /// The states of the range's hours, each once.
    pub states: Vec<CountState>,
    /// Asks for the next page; `null` on the last.
    pub next_cursor: Option<String>,
}

/// What an answer's counts are worth as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricsState {
    /// All of the range is proved.
    Final,
    /// Nothing of it is: the counts may still grow.
    Live,
    /// Some of it is.
    Mixed,
    /// Of some of it the counts are known no more; totals are without them.
    Incomplete,
}

impl MetricsState {
    pub(super) fn of(states: &[CountState]) -> Self {
        if states.contains(&CountState::Incomplete) {
            Self::Incomplete
        } else if states.iter().all(|state| state.is_final()) {
            Self::Final
        } else if states.iter().any(|state| state.is_final()) {
            Self::Mixed
        } else {
            Self::Live
        }
    }
}
