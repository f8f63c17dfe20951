use clickledger_core::domain::ids::{ClickId, ImpressionId};
use clickledger_core::ports::{Claim, ClaimStore, Claimed, ClickStream, Outgoing, PortError, ShardReader};

use super::*;

/// Lets the database grow to so many pages more: SQLite refuses the next one just as when the disk is full.
async fn room(store: &Embedded, pages: i64) {
    let allow = store.store.queue.submit(move |group| {
        let now: i64 = group.conn.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        group
            .conn
            .pragma_update_and_check(None, "max_page_count", now + pages, |_| Ok(()))?;
        Ok(())
    });
    allow.await.unwrap();
}

#[tokio::test]
async fn full_disk_refuses_whole_groups_until_there_is_room_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(
        dir.path(),
        OpenOptions {
            shards: 1,
            ..OpenOptions::default()
        },
    )
    .unwrap();
    let (claims, stream) = (store.claims(), store.stream());
    let large = || {
        vec![Outgoing {
            partition_key: "a".to_owned(),
            data: vec![b'x'; 100_000],
        }]
    };
    let claim = Claim {
        impression_id: ImpressionId(1),
        click_id: ClickId(2),
        expires_ms: 1_000,
    };
    room(&store, 0).await;
    for _ in 0..3 {
        let published = stream.publish(large()).await;
        assert!(
            matches!(published[0], Err(PortError::Unavailable(_))),
            "{published:?}"
        );
    }
    let shard = stream.shards().await.unwrap()[0].id.clone();
    assert_eq!(stream.read(&shard, None, 10).await.unwrap(), []);
    assert_eq!(
        claims.claim(claim, 0).await.unwrap(),
        Claimed::First,
        "what needs no room still works"
    );
    room(&store, 1_000).await;
    stream.publish(large()).await[0].as_ref().unwrap();
    assert_eq!(stream.read(&shard, None, 10).await.unwrap().len(), 1);
    assert_eq!(claims.claim(claim, 0).await.unwrap(), Claimed::First);
}
