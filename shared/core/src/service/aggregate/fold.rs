//! The fold: a sub-batch's records by bucket, and the conditional writes that bring them into partials.
//!
//! Invariant: a group's records stay in the order of the shard, and a piece is cut by sequence number, never by counter.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::BatchRecord;
use crate::domain::bucket::{Condition, PartialWrite, ShardId};
use crate::domain::counter::{CounterKey, Counters};
use crate::domain::entity::{BucketKey, Entity};
use crate::domain::record::CountedClick;
use crate::domain::sequence::SequenceNumber;
use crate::domain::time::Minute;
use crate::domain::verdict::Verdict;

/// What became of a record.
pub(super) enum Absorbed {
    /// On time. Without a verdict it is a repeat: it adds nothing, but moves its groups' watermarks.
    Counted {
        click: CountedClick,
        verdict: Option<Verdict>,
    },
    /// Left to sealing.
    Late(CountedClick),
    /// Not a record.
    Quarantined,
}

struct Group {
    key: BucketKey,
    /// Place in the batch, and what to add.
    rows: Vec<(usize, Option<CounterKey>)>,
    /// Rows before this one are done.
    at: usize,
    /// The stored watermark that a refusal answered with.
    mark: Option<SequenceNumber>,
}

/// A group's next rows, as they were written.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    group: usize,
    first_row: usize,
    end: usize,
}

impl Piece {
    /// The sequence number of its first record.
    pub(super) fn first(&self, batch: &[BatchRecord<'_>]) -> SequenceNumber {
        batch
            .get(self.first_row)
            .map_or(SequenceNumber::ZERO, |record| record.sequence_number)
    }
}

/// The groups of a sub-batch.
pub(super) struct Groups(Vec<Group>);

impl Groups {
    /// Folds what was absorbed: five entities a click, where it has a placement.
    pub(super) fn fold(batch: &[BatchRecord<'_>], absorbed: &[Absorbed]) -> Self {
        debug_assert!(absorbed.len() <= batch.len());
        let mut places: HashMap<BucketKey, usize, FixedState> = HashMap::default();
        let mut groups: Vec<Group> = Vec::new();
        for (row, judged) in absorbed.iter().enumerate() {
            let Absorbed::Counted { click, verdict } = judged else {
                continue;
            };
            let counter = verdict.map(|verdict| CounterKey::of(verdict, click.device, click.country));
            let minute = Minute::of(click.clicked_at_ms);
            let entities = [
                Some(Entity::Ad(click.ad_id)),
                Some(Entity::Campaign(click.campaign_id)),
                Some(Entity::Advertiser(click.advertiser_id)),
                click.placement_id.map(Entity::Placement),
                Some(Entity::Total),
            ];
            for entity in entities.into_iter().flatten() {
                let key = BucketKey { entity, minute };
                let place = *places.entry(key).or_insert_with(|| {
                    groups.push(Group {
                        key,
                        rows: Vec::new(),
                        at: 0,
                        mark: None,
                    });
                    groups.len() - 1
                });
                groups[place].rows.push((row, counter));
            }
        }
        Self(groups)
    }

    /// The next write of every group that has rows left.
    pub(super) fn next_writes(
        &self,
        shard: &ShardId,
        batch: &[BatchRecord<'_>],
        most_counters: usize,
    ) -> (Vec<Piece>, Vec<PartialWrite>) {
        let (mut pieces, mut writes) = (Vec::new(), Vec::new());
        for (place, group) in self.0.iter().enumerate() {
            let Some((first_row, _)) = group.rows.get(group.at) else {
                continue;
            };
            let (mut delta, mut end, mut last) = (Counters::default(), group.at, *first_row);
            for (row, counter) in &group.rows[group.at..] {
                if let Some(counter) = counter {
                    if delta.len() >= most_counters.max(1) && !delta.contains(*counter) {
                        break;
                    }
                    delta.add(*counter, 1);
                }
                (end, last) = (end + 1, *row);
            }
            let first = batch[*first_row].sequence_number;
            writes.push(PartialWrite {
                key: group.key,
                shard: shard.clone(),
                condition: group.mark.map_or(Condition::Below(first), Condition::Exactly),
                last: batch[last].sequence_number,
                delta,
            });
            pieces.push(Piece {
                group: place,
                first_row: *first_row,
                end,
            });
        }
        (pieces, writes)
    }

    /// The piece is in the partial.
    pub(super) fn applied(&mut self, piece: Piece) {
        let group = &mut self.0[piece.group];
        group.at = piece.end;
        group.mark = None;
    }

    /// Refused: what the stored watermark covers is dropped, the rest is written on exactly that watermark.
    pub(super) fn stale(&mut self, piece: Piece, batch: &[BatchRecord<'_>], watermark: SequenceNumber) {
        let group = &mut self.0[piece.group];
        group.at +=
            group.rows[group.at..].partition_point(|(row, _)| batch[*row].sequence_number <= watermark);
        group.mark = Some(watermark);
    }

    /// No more of this group in this batch; answers the first sequence number that is not written.
    pub(super) fn give_up(&mut self, piece: Piece, batch: &[BatchRecord<'_>]) -> Option<SequenceNumber> {
        let group = &mut self.0[piece.group];
        group.at = group.rows.len();
        Some(piece.first(batch))
    }
}
