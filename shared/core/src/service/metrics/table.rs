//! The flat shape of rows: what CSV files and printed tables are made of.
//!
//! Invariant: column names and their order depend on the query alone, and every row has as many cells as there are
//! columns. No cell ever needs quoting: they are numbers, times and words of closed lists.

use std::fmt;

use super::choice::{Metric, Metrics};
use super::local_time::LocalTime;
use super::page::{MetricsPage, QueryEcho};
use super::query::metrics_of_rows;
use super::row::{MetricsRow, Share};
use crate::domain::ids::{AdId, PlacementId};
use crate::domain::verdict::Verdict;

/// One cell of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// A time.
    Time(LocalTime),
    /// A word of a closed list.
    Word(&'static str),
    /// An ad.
    Ad(AdId),
    /// A placement.
    Placement(PlacementId),
    /// A count.
    Count(u64),
    /// A share of one.
    Share(Share),
    /// Yes or no: `true` or `false`.
    Flag(bool),
    /// A count that is known no more; written as nothing.
    Unknown,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => time.fmt(f),
            Self::Word(word) => f.write_str(word),
            Self::Ad(ad) => ad.fmt(f),
            Self::Placement(placement) => placement.fmt(f),
            Self::Count(count) => count.fmt(f),
            Self::Share(share) => share.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::Unknown => Ok(()),
        }
    }
}

/// The column of a verdict's invalid clicks.
fn column_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "clicks",
        Verdict::Prefetch => "invalid_prefetch",
        Verdict::MissingToken => "invalid_missing_token",
        Verdict::BadToken => "invalid_bad_token",
        Verdict::ExpiredToken => "invalid_expired_token",
        Verdict::InactiveAd => "invalid_inactive_ad",
        Verdict::Bot => "invalid_bot",
        Verdict::RateLimited => "invalid_rate_limited",
        Verdict::Duplicate => "invalid_duplicate",
    }
}

fn invalid_verdicts() -> impl Iterator<Item = Verdict> {
    Verdict::ALL.into_iter().skip(1)
}

/// The names of the columns: `start`, those of the breakdown, the counts (one for each invalid verdict), `final`.
pub fn columns(query: &QueryEcho) -> Vec<&'static str> {
    let mut names = vec!["start"];
    names.extend(query.group_by.columns());
    for metric in of_rows(query).iter() {
        match metric {
            Metric::InvalidByVerdict => names.extend(invalid_verdicts().map(column_of)),
            _ => names.push(metric.as_str()),
        }
    }
    names.push("final");
    names
}

fn of_rows(query: &QueryEcho) -> Metrics {
    let filtered = query.device.is_some() || query.country.is_some();
    metrics_of_rows(query.group_by, filtered, query.metrics)
}

impl MetricsRow {
    /// The row's cells, one for each of [`columns`].
    fn cells(&self, metrics: Metrics) -> Vec<Cell> {
        let count = |count: Option<u64>| count.map_or(Cell::Unknown, Cell::Count);
        let mut cells = vec![Cell::Time(self.start)];
        cells.extend(self.ad.map(Cell::Ad));
        cells.extend(self.placement.map(Cell::Placement));
        let words = [
            self.device.map(|device| device.as_str()),
            self.country.as_ref().map(|country| country.as_str()),
            self.verdict.map(|verdict| verdict.as_str()),
        ];
        cells.extend(words.into_iter().flatten().map(Cell::Word));
        for metric in metrics.iter() {
            match metric {
                Metric::GrossClicks => cells.push(count(self.gross_clicks)),
                Metric::Clicks => cells.push(count(self.clicks)),
                Metric::InvalidClicks => cells.push(count(self.invalid_clicks)),
                Metric::InvalidClickRate => {
                    cells.push(self.invalid_click_rate.map_or(Cell::Unknown, Cell::Share));
                }
                Metric::InvalidByVerdict => cells.extend(
                    invalid_verdicts()
                        .map(|verdict| count(self.invalid_by_verdict.map(|by| by.0[verdict as usize]))),
                ),
                // Of totals only.
                Metric::PeakMinute => {}
            }
        }
        cells.push(Cell::Flag(self.r#final));
        cells
    }
}

impl MetricsPage {
    /// The names of the columns of [`MetricsPage::table`].
    pub fn columns(&self) -> Vec<&'static str> {
        columns(&self.query)
    }

    /// The page's rows as cells.
    pub fn table(&self) -> impl Iterator<Item = Vec<Cell>> + '_ {
        let metrics = of_rows(&self.query);
        self.rows.iter().map(move |row| row.cells(metrics))
    }
}

/// Writes comma-separated values (RFC 4180, but lines end in `\n`): with the names of the columns, or, for a page after
/// the first, without.
///
/// # Errors
/// Those of `out`.
pub fn write_csv(page: &MetricsPage, with_names: bool, out: &mut impl fmt::Write) -> fmt::Result {
    if with_names {
        writeln!(out, "{}", page.columns().join(","))?;
    }
    for row in page.table() {
        for (place, cell) in row.into_iter().enumerate() {
            if place > 0 {
                out.write_char(',')?;
            }
            write!(out, "{cell}")?;
        }
        out.write_char('\n')?;
    }
    Ok(())
}
