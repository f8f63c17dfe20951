use clickledger_core::domain::bucket::Condition;
use clickledger_core::domain::counter::CounterKey;
use clickledger_core::domain::country::Country;
use clickledger_core::domain::device::Device;
use clickledger_core::domain::entity::BucketKey;
use clickledger_core::domain::ids::AdId;
use clickledger_core::domain::verdict::Verdict;

use super::*;
use crate::hour_row::NewRow;
use crate::{Embedded, OpenOptions};

const AD: Entity = Entity::Ad(AdId(731));

fn counted(valid: u64, bots: u64) -> Counters {
    let counter = |verdict| CounterKey::of(verdict, Device::Mobile, Country::ZZ);
    [(counter(Verdict::Valid), valid), (counter(Verdict::Bot), bots)]
        .into_iter()
        .collect()
}

/// Puts a row of the ad's hour 0 into the table: place, watermark, valid clicks.
async fn put(store: &Store, shard: i64, partials: &'static [(u8, i64, u64)]) {
    let put = store.queue.submit(move |group| {
        let mut row = NewRow::default();
        for (place, watermark, valid) in partials {
            row.push(*place, *watermark, &counted(*valid, 1));
        }
        group.conn.execute(
            "INSERT INTO buckets VALUES (1, 731, 0, ?1, ?2, ?3)",
            (shard, &row.totals, &row.cells),
        )?;
        Ok(())
    });
    put.await.unwrap();
}

fn write(minute: i64, shard: u32, last: u64, valid: u64) -> PartialWrite {
    PartialWrite {
        key: BucketKey {
            entity: AD,
            minute: Minute(minute),
        },
        shard: format!("shardId-{shard:012}").into(),
        condition: Condition::Below(last.into()),
        last: last.into(),
        delta: counted(valid, 0),
    }
}

#[tokio::test]
async fn what_rows_and_memory_have_is_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path(), OpenOptions::default()).unwrap();
    let buckets = store.buckets();
    put(&buckets.store, 0, &[(3, 10, 1), (4, 10, 2), (59, 10, 3)]).await;
    put(&buckets.store, 1, &[(4, 10, 10), (6, 10, 20)]).await;
    // Minute 4's partial of shard 0 is now in memory as well, with its row's clicks; so is a new one of each shard.
    let writes = vec![write(4, 0, 11, 100), write(5, 1, 11, 200), write(60, 0, 11, 300)];
    for outcome in buckets.commit(writes).await {
        assert_eq!(outcome.unwrap(), Committed::Applied);
    }
    let all = [
        (3, 1, 1),
        (4, 112, 2),
        (5, 200, 0),
        (6, 20, 1),
        (59, 3, 1),
        (60, 300, 0),
    ];
    for (from, to) in [(-100, 100), (3, 61), (4, 5), (5, 60), (4, 60), (60, 60), (61, 4)] {
        let expected: Vec<(i64, u64, u64)> = all
            .into_iter()
            .filter(|(minute, ..)| (from..to).contains(minute))
            .collect();
        let read = buckets.read(AD, Minute(from), Minute(to)).await.unwrap();
        let read: Vec<_> = read
            .iter()
            .map(|b| {
                (
                    b.minute.0,
                    b.counters.valid(),
                    b.counters.gross() - b.counters.valid(),
                )
            })
            .collect();
        assert_eq!(read, expected, "{from}..{to}");
        let totals = buckets.read_totals(AD, Minute(from), Minute(to)).await.unwrap();
        let totals: Vec<_> = totals
            .iter()
            .map(|t| (t.minute.0, t.valid, t.invalid[Verdict::Bot as usize]))
            .collect();
        assert_eq!(totals, expected, "{from}..{to}");
    }
    let none = Entity::Ad(AdId(732));
    assert_eq!(buckets.read(none, Minute(-100), Minute(100)).await.unwrap(), []);
    store.close().await;
}
