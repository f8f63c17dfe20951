//! [`Gauges`]: what is put in is seen, and what is taken out is not.

use std::sync::Arc;

use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::domain::time::{DAY_MS, HOUR_MS};
use clickledger_core::ports::{Gauges, Outgoing, Quarantine, Quarantined, Spill};

use super::{NOW_MS, unique};
use crate::fixtures::ClickMaker;

/// Gauges, and what they look at.
pub struct Gauged {
    /// The spill.
    pub spill: Arc<dyn Spill>,
    /// The quarantine.
    pub quarantine: Arc<dyn Quarantine>,
    /// What looks at both.
    pub gauges: Arc<dyn Gauges>,
}

/// Records wait until they are settled, also while somebody works on them. Who tells the oldest tells when it was clicked.
pub async fn spilled_records_wait_until_they_are_settled(of: &Gauged) {
    let before = of.gauges.spill().await.unwrap();
    let mut clicks = ClickMaker::new(unique::number(), 10, NOW_MS, 1.0);
    let records: Vec<_> = (0..3).map(|_| clicks.record()).collect();
    for record in &records {
        let spilled = Outgoing {
            partition_key: record.partition_key.clone(),
            data: record.to_line().unwrap(),
        };
        of.spill.keep(spilled).await.unwrap();
    }
    let waiting = of.gauges.spill().await.unwrap();
    assert_eq!(waiting.waiting, before.waiting + 3);
    if let (0, Some(oldest_ms)) = (before.waiting, waiting.oldest_ms) {
        assert_eq!(oldest_ms, records[0].clicked_at_ms);
    }
    let received = of.spill.receive(10, NOW_MS, 60_000).await.unwrap();
    assert_eq!(of.gauges.spill().await.unwrap().waiting, before.waiting + 3);
    for (done, spilled) in (1..).zip(&received) {
        of.spill.settled(&spilled.receipt).await.unwrap();
        let left = of.gauges.spill().await.unwrap();
        assert_eq!(left.waiting, before.waiting + 3 - done);
        assert!(left.waiting > 0 || left.oldest_ms.is_none(), "{left:?}");
    }
}

/// What arrived within the time is counted, days apart from others; at `most` counting ends.
pub async fn quarantine_is_counted_by_time(of: &Gauged) {
    let range = (NOW_MS - 5 * HOUR_MS, NOW_MS + 19 * HOUR_MS);
    let count = async |most| of.gauges.quarantined(range.0, range.1, most).await.unwrap();
    let before = count(1_000).await;
    for (arrived_at_ms, number) in [
        (NOW_MS - 2 * DAY_MS, 1),
        (NOW_MS - HOUR_MS, 2),
        (NOW_MS, 3),
        (NOW_MS + 18 * HOUR_MS, 4),
        (NOW_MS + 2 * DAY_MS, 5),
    ] {
        let item = Quarantined {
            shard: "shardId-000000000000".into(),
            sequence_number: SequenceNumber::from(number),
            arrived_at_ms,
            reason: "not a click record".to_owned(),
            bytes: unique::number().to_be_bytes().to_vec(),
        };
        of.quarantine.keep(item).await.unwrap();
    }
    assert_eq!(count(1_000).await, before + 3);
    assert_eq!(count(2).await, 2);
}

/// Makes a test of every case.
#[macro_export]
macro_rules! gauges_contract {
    ($open:path) => {
        $crate::contract_cases!(
            gauges as gauges,
            $open,
            [
                spilled_records_wait_until_they_are_settled,
                quarantine_is_counted_by_time,
            ]
        );
    };
}
