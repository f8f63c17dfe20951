//! Counts by entity, minute and counter, within bounded memory: what has grown large is written as a run, sorted; runs are
//! merged by adding (module `result`).
//!
//! A click is counted for its ad (with campaign and advertiser, which nearly always follow from it) and its placement;
//! campaigns, advertisers and the total are summed from the ads' counts when these are written.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;

use clickledger_core::domain::counter::CounterKey;
use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId};
use clickledger_core::domain::record::CountedClick;
use clickledger_core::domain::time::Minute;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::Sizes;
use super::result::Runs;
use crate::hot::stored;

/// Beside the counters of [`CounterKey`]: clicks that are valid but unclaimed.
pub(super) const UNCLAIMED: u16 = 0xFFFE;
/// Rows that repeat a click.
pub(super) const REPEATS: u16 = 0xFFFF;

/// An entity's kind (8 bits) and id (64), a minute's place (8) and a counter (16): in the order of entities and minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key(u128);

impl Key {
    fn new(entity: Entity, place: u8, counter: u16) -> Self {
        let (kind, id) = stored(entity);
        let kind_and_id = u128::from(kind as u8) << 64 | u128::from(id.cast_unsigned());
        Self(kind_and_id << 24 | u128::from(place) << 16 | u128::from(counter))
    }

    /// The entity as rows name it.
    pub(super) fn entity(self) -> (i64, i64) {
        (
            i64::from((self.0 >> 88) as u8),
            ((self.0 >> 24) as u64).cast_signed(),
        )
    }

    pub(super) fn place(self) -> u8 {
        (self.0 >> 16) as u8
    }

    pub(super) fn counter(self) -> u16 {
        self.0 as u16
    }

    /// What rows are grouped by.
    pub(super) fn row(self) -> u128 {
        self.0 >> 16
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
            let key = Key::new(Entity::Placement(placement), place, counter);
            *self.others.entry(key).or_insert(0) += 1;
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

/// A run: keys in order, each as its distance from the one before, with their counts; all varints.
struct RunWriter {
    out: BufWriter<File>,
    last: u128,
}

impl RunWriter {
    fn new(written: &mut Vec<PathBuf>, runs: &Runs) -> io::Result<Self> {
        let path = runs.next();
        let out = BufWriter::new(File::create_new(&path)?);
        written.push(path);
        Ok(Self { out, last: 0 })
    }

    fn push(&mut self, key: Key, count: u64) -> io::Result<()> {
        let mut distance = key.0 - self.last;
        self.last = key.0;
        while distance >= 0x80 {
            self.out.write_all(&[distance as u8 | 0x80])?;
            distance >>= 7;
        }
        self.out.write_all(&[distance as u8])?;
        let mut bytes = Vec::with_capacity(10);
        clickledger_core::domain::packed::put(&mut bytes, count);
        self.out.write_all(&bytes)
    }

    fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Reads a run.
pub(super) struct RunReader {
    input: BufReader<File>,
    last: u128,
}

impl RunReader {
    pub(super) fn open(path: &PathBuf) -> io::Result<Self> {
        Ok(Self {
            input: BufReader::new(File::open(path)?),
            last: 0,
        })
    }

    /// The next key and its count.
    pub(super) fn next(&mut self) -> io::Result<Option<(Key, u64)>> {
        let mut first = [0];
        if self.input.read(&mut first)? == 0 {
            return Ok(None);
        }
        self.last += self.varint(first[0])?;
        let mut first = [0];
        self.input.read_exact(&mut first)?;
        let count = self.varint(first[0])?;
        Ok(Some((Key(self.last), count as u64)))
    }

    fn varint(&mut self, first: u8) -> io::Result<u128> {
        let (mut byte, mut number, mut shift) = ([first], u128::from(first & 0x7f), 7);
        while byte[0] & 0x80 != 0 {
            self.input.read_exact(&mut byte)?;
            number |= u128::from(byte[0] & 0x7f) << shift;
            shift += 7;
        }
        Ok(number)
    }
}
