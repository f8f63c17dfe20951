use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clickledger_core::domain::ad::{Ad, AdStatus, RedirectUrl};
use clickledger_core::domain::bucket::{Committed, Condition, PartialWrite, ShardId};
use clickledger_core::domain::counter::{CounterKey, Counters};
use clickledger_core::domain::country::Country;
use clickledger_core::domain::device::Device;
use clickledger_core::domain::entity::{BucketKey, Entity};
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, ClickId, ImpressionId};
use clickledger_core::domain::lane::LaneItem;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::domain::time::{Hour, Minute};
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::ports::{
    AdCatalog, BucketStore, Claim, ClaimStore, ClickStream, Clock, LaneLog, Outgoing, PortError, PortResult,
    Position, Quarantine, Quarantined, RawLake, SealStore, ShardReader, Spill, StreamRecord,
};

use super::*;
use crate::memory::{
    MemoryBuckets, MemoryCatalog, MemoryClaims, MemoryLake, MemoryLanes, MemoryQuarantine, MemorySeals,
    MemorySpill, MemoryStream, StreamOptions,
};
use crate::sim_rng::SimRng;
use crate::virtual_time::{CrashChance, VirtualTime, crashing};

const NOW_MS: i64 = 1_767_312_000_000;

/// Every port in memory, and wrapped with one and the same faults.
struct World {
    time: VirtualTime,
    faults: Faults,
    claims: MemoryClaims,
    stream: MemoryStream,
    buckets: MemoryBuckets,
    lanes: MemoryLanes,
    spill: MemorySpill,
    catalog: MemoryCatalog,
    quarantine: MemoryQuarantine,
    seals: MemorySeals,
    lake: MemoryLake,
}

fn world(seed: u64, plan: FaultPlan) -> World {
    let time = VirtualTime::new(NOW_MS);
    let faults = Faults::new(time.clone(), SimRng::new(seed));
    faults.set(plan);
    World {
        stream: MemoryStream::new(Arc::new(time.clone()), StreamOptions::plain(1)),
        time,
        faults,
        claims: MemoryClaims::default(),
        buckets: MemoryBuckets::default(),
        lanes: MemoryLanes::default(),
        spill: MemorySpill::default(),
        catalog: MemoryCatalog::default(),
        quarantine: MemoryQuarantine::default(),
        seals: MemorySeals::default(),
        lake: MemoryLake::default(),
    }
}

fn shard() -> ShardId {
    "shardId-000000000000".into()
}

fn outgoing(n: usize) -> Outgoing {
    Outgoing {
        partition_key: "7#0".to_owned(),
        data: n.to_string().into_bytes(),
    }
}

fn claim() -> Claim {
    Claim {
        impression_id: ImpressionId::new(NOW_MS, [1; 10]),
        click_id: ClickId::new(NOW_MS, [2; 10]),
        expires_ms: NOW_MS + 1_000,
    }
}

fn ad() -> Ad {
    Ad {
        ad_id: AdId(7),
        campaign_id: CampaignId(1),
        advertiser_id: AdvertiserId(1),
        redirect_url: RedirectUrl::parse("https://shop.example/").unwrap(),
        title: None,
        image_url: None,
        status: AdStatus::Active,
        fan_out: 1,
        version: 1,
        created_ms: NOW_MS,
    }
}

fn partial(ad: u64) -> PartialWrite {
    PartialWrite {
        key: BucketKey {
            entity: Entity::Ad(AdId(ad)),
            minute: Minute::of(NOW_MS),
        },
        shard: shard(),
        condition: Condition::Below(SequenceNumber::from(1)),
        last: SequenceNumber::from(9),
        delta: [(CounterKey::of(Verdict::Valid, Device::Mobile, Country::ZZ), 1)]
            .into_iter()
            .collect::<Counters>(),
    }
}

fn quarantined() -> Quarantined {
    Quarantined {
        shard: shard(),
        sequence_number: SequenceNumber::from(3),
        arrived_at_ms: NOW_MS,
        reason: "not JSON".to_owned(),
        bytes: b"{".to_vec(),
    }
}

fn item() -> LaneItem {
    LaneItem {
        last: SequenceNumber::from(9),
        first_arrival_ms: NOW_MS,
        last_arrival_ms: NOW_MS,
        ids: vec![ClickId::new(NOW_MS, [2; 10])],
        late_ids: Vec::new(),
    }
}

fn arrived() -> StreamRecord {
    StreamRecord {
        sequence_number: SequenceNumber::from(3),
        arrived_at_ms: NOW_MS,
        data: b"{}\n".to_vec(),
    }
}

fn untyped<T>(outcome: PortResult<T>) -> PortResult<()> {
    outcome.map(|_| ())
}

impl World {
    fn claims(&self) -> FaultyClaims {
        FaultyClaims::new(Arc::new(self.claims.clone()), self.faults.clone())
    }

    fn publisher(&self) -> FaultyStream {
        FaultyStream::new(Arc::new(self.stream.clone()), self.faults.clone())
    }

    fn reader(&self) -> FaultyReader {
        FaultyReader::new(Arc::new(self.stream.clone()), self.faults.clone())
    }

    fn buckets(&self) -> FaultyBuckets {
        FaultyBuckets::new(Arc::new(self.buckets.clone()), self.faults.clone())
    }

    fn spill(&self) -> FaultySpill {
        FaultySpill::new(Arc::new(self.spill.clone()), self.faults.clone())
    }

    /// Changes something through every port; the outcomes.
    async fn change_everything(&self) -> Vec<PortResult<()>> {
        let faults = || self.faults.clone();
        let lanes = FaultyLanes::new(Arc::new(self.lanes.clone()), faults());
        let catalog = FaultyCatalog::new(Arc::new(self.catalog.clone()), faults());
        let quarantine = FaultyQuarantine::new(Arc::new(self.quarantine.clone()), faults());
        let seals = FaultySeals::new(Arc::new(self.seals.clone()), faults());
        let lake = FaultyLake::new(Arc::new(self.lake.clone()), faults());
        let position = Position {
            done: Some(SequenceNumber::from(3)),
            ended: false,
        };
        let mut outcomes = vec![
            untyped(self.claims().claim(claim(), NOW_MS).await),
            self.reader().advance("c", &shard(), position).await,
            lanes.append(&shard(), item()).await,
            self.spill().keep(outgoing(1)).await,
            untyped(catalog.create_ad(&ad()).await),
            quarantine.keep(quarantined()).await,
            seals.mark_dirty(&[Hour::of(NOW_MS)]).await,
            lake.append(&shard(), &[arrived()]).await,
        ];
        outcomes.extend(self.publisher().publish(vec![outgoing(1)]).await);
        outcomes.extend(
            self.buckets()
                .commit(vec![partial(7)])
                .await
                .into_iter()
                .map(untyped),
        );
        outcomes
    }

    /// How often each of those changes took effect, in the same order.
    fn effects(&self) -> [usize; 10] {
        let position = self.time.block_on(self.stream.position("c", &shard())).unwrap();
        let ad = self.time.block_on(self.catalog.ad(AdId(7))).unwrap();
        let valid = self.buckets.all().iter().map(|p| p.counters.valid()).sum::<u64>();
        [
            self.claims.all().len(),
            usize::from(position != Position::default()),
            self.lanes.items(&shard()).len(),
            self.spill.len(),
            usize::from(ad.is_some()),
            self.quarantine.items().len(),
            self.seals.all_dirty().len(),
            self.lake.records().len(),
            self.stream.len(),
            valid as usize,
        ]
    }

    /// Asks something of every port that is read.
    async fn read_everything(&self) -> Vec<PortResult<()>> {
        let faults = || self.faults.clone();
        let lanes = FaultyLanes::new(Arc::new(self.lanes.clone()), faults());
        let catalog = FaultyCatalog::new(Arc::new(self.catalog.clone()), faults());
        let seals = FaultySeals::new(Arc::new(self.seals.clone()), faults());
        let (minute, hour) = (Minute::of(NOW_MS), Hour::of(NOW_MS));
        vec![
            untyped(self.reader().shards().await),
            untyped(self.reader().read(&shard(), None, 9).await),
            untyped(self.reader().position("c", &shard()).await),
            untyped(lanes.read(&shard(), None, 0).await),
            untyped(catalog.ad(AdId(7)).await),
            untyped(seals.dirty(hour, Hour(hour.0 + 1)).await),
            untyped(
                self.buckets()
                    .read(Entity::Total, minute, Minute(minute.0 + 1))
                    .await,
            ),
        ]
    }
}

fn all_unavailable(outcomes: &[PortResult<()>]) -> bool {
    outcomes
        .iter()
        .all(|outcome| matches!(outcome, Err(PortError::Unavailable(_))))
}

fn all_ambiguous(outcomes: &[PortResult<()>]) -> bool {
    outcomes
        .iter()
        .all(|outcome| matches!(outcome, Err(PortError::Ambiguous(_))))
}

#[test]
fn refused_call_has_no_effect() {
    let plan = FaultPlan {
        refuse: 1.0,
        late_ms: 50,
        ..FaultPlan::default()
    };
    let world = world(1, plan);
    let outcomes = world.time.block_on(world.change_everything());
    assert!(all_unavailable(&outcomes), "{outcomes:?}");
    assert!(all_unavailable(&world.time.block_on(world.read_everything())));
    world.time.run();
    assert_eq!(world.effects(), [0; 10]);
    assert_eq!(
        world.faults.shown(),
        Shown {
            refused: 17,
            ..Shown::default()
        }
    );
}

#[test]
fn call_whose_answer_is_lost_had_its_effect_once() {
    let world = world(
        1,
        FaultPlan {
            lose_answer: 1.0,
            ..FaultPlan::default()
        },
    );
    let outcomes = world.time.block_on(world.change_everything());
    assert!(all_ambiguous(&outcomes), "{outcomes:?}");
    assert_eq!(world.effects(), [1; 10]);
    assert!(all_ambiguous(&world.time.block_on(world.read_everything())));
    assert_eq!(world.faults.shown().answers_lost, 17);
}

#[test]
fn late_effect_comes_once_after_its_caller_gave_up() {
    let plan = FaultPlan {
        late: 1.0,
        late_ms: 5_000,
        timeout_ms: (1, 1),
        ..FaultPlan::default()
    };
    let world = world(1, plan);
    let outcomes = world.time.block_on(world.change_everything());
    assert!(all_ambiguous(&outcomes), "{outcomes:?}");
    let at_once: usize = world.effects().iter().sum();
    assert!(at_once < 5, "{at_once} of 10 took effect at once");
    world.time.run();
    assert_eq!(world.effects(), [1; 10]);
    assert!(world.time.now_ms() <= NOW_MS + 5_000 + 10);
    assert_eq!(world.faults.shown().late, 10);
}

#[test]
fn late_effect_comes_also_when_its_caller_has_crashed() {
    let plan = FaultPlan {
        late: 1.0,
        late_ms: 1_000,
        before_ms: (10, 10),
        timeout_ms: (2_000, 2_000),
        ..FaultPlan::default()
    };
    let world = world(2, plan);
    let claims = world.claims();
    let caller = world
        .time
        .spawn(async move { drop(claims.claim(claim(), NOW_MS).await) });
    world.time.run_until(NOW_MS + 10);
    caller.cancel();
    world.time.run();
    assert_eq!(world.claims.owner(claim().impression_id), Some(claim().click_id));
}

#[test]
fn lost_effect_never_comes() {
    let world = world(
        1,
        FaultPlan {
            lost: 1.0,
            late_ms: 50,
            ..FaultPlan::default()
        },
    );
    let outcomes = world.time.block_on(world.change_everything());
    assert!(all_ambiguous(&outcomes), "{outcomes:?}");
    world.time.run();
    assert_eq!(world.effects(), [0; 10]);
    assert_eq!(world.faults.shown().lost, 10);
}

#[test]
fn time_passes_on_both_sides_of_the_effect() {
    let plan = || FaultPlan {
        before_ms: (30, 30),
        after_ms: (20, 20),
        ..FaultPlan::default()
    };
    for (crash_at, effects) in [(29, 0), (31, 1), (49, 1)] {
        let world = world(1, plan());
        let spill = world.spill();
        let caller = world
            .time
            .spawn(async move { spill.keep(outgoing(1)).await.unwrap() });
        world.time.run_until(NOW_MS + crash_at);
        assert!(!caller.is_finished());
        caller.cancel();
        world.time.run();
        assert_eq!(world.spill.len(), effects, "crash after {crash_at} ms");
    }
    let world = world(1, plan());
    world.time.block_on(world.spill().keep(outgoing(1))).unwrap();
    assert_eq!(world.time.now_ms(), NOW_MS + 50);
}

#[test]
fn crash_can_fall_on_either_side_of_every_effect_even_when_all_is_calm() {
    for (crash_at, effects) in [(0, 0), (1, 1)] {
        let world = world(1, FaultPlan::default());
        let asked = Arc::new(AtomicUsize::new(0));
        let chance: CrashChance = Arc::new(move || asked.fetch_add(1, Ordering::Relaxed) == crash_at);
        let publisher = world.publisher();
        let outcome = world
            .time
            .block_on(crashing(publisher.publish(vec![outgoing(1)]), chance));
        assert!(outcome.is_err());
        assert_eq!(world.stream.len(), effects);
    }
}

#[test]
fn outage_lasts_from_its_begin_to_its_end() {
    let plan = FaultPlan {
        outages: vec![(NOW_MS + 10, NOW_MS + 20), (NOW_MS + 30, NOW_MS + 40)],
        ..FaultPlan::default()
    };
    let world = world(5, plan);
    let claims = world.claims();
    let (mut refused, mut unanswered) = (0, 0);
    for ms in 0..50 {
        world.time.run_until(NOW_MS + ms);
        let out = (10..20).contains(&ms) || (30..40).contains(&ms);
        match world.time.block_on(claims.claim(claim(), NOW_MS)) {
            Ok(_) => assert!(!out, "at {ms} ms"),
            Err(PortError::Unavailable(_)) => refused += 1,
            Err(PortError::Ambiguous(_)) => unanswered += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(refused + unanswered, 20);
    assert!(refused > 0 && unanswered > 0, "{refused} and {unanswered}");
}

/// Every kind of fault now and then.
fn mixed() -> FaultPlan {
    FaultPlan {
        refuse: 0.2,
        lose_answer: 0.2,
        late: 0.1,
        lost: 0.1,
        late_ms: 500,
        twice: 0.2,
        short_read: 0.3,
        before_ms: (0, 20),
        after_ms: (0, 20),
        timeout_ms: (30, 60),
        outages: Vec::new(),
    }
}

#[test]
fn each_write_of_a_commit_has_its_own_fate_and_its_own_outcome() {
    let world = world(3, mixed());
    let writes: Vec<PartialWrite> = (1..=200).map(partial).collect();
    let outcomes = world.time.block_on(world.buckets().commit(writes.clone()));
    assert_eq!(outcomes.len(), writes.len());
    world.time.run();
    let stored = world.buckets.sums();
    let (mut applied, mut refused, mut there, mut never) = (0, 0, 0, 0);
    for (write, outcome) in writes.iter().zip(outcomes) {
        let is_stored = stored
            .get(&write.key)
            .is_some_and(|counters| *counters == write.delta);
        match outcome {
            Ok(committed) => {
                assert_eq!((committed, is_stored), (Committed::Applied, true));
                applied += 1;
            }
            Err(PortError::Unavailable(_)) => {
                assert!(!stored.contains_key(&write.key));
                refused += 1;
            }
            Err(_) if is_stored => there += 1,
            Err(_) => never += 1,
        }
    }
    assert!(
        applied > 40 && refused > 15 && there > 20 && never > 5,
        "{applied} {refused} {there} {never}"
    );
}

#[test]
fn writes_of_a_commit_take_effect_in_any_order_with_crashes_in_between() {
    let mut firsts = std::collections::BTreeSet::new();
    let mut counts = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let world = world(seed, FaultPlan::default());
        let rng = SimRng::new(seed);
        let chance: CrashChance = Arc::new(move || rng.chance(0.3));
        let buckets = world.buckets();
        let writes = (1..=4).map(partial).collect();
        drop(world.time.block_on(crashing(buckets.commit(writes), chance)));
        let stored = world.buckets.all();
        counts.insert(stored.len());
        if let [only] = &stored[..] {
            firsts.insert(only.key);
        }
    }
    assert_eq!(counts, (0..=4).collect(), "crashes fall between any two effects");
    assert!(firsts.len() > 1, "{firsts:?}");
}

#[test]
fn fate_of_a_write_does_not_depend_on_the_order_of_its_call() {
    let run = |backwards: bool| {
        let world = world(9, mixed());
        let mut writes: Vec<PartialWrite> = (1..=50).map(partial).collect();
        if backwards {
            writes.reverse();
        }
        let mut outcomes = world.time.block_on(world.buckets().commit(writes));
        if backwards {
            outcomes.reverse();
        }
        world.time.run();
        (format!("{outcomes:?}"), world.buckets.all())
    };
    assert_eq!(run(false), run(true));
}

#[test]
fn each_record_has_its_own_fate_and_those_that_work_keep_their_order() {
    let world = world(4, FaultPlan { late: 0.0, ..mixed() });
    let outcomes = world
        .time
        .block_on(world.publisher().publish((0..300).map(outgoing).collect()));
    let put: Vec<usize> = world
        .stream
        .all_records(&shard())
        .iter()
        .map(|record| String::from_utf8_lossy(&record.data).parse().unwrap())
        .collect();
    assert!(put.is_sorted());
    let (mut worked, mut twice) = (0, 0);
    for (n, outcome) in outcomes.iter().enumerate() {
        let copies = put.iter().filter(|other| **other == n).count();
        match outcome {
            Ok(()) => {
                assert!((1..=2).contains(&copies));
                worked += 1;
            }
            Err(PortError::Unavailable(_)) => assert_eq!(copies, 0),
            Err(_) => assert!(copies <= 2),
        }
        twice += usize::from(copies == 2);
    }
    let shown = world.faults.shown();
    assert_eq!((shown.worked, shown.twice), (worked, twice as u64));
    assert!(
        worked > 100 && twice > 20 && shown.refused > 30 && shown.lost > 10,
        "{shown:?}"
    );
}

#[test]
fn rejection_is_passed_on_and_has_no_effect() {
    let world = world(
        4,
        FaultPlan {
            twice: 1.0,
            ..FaultPlan::default()
        },
    );
    let bad = Outgoing {
        partition_key: String::new(),
        data: Vec::new(),
    };
    let outcomes = world
        .time
        .block_on(world.publisher().publish(vec![bad, outgoing(1)]));
    assert!(
        matches!(outcomes[..], [Err(PortError::Rejected(_)), Ok(())]),
        "{outcomes:?}"
    );
    assert_eq!(world.stream.len(), 2, "the good one, twice");
}

#[test]
fn reads_are_cut_short_but_never_to_nothing() {
    let world = world(
        6,
        FaultPlan {
            short_read: 0.5,
            ..FaultPlan::default()
        },
    );
    world
        .time
        .block_on(world.stream.publish((0..10).map(outgoing).collect()));
    let all = world.stream.all_records(&shard());
    let mut lengths = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let read = world
            .time
            .block_on(world.reader().read(&shard(), None, 100))
            .unwrap();
        assert_eq!(read, all[..read.len()]);
        lengths.insert(read.len());
    }
    assert_eq!(lengths, (1..=10).collect());
    assert!((60..140).contains(&world.faults.shown().short_reads));
}

#[test]
fn spilled_record_comes_twice_even_though_settled() {
    let world = world(
        7,
        FaultPlan {
            twice: 1.0,
            ..FaultPlan::default()
        },
    );
    world.time.block_on(async {
        let spill = world.spill();
        spill.keep(outgoing(1)).await.unwrap();
        let first = spill.receive(10, NOW_MS, 60_000).await.unwrap();
        assert_eq!(first.len(), 1);
        spill.settled(&first[0].receipt).await.unwrap();
        assert_eq!(spill.receive(0, NOW_MS, 60_000).await.unwrap(), []);
        assert_eq!(spill.receive(10, NOW_MS, 60_000).await.unwrap(), first);
        assert_eq!(
            spill.receive(10, NOW_MS, 60_000).await.unwrap(),
            [],
            "not for ever"
        );
    });
    assert!(world.spill.is_empty());
}

#[test]
fn what_may_be_kept_twice_is() {
    let world = world(
        7,
        FaultPlan {
            twice: 1.0,
            ..FaultPlan::default()
        },
    );
    for outcome in world.time.block_on(world.change_everything()) {
        outcome.unwrap();
    }
    // The quarantine, the lake and the stream; nothing else may.
    assert_eq!(world.effects(), [1, 1, 1, 1, 1, 2, 1, 2, 2, 1]);
}

#[test]
fn calming_ends_everything() {
    let world = world(8, mixed());
    world.faults.change(|plan| plan.outages.push((0, i64::MAX)));
    assert!(world.time.block_on(world.spill().keep(outgoing(0))).is_err());
    let before_ms = world.time.now_ms();
    world.faults.calm();
    for _ in 0..20 {
        for outcome in world.time.block_on(world.read_everything()) {
            outcome.unwrap();
        }
    }
    for outcome in world.time.block_on(world.change_everything()) {
        outcome.unwrap();
    }
    assert_eq!(world.effects(), [1; 10]);
    assert_eq!(world.time.now_ms(), before_ms, "nor does anything take time");
}

#[test]
fn seed_decides_which_faults_strike() {
    let run = |seed| {
        let world = world(seed, mixed());
        for n in 0..20 {
            let publisher = world.publisher();
            world
                .time
                .spawn(async move { drop(publisher.publish(vec![outgoing(n), outgoing(n + 100)]).await) });
        }
        world.time.run();
        (
            world.stream.all_records(&shard()),
            world.faults.shown(),
            world.time.now_ms(),
        )
    };
    assert_eq!(run(11), run(11));
    assert_ne!(run(11), run(12));
}
