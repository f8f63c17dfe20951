//! [`LaneLog`]: what was appended is read at once, by position and by age.

use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::lane::LaneItem;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::ports::LaneLog;

use super::{NOW_MS, unique};

/// A shard that no other case logs for.
fn shard() -> ShardId {
    format!("shardId-{:012}", unique::number() % 1_000_000_000_000).into()
}

/// An item whose records arrived at 10 × `last` to 10 × `last` + 9 milliseconds.
fn item(last: u64) -> LaneItem {
    let first_arrival_ms = NOW_MS + 10 * last.cast_signed();
    LaneItem {
        last: SequenceNumber::from(last),
        first_arrival_ms,
        last_arrival_ms: first_arrival_ms + 9,
        ids: (0..3).map(|_| unique::click_id()).collect(),
        late_ids: vec![unique::click_id()],
    }
}

async fn logged(log: &dyn LaneLog, shard: &ShardId, items: &[LaneItem]) {
    for item in items {
        log.append(shard, item.clone()).await.unwrap();
    }
}

/// In the order of their numbers, whole, whatever the order of appending.
pub async fn items_are_read_in_order_and_whole(log: &dyn LaneLog) {
    let (ours, other) = (shard(), shard());
    let items = [item(5), item(20), item(300), item(70_000)];
    logged(
        log,
        &ours,
        &[
            items[2].clone(),
            items[0].clone(),
            items[3].clone(),
            items[1].clone(),
        ],
    )
    .await;
    assert_eq!(log.read(&ours, None, 0).await.unwrap(), items);
    assert_eq!(log.read(&other, None, 0).await.unwrap(), []);
}

/// `after` is exclusive; `since_ms` is inclusive, and judged by the last arrival.
pub async fn reading_goes_on_after_an_item_and_from_a_time(log: &dyn LaneLog) {
    let shard = shard();
    let items = [item(5), item(20), item(300)];
    logged(log, &shard, &items).await;
    let after = |number| Some(SequenceNumber::from(number));
    assert_eq!(log.read(&shard, after(4), 0).await.unwrap(), items);
    assert_eq!(log.read(&shard, after(5), 0).await.unwrap(), items[1..]);
    assert_eq!(log.read(&shard, after(299), 0).await.unwrap(), items[2..]);
    assert_eq!(log.read(&shard, after(300), 0).await.unwrap(), []);
    let since = items[1].last_arrival_ms;
    assert_eq!(log.read(&shard, None, since).await.unwrap(), items[1..]);
    assert_eq!(log.read(&shard, None, since + 1).await.unwrap(), items[2..]);
    assert_eq!(log.read(&shard, after(20), since).await.unwrap(), items[2..]);
}

/// Applied, answer lost, retried: one item. A batch that is delivered again and begins elsewhere takes nothing away.
pub async fn items_with_the_same_last_are_joined(log: &dyn LaneLog) {
    let shard = shard();
    let first = item(5);
    logged(log, &shard, &[first.clone(), first.clone()]).await;
    assert_eq!(
        log.read(&shard, None, 0).await.unwrap(),
        std::slice::from_ref(&first)
    );
    let other = LaneItem {
        first_arrival_ms: first.first_arrival_ms - 3,
        last_arrival_ms: first.last_arrival_ms - 1,
        ids: vec![first.ids[1], unique::click_id()],
        late_ids: Vec::new(),
        ..first.clone()
    };
    let none = LaneItem {
        ids: Vec::new(),
        first_arrival_ms: first.last_arrival_ms,
        ..other.clone()
    };
    logged(log, &shard, &[none, other.clone()]).await;
    let joined = LaneItem {
        first_arrival_ms: other.first_arrival_ms,
        ids: [&first.ids[..], &other.ids[1..]].concat(),
        ..first.clone()
    };
    assert_eq!(
        log.read(&shard, None, 0).await.unwrap(),
        std::slice::from_ref(&joined)
    );
    // Another shard's item of the same number is another one.
    let elsewhere = self::shard();
    logged(log, &elsewhere, std::slice::from_ref(&first)).await;
    assert_eq!(log.read(&elsewhere, None, 0).await.unwrap(), [first]);
    assert_eq!(log.read(&shard, None, 0).await.unwrap(), [joined]);
}

/// An item may be empty, and may hold thousands of ids.
pub async fn items_of_every_size_come_back(log: &dyn LaneLog) {
    let shard = shard();
    let empty = LaneItem {
        ids: Vec::new(),
        late_ids: Vec::new(),
        ..item(1)
    };
    let large = LaneItem {
        ids: (0..10_000).map(|_| unique::click_id()).collect(),
        ..item(2)
    };
    logged(log, &shard, &[empty.clone(), large.clone()]).await;
    assert_eq!(log.read(&shard, None, 0).await.unwrap(), [empty, large]);
}

/// Both bounds must allow it: at or below the number, and older than the time.
pub async fn expiring_takes_only_what_is_old_and_passed(log: &dyn LaneLog) {
    let (ours, other) = (shard(), shard());
    let items = [item(5), item(20), item(300)];
    logged(log, &ours, &items).await;
    logged(log, &other, &items).await;
    let (up_to, far) = (SequenceNumber::from(20), SequenceNumber::from(1_000_000));
    log.expire(&ours, up_to, items[0].last_arrival_ms).await.unwrap();
    assert_eq!(
        log.read(&ours, None, 0).await.unwrap(),
        items,
        "none is old enough"
    );
    log.expire(&ours, SequenceNumber::from(4), i64::MAX)
        .await
        .unwrap();
    assert_eq!(log.read(&ours, None, 0).await.unwrap(), items, "none is passed");
    log.expire(&ours, up_to, i64::MAX).await.unwrap();
    assert_eq!(log.read(&ours, None, 0).await.unwrap(), items[2..]);
    log.expire(&ours, far, items[2].last_arrival_ms + 1)
        .await
        .unwrap();
    assert_eq!(log.read(&ours, None, 0).await.unwrap(), []);
    assert_eq!(
        log.read(&other, None, 0).await.unwrap(),
        items,
        "another shard's log is its own"
    );
}

/// Makes a test of every case.
#[macro_export]
macro_rules! lane_log_contract {
    ($open:path) => {
        $crate::contract_cases!(
            lanes as lane_log,
            $open,
            [
                items_are_read_in_order_and_whole,
                reading_goes_on_after_an_item_and_from_a_time,
                items_with_the_same_last_are_joined,
                items_of_every_size_come_back,
                expiring_takes_only_what_is_old_and_passed,
            ]
        );
    };
}
