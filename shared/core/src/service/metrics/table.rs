//! The flat shape of rows: what CSV files and printed tables are made of.
//!
//! Invariant: column names and their order depend on the breakdown alone, and every row has as many cells as there are
//! columns. No cell ever needs quoting: they are numbers, times and words of closed lists.

use std::fmt;

use super::local_time::LocalTime;
use super::page::{MetricsPage, MetricsRow};
use super::words::GroupBy;
use crate::domain::verdict::Verdict;

/// Without a breakdown; after `invalid_clicks` one column for each invalid verdict, in the order of [`Verdict::ALL`].
const PLAIN: [&str; 13] = [
    "start",
    "gross_clicks",
    "clicks",
    "invalid_clicks",
    "invalid_prefetch",
    "invalid_missing_token",
    "invalid_bad_token",
    "invalid_expired_token",
    "invalid_inactive_ad",
    "invalid_bot",
    "invalid_rate_limited",
    "invalid_duplicate",
    "final",
];

/// One cell of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// A time.
    Time(LocalTime),
    /// A word of a closed list.
    Word(&'static str),
    /// A count.
    Count(u64),
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
            Self::Count(count) => count.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::Unknown => Ok(()),
        }
    }
}

/// The names of the columns.
pub fn columns(group_by: GroupBy) -> Vec<&'static str> {
    match group_by {
        GroupBy::None => PLAIN.to_vec(),
        _ => ["start"]
            .iter()
            .chain(group_by.columns())
            .chain(&["clicks", "final"])
            .copied()
            .collect(),
    }
}

impl MetricsRow {
    /// The row's cells, one for each of [`columns`].
    pub fn cells(&self, group_by: GroupBy) -> impl Iterator<Item = Cell> + '_ {
        let words = [
            self.device.map(|device| device.as_str()),
            self.country.as_ref().map(|country| country.as_str()),
            self.verdict.map(|verdict| verdict.as_str()),
        ];
        let plain = group_by == GroupBy::None;
        let count = |count: Option<u64>| count.map_or(Cell::Unknown, Cell::Count);
        let invalid = move |verdict: Verdict| count(self.invalid_by_verdict.map(|by| by.0[verdict as usize]));
        std::iter::once(Cell::Time(self.start))
            .chain(words.into_iter().flatten().map(Cell::Word))
            .chain(plain.then(|| count(self.gross_clicks)))
            .chain([count(self.clicks)])
            .chain(plain.then(|| count(self.invalid_clicks)))
            .chain(
                Verdict::ALL
                    .into_iter()
                    .skip(if plain { 1 } else { Verdict::ALL.len() })
                    .map(invalid),
            )
            .chain([Cell::Flag(self.r#final)])
    }
}

impl MetricsPage {
    /// The names of the columns of [`MetricsPage::table`].
    pub fn columns(&self) -> Vec<&'static str> {
        columns(self.query.group_by)
    }

    /// The page's rows as cells.
    pub fn table(&self) -> impl Iterator<Item = impl Iterator<Item = Cell> + '_> + '_ {
        self.rows.iter().map(|row| row.cells(self.query.group_by))
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
        for (place, cell) in row.enumerate() {
            if place > 0 {
                out.write_char(',')?;
            }
            write!(out, "{cell}")?;
        }
        out.write_char('\n')?;
    }
    Ok(())
}
