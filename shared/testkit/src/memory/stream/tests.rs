use std::collections::BTreeSet;

use super::*;
use crate::sim_rng::SimRng;
use crate::virtual_time::VirtualTime;

const NOW_MS: i64 = 1_767_312_000_000;

fn outgoing(key: &str, n: usize) -> Outgoing {
    Outgoing {
        partition_key: key.to_owned(),
        data: n.to_string().into_bytes(),
    }
}

fn put(time: &VirtualTime, stream: &MemoryStream, count: usize) {
    let records = (0..count)
        .map(|n| outgoing(&format!("{}#0", n % 50), n))
        .collect();
    for outcome in time.block_on(stream.publish(records)) {
        outcome.unwrap();
    }
}

fn started(options: StreamOptions) -> (VirtualTime, MemoryStream) {
    let time = VirtualTime::new(NOW_MS);
    let stream = MemoryStream::new(Arc::new(time.clone()), options);
    (time, stream)
}

#[test]
fn reshards_pass_every_key_on_to_a_descendant() {
    let (time, stream) = started(StreamOptions::random(2, &SimRng::new(3), 40));
    put(&time, &stream, 100);
    let first = stream.open_shards();
    let key_was_on = stream.shard_of("7#0").unwrap();
    let [low, high] = stream.split(&first[0], None).unwrap();
    put(&time, &stream, 100);
    let joined = stream.merge(&high, &first[1]).unwrap();
    put(&time, &stream, 100);
    assert_eq!(stream.open_shards(), [low.clone(), joined.clone()]);
    assert!(stream.split(&high, None).is_none(), "closed");
    assert!(stream.merge(&low, &low).is_none(), "no neighbour of its own");
    let [_, third] = stream.split(&joined, Some(u128::MAX - 5)).unwrap();
    assert!(stream.merge(&low, &third).is_none(), "something lies between");

    let shards = time.block_on(stream.shards()).unwrap();
    assert_eq!(shards.len(), 7);
    let parents = |id: &ShardId| shards.iter().find(|s| s.id == *id).unwrap().parents.clone();
    assert_eq!(parents(&joined), [high.clone(), first[1].clone()]);
    assert_eq!(parents(&high), [first[0].clone()]);
    assert_eq!(&*joined, "shardId-000000000004");
    // A key's shards are each an ancestor of the next.
    let now_on = stream.shard_of("7#0").unwrap();
    let (mut ancestors, mut next) = (vec![now_on], 0);
    while let Some(id) = ancestors.get(next).cloned() {
        ancestors.extend(parents(&id));
        next += 1;
    }
    assert!(ancestors.contains(&key_was_on));
    assert_eq!(stream.len(), 300);
    assert!(!stream.all_records(&high).is_empty() && !stream.all_records(&low).is_empty());
}

#[test]
fn child_numbers_are_above_their_parents() {
    let (time, stream) = started(StreamOptions::random(1, &SimRng::new(5), 0));
    put(&time, &stream, 50);
    let parent = stream.open_shards().remove(0);
    let children = stream.split(&parent, None).unwrap();
    put(&time, &stream, 50);
    let last = stream.all_records(&parent).last().unwrap().sequence_number;
    for child in &children {
        assert!(stream.all_records(child).iter().all(|r| r.sequence_number > last));
    }
}

#[test]
fn numbers_rise_with_gaps_and_some_are_wider_than_63_bits() {
    let mut widths = BTreeSet::new();
    for seed in 0..30 {
        let (time, stream) = started(StreamOptions::random(1, &SimRng::new(seed), 300));
        put(&time, &stream, 200);
        let records = stream.all_records(&stream.open_shards()[0]);
        let numbers: Vec<_> = records.iter().map(|r| r.sequence_number).collect();
        assert!(numbers.windows(2).all(|two| two[0] < two[1]));
        assert!(
            numbers.windows(2).any(|two| shards::above(two[0], 1) < two[1]),
            "gaps"
        );
        let arrivals: Vec<_> = records.iter().map(|r| r.arrived_at_ms - NOW_MS).collect();
        assert!(arrivals.iter().all(|ms| (-300..=300).contains(ms)));
        assert!(!arrivals.is_sorted(), "not exactly monotonic");
        widths.insert(numbers[199].to_string().len());
    }
    assert!(widths.contains(&56), "{widths:?}");
    assert!(widths.iter().any(|width| *width < 22), "{widths:?}");
}

#[test]
fn rewound_consumer_reads_again() {
    let (time, stream) = started(StreamOptions::plain(1));
    put(&time, &stream, 5);
    let shard = stream.open_shards().remove(0);
    let numbers: Vec<_> = stream
        .all_records(&shard)
        .iter()
        .map(|r| r.sequence_number)
        .collect();
    let at = |place: usize, ended| Position {
        done: Some(numbers[place]),
        ended,
    };
    time.block_on(async {
        stream.advance("aggregate", &shard, at(4, true)).await.unwrap();
        stream.rewind("aggregate", &shard, Some(numbers[1]));
        assert_eq!(stream.position("aggregate", &shard).await.unwrap(), at(1, false));
        stream.rewind("aggregate", &shard, None);
        assert_eq!(
            stream.position("aggregate", &shard).await.unwrap(),
            Position::default()
        );
    });
}

#[test]
fn retention_takes_from_readers_but_not_from_the_view() {
    let (time, stream) = started(StreamOptions::plain(1));
    put(&time, &stream, 5);
    time.run_until(NOW_MS + 1_000);
    put(&time, &stream, 3);
    let shard = stream.open_shards().remove(0);
    assert_eq!(stream.expire(NOW_MS), 0);
    assert_eq!(stream.expire(NOW_MS + 1), 5);
    let left = time.block_on(stream.read(&shard, None, 100)).unwrap();
    assert_eq!(left, stream.all_records(&shard)[5..]);
    assert_eq!(stream.all_records(&shard).len(), 8);
}

#[test]
fn closed_shard_is_forgotten_when_nobody_needs_it() {
    let (time, stream) = started(StreamOptions::plain(1));
    put(&time, &stream, 4);
    let parent = stream.open_shards().remove(0);
    let [child, _] = stream.split(&parent, None).unwrap();
    time.run_until(NOW_MS + 10);
    let [grandchild, _] = stream.split(&child, None).unwrap();
    let listed = || -> Vec<ShardId> {
        let shards = time.block_on(stream.shards()).unwrap();
        shards.into_iter().map(|shard| shard.id).collect()
    };
    let trim = |before_ms| time.block_on(stream.trim(&["c"], before_ms, 100)).unwrap();
    assert_eq!(trim(i64::MAX), 0);
    assert!(listed().contains(&parent), "not read yet");
    let done = stream.all_records(&parent).last().map(|r| r.sequence_number);
    time.block_on(stream.advance("c", &parent, Position { done, ended: true }))
        .unwrap();
    assert_eq!(trim(NOW_MS + 5), 4);
    assert!(!listed().contains(&parent));
    assert!(listed().contains(&child), "closed later");
    assert_eq!(trim(NOW_MS + 11), 0);
    assert!(!listed().contains(&child));
    assert!(listed().contains(&grandchild));
    assert_eq!(stream.all_records(&parent).len(), 4);
}

#[test]
fn what_kinesis_refuses_is_rejected() {
    let (time, stream) = started(StreamOptions::plain(1));
    let refused = vec![
        outgoing("", 1),
        outgoing(&"k".repeat(257), 1),
        Outgoing {
            partition_key: "k".to_owned(),
            data: vec![0; 1 << 20],
        },
    ];
    for outcome in time.block_on(stream.publish(refused)) {
        assert!(matches!(outcome, Err(PortError::Rejected(_))), "{outcome:?}");
    }
    assert!(stream.is_empty());
}
