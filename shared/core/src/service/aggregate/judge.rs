//! What becomes of each record of a sub-batch, before anything is written.
//!
//! Invariant: a record that cannot be judged now (its port does not answer) ends the sub-batch before it; nothing behind it
//! is looked at.

use super::fold::Counted;
use super::known::Known;
use super::{Aggregate, BatchRecord};
use crate::domain::bucket::ShardId;
use crate::domain::heartbeat::Heartbeat;
use crate::domain::ids::ClickId;
use crate::domain::mutation::Broken;
use crate::domain::record::{CountedClick, RecordError};
use crate::domain::sequence::SequenceNumber;
use crate::domain::time::Hour;
use crate::domain::verdict::Verdict;
use crate::ports::{Claim, Claimed, PortResult, Quarantined};

/// The records of a sub-batch, judged.
#[derive(Default)]
pub(super) struct Judged {
    /// Those that are counted live, and their repeats; in order.
    pub(super) counted: Vec<Counted>,
    /// The ids of the late ones, with their places.
    pub(super) late: Vec<(u32, ClickId)>,
    /// The hours that the late ones have marked.
    dirty: Vec<Hour>,
    /// What was added to the ids that repeats are judged by, with the places.
    pub(super) added: Vec<(u32, ClickId)>,
    /// The first that could not be judged.
    pub(super) failed: Option<SequenceNumber>,
}

impl Aggregate {
    /// The id by which repeats of this click are known.
    pub(super) fn repeat_id(&self, click: &CountedClick) -> ClickId {
        match click.impression_id {
            Some(impression_id) if self.mutation.is(Broken::LogByImpression) => ClickId(impression_id.0),
            _ => click.click_id,
        }
    }

    /// Judges a sub-batch in order. New ids are in `known` at once; whoever cannot finish them takes them back.
    pub(super) async fn judge(
        &self,
        shard: &ShardId,
        batch: &[BatchRecord<'_>],
        known: &mut Known,
    ) -> Judged {
        let mut judged = Judged {
            counted: Vec::with_capacity(batch.len()),
            added: Vec::with_capacity(batch.len()),
            ..Judged::default()
        };
        for (place, record) in (0_u32..).zip(batch) {
            let outcome = match CountedClick::parse(record.data) {
                Ok(click) => {
                    // Late is judged for each copy.
                    let late = record.arrived_at_ms - click.clicked_at_ms > self.config.late_after_ms;
                    if late && !self.mutation.is(Broken::LateCounted) {
                        if self.mutation.is(Broken::LateEntersLog) {
                            known.seen.insert(self.repeat_id(&click), record.arrived_at_ms);
                        }
                        judged.late.push((place, click.click_id));
                        self.late(&click, &mut judged.dirty).await
                    } else {
                        let id = self.repeat_id(&click);
                        let new = known.seen.insert(id, record.arrived_at_ms);
                        if new {
                            judged.added.push((place, id));
                        }
                        let verdict = match new {
                            false => Ok(None),
                            true if click.verdict.is_valid() && !click.claimed => {
                                self.claim(&click).await.map(Some)
                            }
                            true => Ok(Some(click.verdict)),
                        };
                        verdict.map(|verdict| {
                            judged.counted.push(Counted {
                                click,
                                place,
                                verdict,
                            });
                        })
                    }
                }
                // It says that the shard lives, and nothing else.
                Err(_) if Heartbeat::parse(record.data).is_some() => Ok(()),
                Err(error) => self.quarantine(shard, record, &error).await,
            };
            if let Err(error) = outcome {
                tracing::warn!(%shard, sequence_number = %record.sequence_number, %error, "a record could not be worked");
                judged.failed = Some(record.sequence_number);
                break;
            }
        }
        judged
    }

    /// A late click is sealing's to count. An hour is marked once a sub-batch: after an outage all of it may be late.
    async fn late(&self, click: &CountedClick, dirty: &mut Vec<Hour>) -> PortResult<()> {
        if self.mutation.is(Broken::LateKeepsHourClean) {
            return Ok(());
        }
        let hour = Hour::of(click.clicked_at_ms);
        if !dirty.contains(&hour) {
            self.ports.seals.mark_dirty(&[hour]).await?;
            dirty.push(hour);
        }
        Ok(())
    }

    /// Claims for a click that came unclaimed.
    async fn claim(&self, click: &CountedClick) -> PortResult<Verdict> {
        let Some(impression_id) = click.impression_id else {
            return Ok(click.verdict);
        };
        if self.mutation.is(Broken::UnclaimedCountedLive) {
            return Ok(Verdict::Valid);
        }
        let now_ms = self.ports.clock.now_ms();
        let life = self.config.life;
        let claim = Claim {
            impression_id,
            click_id: click.click_id,
            expires_ms: life.expires_ms(impression_id, click.clicked_at_ms, now_ms, self.mutation),
        };
        Ok(match self.ports.claims.claim(claim, now_ms).await? {
            Claimed::First => Verdict::Valid,
            Claimed::DuplicateOf(_) => Verdict::Duplicate,
        })
    }

    async fn quarantine(
        &self,
        shard: &ShardId,
        record: &BatchRecord<'_>,
        error: &RecordError,
    ) -> PortResult<()> {
        if self.mutation.is(Broken::QuarantineForgets) {
            return Ok(());
        }
        let item = Quarantined {
            shard: shard.clone(),
            sequence_number: record.sequence_number,
            arrived_at_ms: record.arrived_at_ms,
            reason: error.to_string(),
            bytes: record.data.to_vec(),
        };
        self.ports.quarantine.keep(item).await
    }
}
