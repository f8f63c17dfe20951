//! The shapes of reports and corrections.
//!
//! Invariant: a correction tells what its entity's counts were and are, and nothing of any other entity's.

use std::collections::BTreeMap;

use clickledger_core::domain::correction::{Correction, HourReport};
use clickledger_core::domain::counter::{Counted, Counters};
use clickledger_core::domain::entity::Entity;
use clickledger_core::service::metrics::LocalTime;
use serde::Serialize;
use utoipa::ToSchema;

/// What a run found in one hour.
#[derive(Serialize, ToSchema)]
pub struct ReportView {
    /// When the hour began.
    #[schema(value_type = String, format = DateTime)]
    hour: LocalTime,
    /// Who asked: `hourly`, `daily`, `restatement` or `dry_run`.
    #[schema(value_type = String)]
    run: clickledger_core::domain::correction::RunKind,
    /// How the run left the hour: `sealed`, `unchanged`, `waiting` (the lake is not proved complete), `disputed` (the lake holds
    /// less than was counted), `adjusted` (closed before), `overtaken` (by another run), `shown` (a dry run).
    #[schema(value_type = String)]
    outcome: &'static str,
    /// The hour's state: `open`, `sealed`, `disputed` or `closed`.
    #[schema(value_type = String)]
    state: &'static str,
    /// The version of its counts; 0: live counts.
    version: u64,
    /// Which version this one took the place of; the same one, if none.
    replaces: u64,
    /// Different clicks in the lake.
    clicks_in_lake: u64,
    /// Records in the lake, repeats included.
    rows_in_lake: u64,
    /// Of the clicks in the lake, valid.
    valid_in_lake: u64,
    /// Clicks that were counted before.
    clicks_counted: u64,
    /// Of these, valid.
    valid_counted: u64,
    /// Clicks in the lake that were not counted; negative: counted, but not in the lake.
    difference: i64,
    /// How many minutes of entities were corrected.
    corrections: u64,
    /// What it waits for, or why it is disputed; empty if there is nothing to say.
    detail: String,
    /// When the run looked at it.
    #[schema(value_type = String, format = DateTime)]
    at: LocalTime,
}

impl From<HourReport> for ReportView {
    fn from(report: HourReport) -> Self {
        Self {
            hour: LocalTime::utc(report.hour.start_ms()),
            run: report.run,
            outcome: report.outcome.as_str(),
            state: report.state.as_str(),
            version: report.version,
            replaces: report.replaces,
            clicks_in_lake: report.lake.clicks,
            rows_in_lake: report.lake.rows,
            valid_in_lake: report.lake.valid,
            clicks_counted: report.counted,
            valid_counted: report.counted_valid,
            difference: report.difference(),
            corrections: report.corrections,
            at: LocalTime::utc(report.at_ms),
            detail: report.detail,
        }
    }
}

/// A page of reports.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReportList {
    pub(crate) items: Vec<ReportView>,
    /// The next page's `cursor`; null on the last one.
    pub(crate) next_cursor: Option<String>,
}

/// One minute's counts.
#[derive(Serialize, ToSchema)]
pub(crate) struct CountsView {
    gross_clicks: u64,
    clicks: u64,
    invalid_clicks: u64,
    /// Verdicts that did not occur are absent.
    #[schema(value_type = BTreeMap<String, u64>)]
    invalid_by_verdict: BTreeMap<&'static str, u64>,
    /// Valid clicks by device class and country.
    cells: Vec<CellView>,
}

/// Valid clicks of one device class and country.
#[derive(Serialize, ToSchema)]
pub(crate) struct CellView {
    #[schema(value_type = String)]
    device: &'static str,
    #[schema(value_type = String)]
    country: String,
    clicks: u64,
}

impl From<&Counters> for CountsView {
    fn from(counters: &Counters) -> Self {
        let (mut cells, mut invalid_by_verdict) = (Vec::new(), BTreeMap::new());
        for (key, clicks) in counters.iter() {
            match key.counted() {
                Counted::Cell(device, country) => cells.push(CellView {
                    device: device.as_str(),
                    country: country.to_string(),
                    clicks,
                }),
                Counted::Invalid(verdict) => {
                    invalid_by_verdict.insert(verdict.as_str(), clicks);
                }
            }
        }
        let (gross_clicks, clicks) = (counters.gross(), counters.valid());
        Self {
            gross_clicks,
            clicks,
            invalid_clicks: gross_clicks - clicks,
            invalid_by_verdict,
            cells,
        }
    }
}

/// One minute of one entity whose counts were corrected.
#[derive(Serialize, ToSchema)]
pub(crate) struct CorrectionView {
    /// `ad`, `campaign`, `advertiser`, `placement` or `total`.
    #[schema(value_type = String)]
    entity: &'static str,
    /// Absent for `total`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    id: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    minute: LocalTime,
    /// By which version of the hour.
    version: u64,
    before: CountsView,
    after: CountsView,
    /// `late`, `lost_in_stream`, `counted_twice`, `quarantined`, `promoted`, `unclaimed`, `restated` or `unknown`.
    #[schema(value_type = String)]
    cause: &'static str,
    /// Whether the hour was closed before: then the counts stay what they were, and the difference is owed.
    adjustment: bool,
    #[schema(value_type = String, format = DateTime)]
    made_at: LocalTime,
}

impl From<&Correction> for CorrectionView {
    fn from(correction: &Correction) -> Self {
        Self {
            entity: correction.entity.kind(),
            id: match correction.entity {
                Entity::Ad(id) => Some(id.to_string()),
                Entity::Campaign(id) => Some(id.to_string()),
                Entity::Advertiser(id) => Some(id.to_string()),
                Entity::Placement(id) => Some(id.to_string()),
                Entity::Total => None,
                Entity::AdvertiserPlacement(advertiser, placement) => {
                    Some(format!("{advertiser}/{placement}"))
                }
            },
            minute: LocalTime::utc(correction.minute.start_ms()),
            version: correction.version,
            before: (&correction.before).into(),
            after: (&correction.after).into(),
            cause: correction.cause.as_str(),
            adjustment: correction.adjustment,
            made_at: LocalTime::utc(correction.made_at_ms),
        }
    }
}

/// A page of corrections.
#[derive(Serialize, ToSchema)]
pub(crate) struct CorrectionList {
    pub(crate) items: Vec<CorrectionView>,
    /// The next page's `cursor`; null on the last one.
    pub(crate) next_cursor: Option<String>,
}
