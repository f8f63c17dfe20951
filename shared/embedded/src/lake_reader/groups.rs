//! Counts by entity, minute and counter, within bounded memory: what has grown large is written as a run, sorted; runs are
//! merged by adding (module `result`).
//!
//! A click is counted for its ad (with campaign and advertiser, which nearly always follow from it), its placement, and its
//! advertiser by that placement;
//! campaigns, advertisers and the total are summed from the ads' counts when these are written.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;

use clickledger_core::domain::counter::CounterKey;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId};
use clickledger_core::domain::packed::put;
use clickledger_core::domain::record::CountedClick;
use clickledger_core::domain::time::Minute;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::Sizes;
use super::result::Runs;
use crate::seals::sealed_key;

/// Beside the counters of [`CounterKey`]: clicks that are valid but unclaimed.
pub(super) const UNCLAIMED: u16 = 0xFFFE;
/// Rows that repeat a click.
pub(super) const REPEATS: u16 = 0xFFFF;

/// An entity as rows of sealed counts name it, a minute's place and a counter: in the order of entities and minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    kind: u8,
    id: u64,
    other: u64,
    place: u8,
    counter: u16,
}

impl Key {
    fn new(entity: Entity, place: u8, counter: u16) -> Self {
        let (kind, id, other) = sealed_key(entity);
        Self {
            kind: kind as u8,
            id: id.cast_unsigned(),
            other: other.cast_unsigned(),
            place,
            counter,
        }
    }

    /// The entity as rows name it.
    pub(super) fn entity(self) -> (i64, i64, i64) {
        (self.kind.into(), self.id.cast_signed(), self.other.cast_signed())
    }

    pub(super) fn place(self) -> u8 {
        self.place
    }

    pub(super) fn counter(self) -> u16 {
        self.counter
    }

    /// What rows are grouped by.
    pub(super) fn row(self) -> (u8, u64, u64, u8) {
        (self.kind, self.id, self.other, self.place)
    }

    /// Its place within its entity.
    fn within(self) -> u64 {
        u64::from(self.place) << 16 | u64::from(self.counter)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Owners {
    ad: AdId,
    campaign: CampaignId,
    advertiser: AdvertiserId,
}

/// One thread's counts.
pub(super) struct Groups {
    sizes: Sizes,
    runs: Runs,
    written: Vec<PathBuf>,
    places: HashMap<Owners, u32, RandomState>,
    owners: Vec<Owners>,
    /// By the ad's place in `owners` (32 bits), minute's place and counter.
    ads: HashMap<u64, u64, RandomState>,
    others: HashMap<Key, u64, RandomState>,
}

impl Groups {
    pub(super) fn new(runs: Runs, sizes: Sizes) -> Self {
        Self {
            sizes,
            runs,
            written: Vec::new(),
            places: HashMap::default(),
            owners: Vec::new(),
            ads: HashMap::default(),
            others: HashMap::default(),
        }
    }

    /// Counts a row.
    pub(super) fn add(&mut self, click: &CountedClick, first: bool) -> io::Result<()> {
        let counter = if !first {
            REPEATS
        } else if click.verdict.is_valid() && !click.claimed {
            UNCLAIMED
        } else {
            CounterKey::of(click.verdict, click.device, click.country).to_u16()
        };
        let place = Minute::of(click.clicked_at_ms).0.rem_euclid(60) as u8;
        let owners = Owners {
            ad: click.ad_id,
            campaign: click.campaign_id,
            advertiser: click.advertiser_id,
        };
        let known = *self.places.entry(owners).or_insert_with(|| {
            self.owners.push(owners);
            (self.owners.len() - 1) as u32
        });
        let key = u64::from(known) << 24 | u64::from(place) << 16 | u64::from(counter);
        *self.ads.entry(key).or_insert(0) += 1;
        if let Some(placement) = click.placement_id {
            for entity in [
                Entity::Placement(placement),
                Entity::AdvertiserPlacement(click.advertiser_id, placement),
            ] {
                *self.others.entry(Key::new(entity, place, counter)).or_insert(0) += 1;
            }
        }
        if self.ads.len() >= self.sizes.ads {
            self.write_ads()?;
        }
        if self.others.len() >= self.sizes.others {
            self.write_others()?;
        }
        Ok(())
    }

    /// Writes the rest; says which runs there are.
    pub(super) fn finish(mut self) -> io::Result<Vec<PathBuf>> {
        self.write_ads()?;
        self.write_others()?;
        Ok(self.written)
    }

    fn write_ads(&mut self) -> io::Result<()> {
        let mut counts: Vec<(u64, u64)> = std::mem::take(&mut self.ads).into_iter().collect();
        counts.sort_unstable_by_key(|(key, _)| (self.owners[(key >> 24) as usize].ad, *key & 0xFF_FFFF));
        let mut run = RunWriter::new(&mut self.written, &self.runs)?;
        for (key, count) in counts {
            let owners = self.owners[(key >> 24) as usize];
            let (place, counter) = ((key >> 16) as u8, key as u16);
            run.push(Key::new(Entity::Ad(owners.ad), place, counter), count)?;
            for entity in [
                Entity::Campaign(owners.campaign),
                Entity::Advertiser(owners.advertiser),
                Entity::Total,
            ] {
                *self.others.entry(Key::new(entity, place, counter)).or_insert(0) += count;
            }
            if self.others.len() >= self.sizes.others {
                write_others(&mut self.others, &mut self.written, &self.runs)?;
            }
        }
        run.finish()
    }

    fn write_others(&mut self) -> io::Result<()> {
        write_others(&mut self.others, &mut self.written, &self.runs)
    }
}

fn write_others(
    others: &mut HashMap<Key, u64, RandomState>,
    written: &mut Vec<PathBuf>,
    runs: &Runs,
) -> io::Result<()> {
    let mut counts: Vec<(Key, u64)> = std::mem::take(others).into_iter().collect();
    counts.sort_unstable();
    let mut run = RunWriter::new(written, runs)?;
    for (key, count) in counts {
        run.push(key, count)?;
    }
    run.finish()
}

/// A run: keys in order with their counts, all varints. Of an entity's keys the first is told by kind, id and other behind a
/// mark; each by its distance from the one before within the entity.
struct RunWriter {
    out: BufWriter<File>,
    last: Option<Key>,
    buffer: Vec<u8>,
}

/// Where a run's next key is of another entity; else one more than the distance stands there.
const NEXT_ENTITY: u64 = 0;

impl RunWriter {
    fn new(written: &mut Vec<PathBuf>, runs: &Runs) -> io::Result<Self> {
        let path = runs.next();
        let out = BufWriter::new(File::create_new(&path)?);
        written.push(path);
        Ok(Self {
            out,
            last: None,
            buffer: Vec::new(),
        })
    }

    fn push(&mut self, key: Key, count: u64) -> io::Result<()> {
        self.buffer.clear();
        let before = match self.last.filter(|last| last.entity() == key.entity()) {
            Some(last) => last.within(),
            None => {
                for number in [NEXT_ENTITY, key.kind.into(), key.id, key.other] {
                    put(&mut self.buffer, number);
                }
                0
            }
        };
        put(&mut self.buffer, key.within() - before + 1);
        put(&mut self.buffer, count);
        self.last = Some(key);
        self.out.write_all(&self.buffer)
    }

    fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Reads a run.
pub(super) struct RunReader {
    input: BufReader<File>,
    last: Option<Key>,
}

impl RunReader {
    pub(super) fn open(path: &PathBuf) -> io::Result<Self> {
        Ok(Self {
            input: BufReader::new(File::open(path)?),
            last: None,
        })
    }

    /// The next key and its count.
    pub(super) fn next(&mut self) -> io::Result<Option<(Key, u64)>> {
        let mut first = [0];
        if self.input.read(&mut first)? == 0 {
            return Ok(None);
        }
        let mut distance = self.varint(first[0])?;
        if distance == NEXT_ENTITY {
            let (kind, id, other) = (self.number()? as u8, self.number()?, self.number()?);
            self.last = Some(Key {
                kind,
                id,
                other,
                place: 0,
                counter: 0,
            });
            distance = self.number()?;
        }
        let (Some(last), 1..) = (self.last, distance) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let within = last.within() + (distance - 1);
        let key = Key {
            place: (within >> 16) as u8,
            counter: within as u16,
            ..last
        };
        self.last = Some(key);
        Ok(Some((key, self.number()?)))
    }

    fn number(&mut self) -> io::Result<u64> {
        let mut first = [0];
        self.input.read_exact(&mut first)?;
        self.varint(first[0])
    }

    fn varint(&mut self, first: u8) -> io::Result<u64> {
        let (mut byte, mut number, mut shift) = ([first], u64::from(first & 0x7f), 7);
        while byte[0] & 0x80 != 0 && shift < u64::BITS {
            self.input.read_exact(&mut byte)?;
            number |= u64::from(byte[0] & 0x7f) << shift;
            shift += 7;
        }
        Ok(number)
    }
}
