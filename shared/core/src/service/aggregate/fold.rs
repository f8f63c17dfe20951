//! The fold: a sub-batch's records by bucket, and the conditional writes that bring them into partials.
//!
//! Invariant: a group's rows stay in the order of the shard, and a piece is cut by sequence number, never by counter.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::BatchRecord;
use crate::domain::bucket::{Condition, PartialWrite, ShardId};
use crate::domain::counter::{CounterKey, Counters};
use crate::domain::device::Device;
use crate::domain::entity::{BucketKey, Entity};
use crate::domain::ids::AdId;
use crate::domain::mutation::{Broken, Mutation};
use crate::domain::record::CountedClick;
use crate::domain::sequence::SequenceNumber;
use crate::domain::time::Minute;
use crate::domain::verdict::Verdict;

/// A record that is counted live.
pub(super) struct Counted {
    pub(super) click: CountedClick,
    /// Its place in the batch.
    pub(super) place: u32,
    /// `None`: a repeat. It adds nothing, but moves its groups' watermarks.
    pub(super) verdict: Option<Verdict>,
}

/// One record in one group: its place in the batch, and what it adds.
#[derive(Clone, Copy)]
struct Row {
    place: u32,
    counter: Option<CounterKey>,
}

struct Group {
    key: BucketKey,
    /// Its rows that are still to be written: a range of [`Groups::rows`].
    next: usize,
    end: usize,
    /// The stored watermark that a refusal answered with.
    mark: Option<SequenceNumber>,
}

/// A group's next rows, as they were written.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    group: usize,
    first: usize,
    end: usize,
}

/// The groups of a sub-batch.
pub(super) struct Groups {
    groups: Vec<Group>,
    /// All groups' rows, one group after the other.
    rows: Vec<Row>,
}

/// The groups that one ad's clicks of a minute go to, so that only the first of them looks all of them up.
#[derive(Clone, Copy)]
struct Lane {
    click: (u64, u64),
    groups: [u32; 4],
}

impl Groups {
    /// Folds what was counted: five entities a click, where it has a placement.
    pub(super) fn fold(counted: &[Counted], mutation: Mutation) -> Self {
        let mut places: HashMap<BucketKey, u32, FixedState> =
            HashMap::with_capacity_and_hasher(counted.len(), FixedState::default());
        let mut lanes: HashMap<(AdId, Minute), Lane, FixedState> =
            HashMap::with_capacity_and_hasher(counted.len(), FixedState::default());
        let mut keys: Vec<BucketKey> = Vec::with_capacity(counted.len());
        let mut sizes: Vec<u32> = Vec::with_capacity(counted.len());
        let mut entries: Vec<(u32, Row)> = Vec::with_capacity(counted.len() * 5);
        let mut group = |entity, minute| {
            let key = BucketKey { entity, minute };
            *places.entry(key).or_insert_with(|| {
                keys.push(key);
                keys.len() as u32 - 1
            })
        };
        for Counted {
            click,
            place,
            verdict,
        } in counted
        {
            if verdict.is_none() && mutation.is(Broken::RepeatKeepsWatermark) {
                continue;
            }
            let row = Row {
                place: *place,
                counter: verdict.map(|verdict| CounterKey::of(verdict, click.device, click.country)),
            };
            let minute = Minute::of(click.clicked_at_ms);
            let owner = (click.campaign_id.0, click.advertiser_id.0);
            let mut look_up = || Lane {
                click: owner,
                groups: [
                    group(Entity::Ad(click.ad_id), minute),
                    group(Entity::Campaign(click.campaign_id), minute),
                    group(Entity::Advertiser(click.advertiser_id), minute),
                    group(Entity::Total, minute),
                ],
            };
            let lane = lanes.entry((click.ad_id, minute)).or_insert_with(&mut look_up);
            if lane.click != owner {
                // The ad has moved to another campaign within the minute.
                *lane = look_up();
            }
            entries.extend(lane.groups.map(|group| (group, row)));
            if let Some(placement) = click.placement_id {
                entries.push((group(Entity::Placement(placement), minute), row));
            }
        }
        sizes.resize(keys.len(), 0);
        for (group, _) in &entries {
            sizes[*group as usize] += 1;
        }
        let mut end = 0;
        let mut groups: Vec<Group> = Vec::with_capacity(keys.len());
        for (key, size) in keys.into_iter().zip(sizes) {
            // `end` runs up to its place while the rows are put in.
            groups.push(Group {
                key,
                next: end,
                end,
                mark: None,
            });
            end += size as usize;
        }
        let nothing = Row {
            place: 0,
            counter: None,
        };
        let mut rows = vec![nothing; entries.len()];
        for (group, row) in entries {
            let group = &mut groups[group as usize];
            rows[group.end] = row;
            group.end += 1;
        }
        Self { groups, rows }
    }

    /// How many records each ad has.
    pub(super) fn ads(&self) -> impl Iterator<Item = (AdId, u32)> + '_ {
        self.groups.iter().filter_map(|group| match group.key.entity {
            Entity::Ad(ad_id) => Some((ad_id, (group.end - group.next) as u32)),
            _ => None,
        })
    }

    /// The next write of every group that has rows left.
    pub(super) fn next_writes(
        &self,
        shard: &ShardId,
        batch: &[BatchRecord<'_>],
        most_counters: usize,
        mutation: Mutation,
    ) -> (Vec<Piece>, Vec<PartialWrite>) {
        let left = self.groups.iter().filter(|group| group.next < group.end).count();
        let (mut pieces, mut writes) = (Vec::with_capacity(left), Vec::with_capacity(left));
        let mut sum = Sum::default();
        for (place, group) in self.groups.iter().enumerate() {
            let Some(first_row) = self.rows[..group.end].get(group.next) else {
                continue;
            };
            let rows = &self.rows[group.next..group.end];
            let (delta, taken) = sum.add_up(rows, most_counters.max(1));
            let last_row = rows[taken - 1];
            let (first, last) = (at(batch, *first_row), at(batch, last_row));
            let below = if mutation.is(Broken::BlindAdd) {
                last
            } else {
                first
            };
            writes.push(PartialWrite {
                key: group.key,
                shard: shard.clone(),
                condition: group.mark.map_or(Condition::Below(below), Condition::Exactly),
                last,
                delta,
            });
            pieces.push(Piece {
                group: place,
                first: group.next,
                end: group.next + taken,
            });
        }
        (pieces, writes)
    }

    /// The sequence number of a piece's first record.
    pub(super) fn first(&self, piece: Piece, batch: &[BatchRecord<'_>]) -> SequenceNumber {
        at(batch, self.rows[piece.first])
    }

    /// Whose minute a piece belongs to.
    pub(super) fn key(&self, piece: Piece) -> BucketKey {
        self.groups[piece.group].key
    }

    /// A piece in words: what was to be added, for whoever looks into the quarantine.
    pub(super) fn describe(&self, piece: Piece, batch: &[BatchRecord<'_>]) -> String {
        let rows = &self.rows[piece.first..piece.end];
        let (delta, _) = Sum::default().add_up(rows, usize::MAX);
        let BucketKey { entity, minute } = self.key(piece);
        let counts: Vec<_> = delta
            .iter()
            .map(|(key, count)| format!("{key}={count}"))
            .collect();
        let (first, last) = (at(batch, rows[0]), at(batch, rows[rows.len() - 1]));
        format!(
            "{entity} minute {} {first}..={last}: {}",
            minute.0,
            counts.join(" ")
        )
    }

    /// The piece is in the partial.
    pub(super) fn applied(&mut self, piece: Piece) {
        let group = &mut self.groups[piece.group];
        group.next = piece.end;
        group.mark = None;
    }

    /// Refused: what the stored watermark covers is dropped, the rest is written on exactly that watermark.
    pub(super) fn stale(&mut self, piece: Piece, batch: &[BatchRecord<'_>], watermark: SequenceNumber) {
        let group = &mut self.groups[piece.group];
        group.next += self.rows[group.next..group.end].partition_point(|row| at(batch, *row) <= watermark);
        group.mark = Some(watermark);
    }

    /// No more of this group in this batch; answers the first sequence number that is not written.
    pub(super) fn give_up(
        &mut self,
        piece: Piece,
        batch: &[BatchRecord<'_>],
        mutation: Mutation,
    ) -> Option<SequenceNumber> {
        let first = self.first(piece, batch);
        let group = &mut self.groups[piece.group];
        group.next = if mutation.is(Broken::CutGoesOn) {
            piece.end
        } else {
            group.end
        };
        group.mark = None;
        Some(first)
    }
}

fn at(batch: &[BatchRecord<'_>], row: Row) -> SequenceNumber {
    batch[row.place as usize].sequence_number
}

/// Adds counters up without sorting at each of them: a busy group has thousands of rows and hundreds of counters.
#[derive(Default)]
struct Sum {
    /// Count by [`slot`]; all zero between two uses.
    counts: Vec<u32>,
    /// The keys that have one.
    used: Vec<CounterKey>,
}

/// A counter's own place: its packed form without the bits that no counter uses.
fn slot(counter: CounterKey) -> usize {
    let packed = usize::from(counter.to_u16());
    (packed & 0x07ff) | (packed >> 15) << 11
}

const SLOTS: usize = 1 << 12;
// Device classes take three bits.
const _: () = assert!(Device::ALL.len() <= 8);

/// Rows up to which a sorted list is added to directly.
const FEW: usize = 8;

impl Sum {
    /// Counters of the first rows that have no more than `most` of them, and how many rows those are (at least one).
    fn add_up(&mut self, rows: &[Row], most: usize) -> (Counters, usize) {
        if rows.len() <= FEW {
            return few(rows, most);
        }
        self.counts.resize(SLOTS, 0);
        self.used.clear();
        let mut taken = rows.len();
        for (i, row) in rows.iter().enumerate() {
            let Some(counter) = row.counter else { continue };
            let count = &mut self.counts[slot(counter)];
            if *count == 0 {
                if self.used.len() == most {
                    taken = i;
                    break;
                }
                self.used.push(counter);
            }
            *count += 1;
        }
        self.used.sort_unstable();
        let counts = &mut self.counts;
        let delta = self.used.iter().map(|counter| {
            let count = std::mem::take(&mut counts[slot(*counter)]);
            (*counter, u64::from(count))
        });
        (delta.collect(), taken)
    }
}

fn few(rows: &[Row], most: usize) -> (Counters, usize) {
    let mut delta = Counters::default();
    for (i, row) in rows.iter().enumerate() {
        let Some(counter) = row.counter else { continue };
        if delta.len() >= most && !delta.contains(counter) {
            return (delta, i);
        }
        delta.add(counter, 1);
    }
    (delta, rows.len())
}
