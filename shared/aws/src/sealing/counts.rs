//! Sealed hours and days: totals and cells in items apart, beside the partials; and which entities a version has.
//!
//! | partition key | sort key | holds |
//! | --- | --- | --- |
//! | `<entity>#h#<yyyymm>` | `<ddhh>#<version>` | an hour's totals, `m`, and how many parts its cells have, `p` |
//! | `<entity>#k#<yyyymm>` | `<ddhh>#<version>#<part>` | its cells, `c` |
//! | `<entity>#d#<yyyy>` | `<mmdd>#<version>` | a day's totals, `m`, `p` |
//! | `<entity>#e#<yyyy>` | `<mmdd>#<version>#<part>` | its cells, `c` |
//!
//! Invariant: who asks for no breakdown reads no cells; an item has less than 400 KB whatever was clicked; totals are written
//! after their cells and deleted before them, so that whoever finds totals finds all that belongs to them. A pair's
//! placement is named (module `placements`) before its items are written.

use std::collections::BTreeMap;

use async_trait::async_trait;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::{AdvertiserId, PlacementId};
use clickledger_core::domain::packed::{Packed, PackedDay, PackedHour};
use clickledger_core::domain::sealed::{SealedDay, SealedHour};
use clickledger_core::domain::time::{Day, Hour};
use clickledger_core::ports::{PortResult, SealedCounts, SealedDayTotals, SealedHourTotals};
use futures_util::future::try_join;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::index::Index;
use super::placements;
use super::table::{Table, day_keys, hour_keys, months, years};
use crate::config::{ConfigError, Resource};
use crate::connect::Aws;
use crate::dynamodb::item::{Item, b, bytes, item, n, number, s, text};
use crate::failure::damaged;
use crate::patience::Patience;

/// Bytes of cells in one item.
const PART_BYTES: usize = 300_000;
/// Writes under way at the same time.
const WRITES_AT_ONCE: usize = 32;

/// The [`SealedCounts`] on DynamoDB. Reads are strongly consistent: an item that is not seen would be taken for no click, in
/// an answer that says it is final, and in the day that is made of its hour moments later.
#[derive(Clone)]
pub struct SealedItems {
    counts: Table,
    index: Index,
}

impl Aws {
    /// Sealed hours and days.
    ///
    /// # Errors
    /// A table's name is missing.
    pub fn sealed_counts(&self, patience: Patience) -> Result<SealedItems, ConfigError> {
        let table = |resource| {
            Ok(Table {
                client: self.dynamodb(),
                name: self.name(resource)?,
                patience,
            })
        };
        Ok(SealedItems {
            counts: table(Resource::Buckets)?,
            index: Index::new(table(Resource::Hours)?),
        })
    }
}

/// Hours or days: which letters their keys have.
#[derive(Clone, Copy)]
struct Kind {
    totals: char,
    cells: char,
}

const HOURS: Kind = Kind {
    totals: 'h',
    cells: 'k',
};
const DAYS: Kind = Kind {
    totals: 'd',
    cells: 'e',
};

/// One item's place: its partition's month or year, and its `ddhh` or `mmdd`.
type Place = (String, String);

/// An entity's items of one kind by number (of hour or day) and version.
type Found = BTreeMap<(i64, u64), Packed>;

impl SealedItems {
    /// The items of one hour or day.
    fn items(kind: Kind, entity: Entity, place: &Place, of: (i64, u64), packed: &Packed) -> Vec<Item> {
        let ((period, key), (number, version)) = (place, of);
        let parts = packed.cells.chunks(PART_BYTES);
        let mut items = vec![item([
            ("pk", s(format!("{entity}#{}#{period}", kind.totals))),
            ("sk", s(format!("{key}#{version:020}"))),
            ("n", n(number)),
            ("v", n(version)),
            ("p", n(parts.len())),
            ("m", b(packed.totals.clone())),
        ])];
        for (part, cells) in parts.enumerate() {
            items.push(item([
                ("pk", s(format!("{entity}#{}#{period}", kind.cells))),
                ("sk", s(format!("{key}#{version:020}#{part:03}"))),
                ("n", n(number)),
                ("v", n(version)),
                ("c", b(cells)),
            ]));
        }
        items
    }

    async fn put_all(&self, items: impl Iterator<Item = Item>) -> PortResult<()> {
        let (totals, cells): (Vec<Item>, Vec<Item>) = items.partition(|item| item.contains_key("p"));
        for items in [cells, totals] {
            let puts = stream::iter(items).map(|item| self.counts.put(item));
            let done = puts.buffer_unordered(WRITES_AT_ONCE);
            done.try_collect::<()>().await?;
        }
        Ok(())
    }

    /// An entity's items of some periods (each with its first and last key).
    async fn read(
        &self,
        kind: Kind,
        entity: Entity,
        periods: &[(Place, Place)],
        with_cells: bool,
    ) -> PortResult<Found> {
        // Totals are found of which the cells are just deleted; the totals are gone already then.
        for _ in 0..2 {
            let found = self.read_once(kind, entity, periods, with_cells);
            if let Some(found) = found.await? {
                return Ok(found);
            }
        }
        Err(damaged("a part of sealed cells is missing"))
    }

    /// The same; `None` where a part of the cells is missing.
    async fn read_once(
        &self,
        kind: Kind,
        entity: Entity,
        periods: &[(Place, Place)],
        with_cells: bool,
    ) -> PortResult<Option<Found>> {
        let mut found = Found::new();
        for ((period, from), (_, to)) in periods {
            // Behind every version of the last key.
            let to = format!("{to}$");
            let totals = format!("{entity}#{}#{period}", kind.totals);
            let cells = format!("{entity}#{}#{period}", kind.cells);
            let totals = self.counts.range(&totals, from, &to, None);
            let cells = async {
                match with_cells {
                    true => self.counts.range(&cells, from, &to, None).await,
                    false => Ok(Vec::new()),
                }
            };
            let (totals, cells) = try_join(totals, cells).await?;
            let mut parts = BTreeMap::new();
            for item in totals {
                let key = (number(&item, "n")?, number(&item, "v")?);
                let packed = Packed {
                    totals: bytes(&item, "m")?.to_vec(),
                    cells: Vec::new(),
                };
                parts.insert(key, number::<usize>(&item, "p")?);
                found.insert(key, packed);
            }
            for item in cells {
                let key = (number(&item, "n")?, number(&item, "v")?);
                // Parts come in order; those of a longer item that was replaced are none of this one's.
                if let (Some(packed), Some(left @ 1..)) = (found.get_mut(&key), parts.get_mut(&key)) {
                    packed.cells.extend_from_slice(bytes(&item, "c")?);
                    *left -= 1;
                }
            }
            if with_cells && parts.values().any(|left| *left > 0) {
                return Ok(None);
            }
        }
        Ok(Some(found))
    }

    /// Deletes one hour's or day's items of an entity and version.
    async fn delete(&self, kind: Kind, entity: Entity, place: &Place, version: u64) -> PortResult<()> {
        let ((period, key), version) = (place, format!("{version:020}"));
        let from = format!("{key}#{version}");
        let totals = format!("{entity}#{}#{period}", kind.totals);
        self.counts.delete(&totals, &from).await?;
        let cells = format!("{entity}#{}#{period}", kind.cells);
        for part in self
            .counts
            .range(&cells, &from, &format!("{from}$"), None)
            .await?
        {
            let sk = text(&part, "sk")?;
            self.counts.delete(&cells, sk).await?;
        }
        Ok(())
    }
}

fn of_months(from: Hour, to: Hour) -> Vec<(Place, Place)> {
    let cut = months(from, to).into_iter();
    cut.map(|(first, last)| (hour_keys(first), hour_keys(last)))
        .collect()
}

fn of_years(from: Day, to: Day) -> Vec<(Place, Place)> {
    let cut = years(from, to).into_iter();
    cut.map(|(first, last)| (day_keys(first), day_keys(last)))
        .collect()
}

#[async_trait]
impl SealedCounts for SealedItems {
    async fn write_hours(
        &self,
        hour: Hour,
        version: u64,
        slice: u32,
        items: Vec<SealedHour>,
    ) -> PortResult<()> {
        let mut entities: Vec<Entity> = items.iter().map(|item| item.entity).collect();
        entities.sort_unstable();
        let place = hour_keys(hour);
        // Known before they are there: whoever forgets the version forgets them too.
        let gone = self.index.replace(hour, version, slice, &entities).await?;
        for entity in gone {
            self.delete(HOURS, entity, &place, version).await?;
        }
        let names = items
            .iter()
            .filter_map(|sealed| placements::name(sealed.entity, &place.0));
        self.put_all(names).await?;
        let items = items.iter().flat_map(|sealed| {
            let packed = PackedHour::pack(sealed);
            Self::items(HOURS, sealed.entity, &place, (hour.0, version), &packed)
        });
        self.put_all(items).await
    }

    async fn entities(
        &self,
        hour: Hour,
        version: u64,
        after: Option<Entity>,
        limit: usize,
    ) -> PortResult<Vec<Entity>> {
        let all = self.index.of_version(hour, version, after.is_some()).await?;
        let from = after.map_or(0, |after| all.partition_point(|entity| *entity <= after));
        Ok(all[from..].iter().take(limit).copied().collect())
    }

    async fn read_hours(&self, entity: Entity, from: Hour, to: Hour) -> PortResult<Vec<SealedHour>> {
        let found = self.read(HOURS, entity, &of_months(from, to), true).await?;
        let unpacked = found.into_iter().map(|((hour, version), packed)| {
            Ok(SealedHour {
                entity,
                hour: Hour(hour),
                version,
                minutes: PackedHour::minutes(&packed.totals, &packed.cells)
                    .map_err(|_| damaged("a sealed hour"))?,
            })
        });
        unpacked.collect()
    }

    async fn read_hour_totals(
        &self,
        entity: Entity,
        from: Hour,
        to: Hour,
    ) -> PortResult<Vec<SealedHourTotals>> {
        let found = self.read(HOURS, entity, &of_months(from, to), false).await?;
        let unpacked = found.into_iter().map(|((hour, version), packed)| {
            SealedHourTotals::unpack(Hour(hour), version, &packed.totals)
                .map_err(|_| damaged("a sealed hour"))
        });
        unpacked.collect()
    }

    async fn placements(
        &self,
        advertiser: AdvertiserId,
        from: Hour,
        to: Hour,
        after: Option<PlacementId>,
        limit: usize,
    ) -> PortResult<Vec<PlacementId>> {
        let months = of_months(from, to).into_iter().map(|((month, _), _)| month);
        placements::list(&self.counts, advertiser, months, after, limit).await
    }

    async fn write_days(&self, items: Vec<SealedDay>) -> PortResult<()> {
        let items = items.iter().flat_map(|sealed| {
            let (place, of) = (day_keys(sealed.day), (sealed.day.0, sealed.version));
            Self::items(DAYS, sealed.entity, &place, of, &PackedDay::pack(sealed))
        });
        self.put_all(items).await
    }

    async fn read_days(&self, entity: Entity, from: Day, to: Day) -> PortResult<Vec<SealedDay>> {
        let found = self.read(DAYS, entity, &of_years(from, to), true).await?;
        let unpacked = found.into_iter().map(|((day, version), packed)| {
            Ok(SealedDay {
                entity,
                day: Day(day),
                version,
                quarters: PackedDay::quarters(&packed.totals, &packed.cells)
                    .map_err(|_| damaged("a sealed day"))?,
            })
        });
        unpacked.collect()
    }

    async fn read_day_totals(&self, entity: Entity, from: Day, to: Day) -> PortResult<Vec<SealedDayTotals>> {
        let found = self.read(DAYS, entity, &of_years(from, to), false).await?;
        let unpacked = found.into_iter().map(|((day, version), packed)| {
            SealedDayTotals::unpack(Day(day), version, &packed.totals).map_err(|_| damaged("a sealed day"))
        });
        unpacked.collect()
    }

    async fn forget_hours(&self, hour: Hour, below: u64, keep: &[u64], limit: usize) -> PortResult<usize> {
        let place = hour_keys(hour);
        let mut forgotten = 0;
        for part in self.index.parts(hour).await? {
            if part.version >= below || keep.contains(&part.version) {
                continue;
            }
            let (now, later) = part.entities.split_at(part.entities.len().min(limit - forgotten));
            for entity in now {
                self.delete(HOURS, *entity, &place, part.version).await?;
            }
            forgotten += now.len();
            self.index.shorten(hour, &part, later).await?;
            if forgotten >= limit {
                break;
            }
        }
        Ok(forgotten)
    }

    async fn forget_days(&self, day: Day, below: u64, keep: u64, limit: usize) -> PortResult<usize> {
        let mut entities: Vec<Entity> = Vec::new();
        for hour in day.hours() {
            for part in self.index.parts(hour).await? {
                entities.extend(part.entities);
            }
        }
        entities.sort_unstable();
        entities.dedup();
        let place = day_keys(day);
        let mut forgotten = 0;
        for entity in entities {
            let next = Day(day.0 + 1);
            for stored in self.read_day_totals(entity, day, next).await? {
                if stored.version < below && stored.version != keep {
                    if forgotten >= limit {
                        return Ok(forgotten);
                    }
                    self.delete(DAYS, entity, &place, stored.version).await?;
                    forgotten += 1;
                }
            }
        }
        Ok(forgotten)
    }
}
