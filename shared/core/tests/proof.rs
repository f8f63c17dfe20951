//! The proof that the lake is complete where heartbeats were missing: what came meanwhile is looked for click by click.

#![allow(clippy::unwrap_used)] // a test suite: a panic is its way to say no

use std::sync::Arc;

use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::heartbeat::{Beat, Heartbeat};
use clickledger_core::domain::ids::HeartbeatId;
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::domain::time::{HOUR_MS, Hour, MINUTE_MS};
use clickledger_core::ports::{
    BeatenShard, ClickStream, Clock, HeartbeatLog, Heartbeats, Outgoing, ShardReader, StreamRecord,
};
use clickledger_core::service::reconcile::{HeartbeatProof, HeartbeatProofPorts, LakeProof};
use clickledger_testkit::fixtures::ClickMaker;
use clickledger_testkit::memory::{
    MemoryHeartbeatLog, MemoryLakeReader, MemoryLanes, MemoryStream, StreamOptions,
};
use clickledger_testkit::virtual_time::VirtualTime;

/// 2026-01-02T00:00:00Z.
const HOUR: Hour = Hour(1_767_312_000_000 / HOUR_MS);
const OBJECT_MS: i64 = 5 * MINUTE_MS;

struct World {
    time: VirtualTime,
    stream: MemoryStream,
    log: MemoryHeartbeatLog,
    lake: MemoryLakeReader,
    shard: ShardId,
    clicks: ClickMaker,
}

impl World {
    fn new() -> Self {
        let time = VirtualTime::new(HOUR.start_ms() - 10 * MINUTE_MS);
        let stream = MemoryStream::new(Arc::new(time.clone()), StreamOptions::plain(1));
        let shard = time.block_on(stream.shards()).unwrap()[0].id.clone();
        let log = MemoryHeartbeatLog::default();
        let known = BeatenShard {
            shard: shard.clone(),
            parents: Vec::new(),
        };
        time.block_on(log.know(&known)).unwrap();
        let clicks = ClickMaker::new(1, 3, HOUR.start_ms(), 1.0);
        Self {
            time,
            stream,
            log,
            lake: MemoryLakeReader::default(),
            shard,
            clicks,
        }
    }

    /// Goes on to this minute of the hour.
    fn at(&self, minute: i64) -> &Self {
        self.time.run_until(HOUR.start_ms() + minute * MINUTE_MS);
        self
    }

    /// A heartbeat; unless it is acknowledged nobody knows of it.
    fn beat(&self, acknowledged: bool) {
        let sent_at_ms = self.time.now_ms();
        let id = HeartbeatId::new(sent_at_ms, [0; 10]);
        let line = Heartbeat::new(id, &self.shard, sent_at_ms).to_line().unwrap();
        let sequence_number = self.time.block_on(self.stream.beat(&self.shard, line)).unwrap();
        let beat = Beat {
            id,
            shard: self.shard.clone(),
            sequence_number,
            sent_at_ms,
            acknowledged_at_ms: sent_at_ms,
        };
        if acknowledged {
            self.time.block_on(self.log.acknowledged(&beat)).unwrap();
        }
    }

    fn click(&mut self) {
        let record = self.clicks.record();
        let put = Outgoing {
            partition_key: record.partition_key.clone(),
            data: record.to_line().unwrap(),
        };
        self.time.block_on(self.stream.publish(vec![put]));
    }

    fn records(&self) -> Vec<StreamRecord> {
        self.stream.all_records(&self.shard)
    }

    fn deliver(&self, records: &[StreamRecord]) {
        let arrival = Hour::of(records[0].arrived_at_ms);
        self.lake
            .deliver(arrival, records.iter().map(|record| &record.data));
    }

    /// What the hour and five minutes wait for.
    fn missing(&self) -> Option<String> {
        let ports = HeartbeatProofPorts {
            shards: Arc::new(self.stream.clone()),
            log: Arc::new(self.log.clone()),
            lanes: Arc::new(MemoryLanes::default()),
            lake: Arc::new(self.lake.clone()),
            clock: Arc::new(self.time.clone()),
        };
        let proof = HeartbeatProof::new(ports, OBJECT_MS, 4, Mutation::default());
        let (from_ms, to_ms) = (HOUR.start_ms(), HOUR.end_ms() + 5 * MINUTE_MS);
        self.time.block_on(proof.missing(from_ms, to_ms)).unwrap()
    }
}

#[test]
fn an_object_without_an_acknowledged_heartbeat_is_missed_all_the_same() {
    let mut world = World::new();
    world.at(-1).beat(true);
    for minute in 1..=66 {
        // For twelve minutes none is acknowledged, and an object begins and ends within that time.
        world.at(minute).beat(!(20..32).contains(&minute));
        world.click();
    }
    let records = world.records();
    let at = |minute: i64| {
        let ms = HOUR.start_ms() + minute * MINUTE_MS;
        records.partition_point(|record| record.arrived_at_ms < ms)
    };
    let (begins, ends) = (at(24), at(29));
    world.deliver(&records[..begins]);
    world.deliver(&records[ends..]);
    let said = world.missing().unwrap();
    assert!(said.contains("while no heartbeat was acknowledged"), "{said}");
    world.deliver(&records[begins..ends]);
    assert_eq!(world.missing(), None);
}

#[test]
fn what_came_before_a_shards_first_heartbeat_is_not_taken_for_delivered() {
    let mut world = World::new();
    world.at(3);
    world.click();
    world.at(10);
    world.click();
    for minute in 12..=66 {
        world.at(minute).beat(true);
    }
    let records = world.records();
    world.deliver(&records[1..]);
    let said = world.missing().unwrap();
    assert!(said.contains("while no heartbeat was acknowledged"), "{said}");
    world.deliver(&records[..1]);
    assert_eq!(world.missing(), None);
}

#[test]
fn clicks_are_looked_for_one_by_one_only_where_heartbeats_are_far_apart() {
    let mut world = World::new();
    world.at(-1).beat(true);
    for minute in 1..=66 {
        // One in four is missing: an object of five minutes holds some.
        world.at(minute).beat(minute % 4 != 0);
        world.click();
    }
    // By heartbeats alone: that no click came through is not looked at.
    let beats: Vec<StreamRecord> = world.records();
    let beats = beats
        .iter()
        .filter(|record| Heartbeat::parse(&record.data).is_some());
    for beat in beats {
        world.deliver(std::slice::from_ref(beat));
    }
    assert_eq!(world.missing(), None);
}
