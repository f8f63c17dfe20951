//! [`HeartbeatLog`], and [`Heartbeats`] on a stream that can be read.

use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::heartbeat::{Beat, Heartbeat};
use clickledger_core::domain::ids::HeartbeatId;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::ports::{BeatenShard, HeartbeatLog, Heartbeats, PortError, ShardReader};

use super::{NOW_MS, unique};

/// A shard that no other case beats on.
fn shard() -> ShardId {
    format!("shardId-{:012}", unique::number() % 1_000_000_000_000).into()
}

fn id() -> HeartbeatId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&unique::number().to_be_bytes());
    HeartbeatId::new(NOW_MS, random)
}

/// A heartbeat that was sent and acknowledged at these times.
fn beat(shard: &ShardId, sent_at_ms: i64, acknowledged_at_ms: i64) -> Beat {
    Beat {
        id: id(),
        shard: shard.clone(),
        sequence_number: SequenceNumber::from(unique::number()),
        sent_at_ms,
        acknowledged_at_ms,
    }
}

async fn logged(log: &dyn HeartbeatLog, beats: &[Beat]) {
    for beat in beats {
        log.acknowledged(beat).await.unwrap();
    }
}

/// Parents before children, in whatever order they became known; each once, with the parents of the first time.
pub async fn shards_are_known_once_parents_first(log: &dyn HeartbeatLog) {
    let [grandchild, child, gone, parent] = [shard(), shard(), shard(), shard()];
    let known = |shard: &ShardId, parents: &[&ShardId]| BeatenShard {
        shard: shard.clone(),
        parents: parents.iter().map(|parent| (*parent).clone()).collect(),
    };
    let all = [
        known(&grandchild, &[&child]),
        known(&child, &[&parent, &gone]),
        known(&parent, &[]),
    ];
    for _ in 0..2 {
        for one in &all {
            log.know(one).await.unwrap();
        }
    }
    log.know(&known(&child, &[])).await.unwrap();
    let mut ours = log.known().await.unwrap();
    ours.retain(|shard| all.iter().any(|one| one.shard == shard.shard));
    let [grandchild, child, parent] = all;
    assert_eq!(ours, [parent, child, grandchild]);
}

/// The last one from before, the first one from after, and all between.
pub async fn heartbeats_around_a_time_reach_over_its_ends(log: &dyn HeartbeatLog) {
    let (ours, other) = (shard(), shard());
    let at = |sent, acknowledged| beat(&ours, NOW_MS + sent, NOW_MS + acknowledged);
    let beats = [
        at(0, 5),
        at(100, 110),
        at(200, 350),
        at(300, 310),
        at(400, 401),
        at(500, 600),
    ];
    let mut shuffled = beats.clone();
    shuffled.reverse();
    logged(log, &shuffled).await;
    logged(log, &[beat(&other, NOW_MS + 250, NOW_MS + 251)]).await;
    let around = |from, to| {
        let ours = &ours;
        async move { log.around(ours, NOW_MS + from, NOW_MS + to).await.unwrap() }
    };
    assert_eq!(around(110, 400).await, beats[1..5], "exactly at both ends");
    assert_eq!(around(109, 401).await, beats[0..6]);
    assert_eq!(
        around(320, 390).await,
        beats[3..5],
        "one that was sent before the last is not needed, however late its answer came"
    );
    assert_eq!(around(0, 50).await, beats[0..2], "none is from before");
    assert_eq!(around(450, 900).await, beats[4..], "none is from after");
    assert_eq!(around(700, 900).await, beats[5..]);
    assert_eq!(around(-100, 0).await, beats[..1]);
    assert_eq!(log.around(&shard(), 0, i64::MAX).await.unwrap(), []);
}

/// Applied, answer lost, retried; of two at the same time both are kept.
pub async fn acknowledging_twice_is_once(log: &dyn HeartbeatLog) {
    let shard = shard();
    let (one, two) = (beat(&shard, NOW_MS, NOW_MS + 1), beat(&shard, NOW_MS, NOW_MS + 1));
    logged(log, &[one.clone(), one.clone(), two.clone(), one.clone()]).await;
    let mut found = log.around(&shard, 0, i64::MAX).await.unwrap();
    found.sort_by_key(|beat| beat.id);
    assert_eq!(found, [one, two]);
}

/// By the time of sending.
pub async fn last_heartbeat_is_the_one_that_was_sent_last(log: &dyn HeartbeatLog) {
    let shard = shard();
    assert_eq!(log.last(&shard).await.unwrap(), None);
    let (early, late) = (
        beat(&shard, NOW_MS, NOW_MS + 100),
        beat(&shard, NOW_MS + 50, NOW_MS + 60),
    );
    logged(log, &[late.clone(), early]).await;
    assert_eq!(log.last(&shard).await.unwrap(), Some(late));
}

/// Old ones go, but each shard's last one stays, however old.
pub async fn expiring_leaves_each_shards_last_heartbeat(log: &dyn HeartbeatLog) {
    let (ours, other) = (shard(), shard());
    for shard in [&ours, &other] {
        let known = BeatenShard {
            shard: shard.clone(),
            parents: Vec::new(),
        };
        log.know(&known).await.unwrap();
    }
    // Times that no other case's heartbeats come near.
    let at = |shard, n: i64| beat(shard, 1_000 * n, 1_000 * n + 10);
    let beats = [at(&ours, 1), at(&ours, 2), at(&ours, 3)];
    logged(log, &beats).await;
    let single = at(&other, 1);
    logged(log, std::slice::from_ref(&single)).await;
    log.expire(1_010).await.unwrap();
    assert_eq!(
        log.around(&ours, 0, i64::MAX).await.unwrap(),
        beats,
        "none is old enough"
    );
    assert!(log.expire(2_010).await.unwrap() >= 1);
    assert_eq!(log.around(&ours, 0, i64::MAX).await.unwrap(), beats[1..]);
    log.expire(9_999).await.unwrap();
    assert_eq!(log.around(&ours, 0, i64::MAX).await.unwrap(), beats[2..]);
    assert_eq!(log.last(&other).await.unwrap(), Some(single));
}

/// On every open shard a heartbeat lies where its answer says; a closed one takes none.
pub async fn heartbeats_lie_on_their_shards(stream: &(impl Heartbeats + ShardReader)) {
    for shard in stream.shards().await.unwrap() {
        let line = Heartbeat::new(id(), &shard.id, NOW_MS).to_line().unwrap();
        let answer = stream.beat(&shard.id, line.clone()).await;
        if shard.closed {
            assert!(matches!(answer, Err(PortError::Rejected(_))), "{answer:?}");
            continue;
        }
        let place = answer.unwrap();
        let mut after = None;
        let lying = loop {
            let page = stream.read(&shard.id, after, 100).await.unwrap();
            let last = page.last().unwrap().sequence_number;
            if let Some(found) = page.into_iter().find(|record| record.sequence_number == place) {
                break found;
            }
            after = Some(last);
        };
        assert_eq!(lying.data, line);
        assert!(stream.beat(&shard.id, line).await.unwrap() > place);
    }
    let answer = stream
        .beat(&"shardId-999999999999".into(), b"{}\n".to_vec())
        .await;
    assert!(matches!(answer, Err(PortError::Rejected(_))), "{answer:?}");
}

/// Makes a test of every case.
#[macro_export]
macro_rules! heartbeat_log_contract {
    ($open:path) => {
        $crate::contract_cases!(
            heartbeats as heartbeat_log,
            $open,
            [
                shards_are_known_once_parents_first,
                heartbeats_around_a_time_reach_over_its_ends,
                acknowledging_twice_is_once,
                last_heartbeat_is_the_one_that_was_sent_last,
                expiring_leaves_each_shards_last_heartbeat,
            ]
        );
    };
}

/// Makes a test of every case; the port is also a [`ShardReader`].
#[macro_export]
macro_rules! heartbeats_contract {
    ($open:path) => {
        $crate::contract_cases!(
            heartbeats as heartbeats,
            $open,
            [heartbeats_lie_on_their_shards]
        );
    };
}
