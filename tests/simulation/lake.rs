//! The way to the lake: a Firehose as it behaves (one object per shard and flush, overtaking each other, twice, delayed, named
//! by the arrival of the oldest record), or the pump.
//!
//! Invariant: an object ends right behind an acknowledged heartbeat, or it is of [`OBJECT_MS`] at least, or the tail of a closed
//! shard; and it is never of more than an hour.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::domain::time::Hour;
use clickledger_core::ports::{Clock, PortResult, RawLake, ShardReader, StreamRecord};
use clickledger_core::service::pump::{LakeDelivery, Pump};
use clickledger_testkit::memory::MemoryLakeReader;
use futures_util::FutureExt;

use crate::run::{pause, pump_shard};
use crate::schedule::{OBJECT_MS, UNIT_MS};
use crate::world::World;

/// The pump's end: each batch is an object.
pub(crate) struct Sink(pub(crate) MemoryLakeReader);

#[async_trait]
impl RawLake for Sink {
    async fn append(&self, _shard: &ShardId, records: &[StreamRecord]) -> PortResult<()> {
        deliver(&self.0, records);
        Ok(())
    }
}

fn named(records: &[StreamRecord]) -> Option<Hour> {
    let arrivals = records.iter().map(|record| record.arrived_at_ms);
    arrivals.min().map(Hour::of)
}

fn deliver(lake: &MemoryLakeReader, records: &[StreamRecord]) {
    if let Some(arrival) = named(records) {
        lake.deliver(arrival, records.iter().map(|record| &record.data));
    }
}

/// Sets the shard's delivery going.
pub(crate) fn start(world: &Arc<World>, shard: ShardId) {
    let its = Arc::clone(world);
    if world.schedule.sealing.firehose {
        world.time.spawn(async move { firehose(&its, &shard).await });
        return;
    }
    world.time.spawn(async move {
        let lake = Arc::new(LakeDelivery::new(its.sealing.sink()));
        let pump = Pump::new(Arc::new(its.stream.clone()), lake, 100);
        loop {
            let slow = its.rng.chance(its.schedule.sealing.slow);
            pause(&its, if slow { 14 * UNIT_MS } else { 3 * UNIT_MS }).await;
            let (from, to) = its.schedule.sealing.lake_down;
            if !(from..to).contains(&its.elapsed_ms()) {
                pump_shard(&its, &pump, &shard).await;
            }
        }
    });
}

async fn firehose(world: &Arc<World>, shard: &ShardId) {
    let mut sent: Option<SequenceNumber> = None;
    pause(world, OBJECT_MS).await;
    loop {
        let closed = is_closed(world, shard);
        let mut part = world.stream.all_records(shard);
        part.retain(|record| Some(record.sequence_number) > sent);
        let acknowledged: BTreeSet<SequenceNumber> = world
            .sealing
            .beats
            .all(shard)
            .iter()
            .map(|beat| beat.sequence_number)
            .collect();
        let last = part
            .iter()
            .rposition(|record| acknowledged.contains(&record.sequence_number));
        if closed && part.is_empty() {
            return;
        }
        if !part.is_empty() {
            let begun_ms = part.first().map_or(0, |record| record.arrived_at_ms);
            let may_wait = world.time.now_ms() - begun_ms < 6 * UNIT_MS;
            if let Some(last) = last.filter(|_| may_wait && world.rng.chance(0.5)) {
                part.truncate(last + 1);
            }
            sent = part.last().map(|record| record.sequence_number);
            send(world, part, last.is_some());
        }
        let gathered_ms = world.rng.between(OBJECT_MS, 5 * UNIT_MS);
        world.time.sleep(gathered_ms.unsigned_abs()).await;
    }
}

fn is_closed(world: &World, shard: &ShardId) -> bool {
    let listed = world.stream.shards().now_or_never().and_then(Result::ok);
    let listed = listed.unwrap_or_default();
    listed.iter().any(|other| other.id == *shard && other.closed)
}

/// An object on its way.
fn send(world: &Arc<World>, part: Vec<StreamRecord>, beaten: bool) {
    let (rng, plan) = (&world.rng, &world.schedule.sealing);
    let now_ms = world.time.now_ms();
    let slow = if beaten { plan.slow } else { 0.5 };
    let mut at_ms = now_ms
        + if rng.chance(slow) {
            rng.between(UNIT_MS, 14 * UNIT_MS)
        } else {
            rng.between(0, UNIT_MS / 2)
        };
    let (from, to) = (
        world.start_ms + plan.lake_down.0,
        world.start_ms + plan.lake_down.1,
    );
    if (from..to).contains(&at_ms) {
        at_ms = to + rng.between(0, UNIT_MS / 2);
    }
    if rng.chance(0.15) {
        let (its, part) = (Arc::clone(world), part.clone());
        world
            .time
            .spawn_at(at_ms + rng.between(0, 6 * UNIT_MS), async move {
                deliver(&its.sealing.lake, &part);
            });
    }
    let refused_ms = rng.chance(0.02).then(|| rng.between(0, 6 * UNIT_MS));
    let its = Arc::clone(world);
    world.time.spawn_at(at_ms, async move {
        if let (Some(ms), Some(arrival)) = (refused_ms, named(&part)) {
            // It lies in the error prefix until somebody puts it right.
            its.sealing.lake.set_undelivered(arrival, 1);
            its.time.sleep(ms.unsigned_abs()).await;
            its.sealing.lake.set_undelivered(arrival, 0);
        }
        deliver(&its.sealing.lake, &part);
    });
}
