//! A recount's result, read in order: lines of CSV put together to a row for each entity and minute.
//!
//! Invariant: what was read is behind the reader: it holds one row that is being put together and what is left of a step.

use std::collections::VecDeque;

use clickledger_core::domain::counter::{CounterKey, Counters};
use clickledger_core::domain::country::Country;
use clickledger_core::domain::device::Device;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, PlacementId};
use clickledger_core::domain::manifest::LakeTotals;
use clickledger_core::domain::time::Minute;
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::ports::{PortError, PortResult, RecountRow};
use csv::StringRecord;

use super::clicks::{device, field, optional};
use super::query::Athena;
use crate::failure::damaged;

/// Bytes that are fetched at a time.
const STEP: u64 = 4 << 20;
/// The kind of the total entity, whose sum is the hour's.
const TOTAL: u8 = 5;

/// A line of `recount.sql`.
pub(super) enum Line {
    /// A kind's sum.
    Sum { kind: u8, clicks: u64, rows: u64 },
    /// One counter of one entity and minute; `None`: unclaimed.
    Part {
        entity: Entity,
        minute: Minute,
        counter: Option<CounterKey>,
        clicks: u64,
        rows: u64,
    },
}

fn entity(kind: u8, id: u64, other: u64) -> PortResult<Entity> {
    Ok(match kind {
        1 => Entity::Ad(AdId(id)),
        2 => Entity::Campaign(CampaignId(id)),
        3 => Entity::Advertiser(AdvertiserId(id)),
        4 => Entity::Placement(PlacementId(id)),
        TOTAL => Entity::Total,
        6 => Entity::AdvertiserPlacement(AdvertiserId(id), PlacementId(other)),
        _ => return Err(damaged("kind")),
    })
}

fn line(row: &StringRecord) -> PortResult<Line> {
    let kind = field(row, 0, "kind")?;
    let (clicks, rows) = (field(row, 7, "clicks")?, field(row, 8, "copies")?);
    let Some(id) = optional(row, 1, "id")? else {
        return Ok(Line::Sum { kind, clicks, rows });
    };
    let counter = match row.get(4) {
        Some("unclaimed") => None,
        Some("valid") => Some(CounterKey::of(
            Verdict::Valid,
            device(row, 5)?,
            field::<Country>(row, 6, "country")?,
        )),
        _ => Some(CounterKey::of(
            field(row, 4, "verdict")?,
            Device::Unknown,
            Country::ZZ,
        )),
    };
    Ok(Line::Part {
        entity: entity(kind, id, field(row, 2, "other")?)?,
        minute: Minute::of(field(row, 3, "minute_ms")?),
        counter,
        clicks,
        rows,
    })
}

/// Where a reader stands in a result.
#[derive(Default)]
pub(super) struct Reader {
    /// Bytes that were fetched, from the beginning.
    fetched: u64,
    ended: bool,
    /// The beginning of a line whose end was not fetched yet.
    torn: Vec<u8>,
    header_read: bool,
    /// Lines that were fetched, and not worked yet.
    lines: VecDeque<Line>,
    /// The row that is being put together.
    open: Option<RecountRow>,
    /// Rows that were given out.
    pub(super) given: u64,
}

impl Reader {
    /// The next line.
    async fn next_line(&mut self, athena: &Athena, id: &str) -> PortResult<Option<Line>> {
        while self.lines.is_empty() && !self.ended {
            let more = athena.result(id, self.fetched, STEP).await?;
            self.fetched += more.len() as u64;
            self.ended = (more.len() as u64) < STEP;
            self.torn.extend(more);
            self.parse()?;
        }
        Ok(self.lines.pop_front())
    }

    /// Reads the whole lines of what was fetched. No value holds a newline: they are ids, numbers and words of closed lists.
    fn parse(&mut self) -> PortResult<()> {
        let end = self
            .torn
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |last| last + 1);
        if self.ended && end < self.torn.len() {
            return Err(damaged("the end of a recount's result"));
        }
        let torn = self.torn.split_off(end);
        let whole = std::mem::replace(&mut self.torn, torn);
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(whole.as_slice());
        for record in reader.records() {
            let record = record.map_err(PortError::rejected)?;
            if std::mem::replace(&mut self.header_read, true) {
                self.lines.push_back(line(&record)?);
            }
        }
        Ok(())
    }

    /// The hour's sums: those of the total entity.
    pub(super) async fn totals(athena: &Athena, id: &str) -> PortResult<LakeTotals> {
        // Every click is in exactly one ad, whose sums are the first line.
        let mut reader = Self::default();
        match reader.next_line(athena, id).await? {
            None => Ok(LakeTotals::default()),
            Some(Line::Sum {
                kind: 1,
                clicks,
                rows,
            }) => Ok(LakeTotals {
                rows,
                clicks,
                valid: 0,
            }),
            Some(_) => Err(damaged("the first line of a recount's result")),
        }
    }

    /// The next row.
    pub(super) async fn next(&mut self, athena: &Athena, id: &str) -> PortResult<Option<RecountRow>> {
        while let Some(line) = self.next_line(athena, id).await? {
            let Line::Part {
                entity,
                minute,
                counter,
                clicks,
                rows,
            } = line
            else {
                continue;
            };
            let done = match &mut self.open {
                Some(open) if (open.entity, open.minute) == (entity, minute) => None,
                open => open.replace(RecountRow {
                    entity,
                    minute,
                    counters: Counters::default(),
                    clicks: 0,
                    rows: 0,
                }),
            };
            if let Some(open) = &mut self.open {
                if let Some(counter) = counter {
                    open.counters.add(counter, clicks);
                }
                open.clicks += clicks;
                open.rows += rows;
            }
            if done.is_some() {
                self.given += 1;
                return Ok(done);
            }
        }
        let last = self.open.take();
        self.given += u64::from(last.is_some());
        Ok(last)
    }
}
