//! [`ClickStream`] and [`ShardReader`]: what is published is read, in the order of its partition key, from any position.

use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::ports::{ClickStream, Outgoing, Position, ShardReader, StreamRecord};

use super::unique;

fn key() -> String {
    format!("{}#0", unique::number())
}

fn records(key: &str, texts: impl IntoIterator<Item = usize>) -> Vec<Outgoing> {
    let record = |n| Outgoing {
        partition_key: key.to_owned(),
        data: format!("{key} {n}\n").into_bytes(),
    };
    texts.into_iter().map(record).collect()
}

async fn publish(stream: &impl ClickStream, records: Vec<Outgoing>) {
    let count = records.len();
    let outcomes = stream.publish(records).await;
    assert_eq!(outcomes.len(), count);
    for outcome in outcomes {
        outcome.unwrap();
    }
}

/// Everything on a shard after a position, read in pages of `page`.
async fn read_on(
    reader: &impl ShardReader,
    shard: &ShardId,
    mut after: Option<SequenceNumber>,
    page: usize,
) -> Vec<StreamRecord> {
    let mut all = Vec::new();
    loop {
        let records = reader.read(shard, after, page).await.unwrap();
        assert!(
            records.len() <= page,
            "{} records where {page} were asked for",
            records.len()
        );
        let Some(last) = records.last() else { return all };
        for record in &records {
            assert!(
                Some(record.sequence_number) > after,
                "sequence numbers rise within a shard"
            );
            after = Some(record.sequence_number);
        }
        after = Some(last.sequence_number);
        all.extend(records);
    }
}

/// The shard that holds this key's records, and they alone.
async fn find(stream: &impl ShardReader, key: &str) -> (ShardId, Vec<StreamRecord>) {
    let prefix = format!("{key} ");
    let mut found: Vec<(ShardId, Vec<StreamRecord>)> = Vec::new();
    for shard in stream.shards().await.unwrap() {
        let mut records = read_on(stream, &shard.id, None, 1_000).await;
        records.retain(|record| record.data.starts_with(prefix.as_bytes()));
        if !records.is_empty() {
            found.push((shard.id, records));
        }
    }
    assert_eq!(found.len(), 1, "the records of one key are on one shard");
    found.remove(0)
}

fn texts(records: &[StreamRecord]) -> Vec<String> {
    records
        .iter()
        .map(|record| String::from_utf8_lossy(&record.data).into_owned())
        .collect()
}

fn expected(key: &str, texts: impl IntoIterator<Item = usize>) -> Vec<String> {
    texts.into_iter().map(|n| format!("{key} {n}\n")).collect()
}

/// Published one after another, and several in one call, among other keys' records.
pub async fn records_of_one_partition_key_are_read_in_their_order<S: ClickStream + ShardReader>(stream: &S) {
    let (ours, others) = (key(), key());
    for n in 0..10 {
        publish(stream, records(&ours, [n])).await;
        publish(stream, records(&others, [n])).await;
    }
    let mut mixed = records(&ours, 10..15);
    mixed.extend(records(&others, 10..15));
    mixed.extend(records(&ours, 15..20));
    publish(stream, mixed).await;
    assert_eq!(texts(&find(stream, &ours).await.1), expected(&ours, 0..20));
    assert_eq!(texts(&find(stream, &others).await.1), expected(&others, 0..15));
}

/// Bytes are bytes: also such as are no text, and lines within.
pub async fn records_are_read_byte_for_byte<S: ClickStream + ShardReader>(stream: &S) {
    let key = key();
    let mut data = format!("{key} ").into_bytes();
    data.extend((0..=255).chain([b'\n', b'\n', 0]));
    publish(
        stream,
        vec![Outgoing {
            partition_key: key.clone(),
            data: data.clone(),
        }],
    )
    .await;
    let (_, found) = find(stream, &key).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].data, data);
    assert!(found[0].arrived_at_ms > 0);
}

/// A put whose answer was lost and which is tried again is read twice, on the same shard.
pub async fn record_that_is_put_twice_is_read_twice_on_one_shard<S: ClickStream + ShardReader>(stream: &S) {
    let key = key();
    for n in [0, 1, 0] {
        publish(stream, records(&key, [n])).await;
    }
    assert_eq!(texts(&find(stream, &key).await.1), expected(&key, [0, 1, 0]));
}

/// Every record of a call is a position of its own, whatever is stored together.
pub async fn reading_goes_on_after_any_record<S: ClickStream + ShardReader>(stream: &S) {
    let key = key();
    publish(stream, records(&key, 0..5)).await;
    publish(stream, records(&key, 5..12)).await;
    let (shard, found) = find(stream, &key).await;
    assert_eq!(found.len(), 12);
    let before = read_on(stream, &shard, None, 1_000).await;
    let before = before
        .iter()
        .rev()
        .map(|r| r.sequence_number)
        .find(|number| *number < found[0].sequence_number);
    for page in [1, 3, 7, 1_000] {
        let mut again = read_on(stream, &shard, before, page).await;
        again.retain(|record| found.iter().any(|f| f.sequence_number == record.sequence_number));
        assert_eq!(again, found, "in pages of {page}");
    }
    for (place, record) in found.iter().enumerate() {
        let mut rest = read_on(stream, &shard, Some(record.sequence_number), 4).await;
        rest.retain(|record| found.iter().any(|f| f.sequence_number == record.sequence_number));
        assert_eq!(rest, found[place + 1..], "after record {place}");
    }
}

/// Nothing after the end is no error.
pub async fn reading_at_the_end_is_empty<S: ClickStream + ShardReader>(stream: &S) {
    let key = key();
    publish(stream, records(&key, 0..3)).await;
    let (shard, _) = find(stream, &key).await;
    let end = read_on(stream, &shard, None, 1_000)
        .await
        .last()
        .map(|record| record.sequence_number);
    assert_eq!(stream.read(&shard, end, 10).await.unwrap(), []);
}

/// Kinesis's ranges: MD5 of "a" begins with 0c, that of "message digest" with f9 (RFC 1321).
pub async fn keys_are_spread_by_their_md5<S: ClickStream + ShardReader>(stream: &S) {
    let mark = key();
    for key in ["a", "message digest"] {
        let data = format!("{mark}{key} 0\n").into_bytes();
        publish(
            stream,
            vec![Outgoing {
                partition_key: key.to_owned(),
                data,
            }],
        )
        .await;
    }
    let (low, _) = find(stream, &format!("{mark}a")).await;
    let (high, _) = find(stream, &format!("{mark}message digest")).await;
    let open: Vec<ShardId> = stream
        .shards()
        .await
        .unwrap()
        .into_iter()
        .filter(|shard| !shard.closed)
        .map(|shard| shard.id)
        .collect();
    assert_eq!(low == high, open.len() == 1, "{low} and {high} of {open:?}");
    assert!(open.contains(&low) && open.contains(&high));
}

/// Parents stand before their children, and every shard is there once.
pub async fn shards_are_listed_parents_first<S: ClickStream + ShardReader>(stream: &S) {
    let shards = stream.shards().await.unwrap();
    assert!(
        shards.iter().any(|shard| !shard.closed),
        "some shard takes records"
    );
    for (place, shard) in shards.iter().enumerate() {
        let later = &shards[place..];
        assert!(shards[..place].iter().all(|other| other.id != shard.id));
        assert!(
            shard
                .parents
                .iter()
                .all(|parent| later.iter().all(|other| other.id != *parent))
        );
    }
}

/// A consumer's position starts at nothing, moves forward only, and is its own.
pub async fn positions_only_move_forward<S: ClickStream + ShardReader>(stream: &S) {
    let key = key();
    publish(stream, records(&key, 0..3)).await;
    let (shard, found) = find(stream, &key).await;
    let (ours, other) = (format!("c{}", unique::number()), format!("c{}", unique::number()));
    assert_eq!(stream.position(&ours, &shard).await.unwrap(), Position::default());
    let at = |place: usize, ended| Position {
        done: Some(found[place].sequence_number),
        ended,
    };
    stream.advance(&ours, &shard, at(1, false)).await.unwrap();
    assert_eq!(stream.position(&ours, &shard).await.unwrap(), at(1, false));
    // The same again (its answer was lost), and an older one that comes late.
    for place in [1, 0] {
        stream.advance(&ours, &shard, at(place, false)).await.unwrap();
        assert_eq!(stream.position(&ours, &shard).await.unwrap(), at(1, false));
    }
    stream.advance(&ours, &shard, Position::default()).await.unwrap();
    assert_eq!(stream.position(&ours, &shard).await.unwrap(), at(1, false));
    stream.advance(&ours, &shard, at(2, true)).await.unwrap();
    stream.advance(&ours, &shard, at(2, false)).await.unwrap();
    assert_eq!(stream.position(&ours, &shard).await.unwrap(), at(2, true));
    assert_eq!(
        stream.position(&other, &shard).await.unwrap(),
        Position::default()
    );
}

/// Retention waits for the slowest consumer, and takes nothing that arrived later than it may.
pub async fn trimming_leaves_what_a_consumer_still_needs<S: ClickStream + ShardReader>(stream: &S) {
    let key = key();
    publish(stream, records(&key, 0..5)).await;
    let (shard, found) = find(stream, &key).await;
    let (fast, slow) = (format!("c{}", unique::number()), format!("c{}", unique::number()));
    let consumers = [fast.as_str(), slow.as_str()];
    for (consumer, place) in [(&fast, 3), (&slow, 1)] {
        let done = Some(found[place].sequence_number);
        stream
            .advance(consumer, &shard, Position { done, ended: false })
            .await
            .unwrap();
    }
    stream
        .trim(&consumers, found[0].arrived_at_ms, 100_000)
        .await
        .unwrap();
    assert_eq!(find(stream, &key).await.1, found);
    stream.trim(&consumers, i64::MAX, 100_000).await.unwrap();
    let left = find(stream, &key).await.1;
    assert!(left.ends_with(&found[2..]), "{:?}", texts(&left));
    let rest: Vec<StreamRecord> = read_on(stream, &shard, Some(found[1].sequence_number), 2)
        .await
        .into_iter()
        .take(3)
        .collect();
    assert_eq!(rest, found[2..]);
    assert_eq!(
        stream
            .trim(&[&fast, &slow, "nobody"], i64::MAX, 100_000)
            .await
            .unwrap(),
        0
    );
}

/// Makes a test of every case.
#[macro_export]
macro_rules! click_stream_contract {
    ($open:path) => {
        $crate::contract_cases!(
            stream as click_stream,
            $open,
            [
                records_of_one_partition_key_are_read_in_their_order,
                records_are_read_byte_for_byte,
                record_that_is_put_twice_is_read_twice_on_one_shard,
                reading_goes_on_after_any_record,
                reading_at_the_end_is_empty,
                keys_are_spread_by_their_md5,
                shards_are_listed_parents_first,
                positions_only_move_forward,
                trimming_leaves_what_a_consumer_still_needs,
            ]
        );
    };
}
