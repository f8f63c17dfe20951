//! [`Spill`]: what is kept is delivered until it is settled.

use clickledger_core::ports::{Outgoing, Spill, Spilled};

use super::{NOW_MS, unique};

fn record() -> Outgoing {
    let number = unique::number();
    let mut data = format!("{number} ").into_bytes();
    data.extend([0, 255, b'\n']);
    Outgoing {
        partition_key: format!("{number}#3"),
        data,
    }
}

async fn keep(spill: &dyn Spill, count: usize) -> Vec<Outgoing> {
    let records: Vec<Outgoing> = (0..count).map(|_| record()).collect();
    for record in &records {
        spill.keep(record.clone()).await.unwrap();
    }
    records
}

/// Receives, in pages of 4, until nothing more comes; says which of `records` came, by their place.
async fn received(
    spill: &dyn Spill,
    records: &[Outgoing],
    now_ms: i64,
    hidden_ms: u64,
) -> Vec<(usize, Spilled)> {
    let mut all = Vec::new();
    loop {
        let page = spill.receive(4, now_ms, hidden_ms).await.unwrap();
        assert!(page.len() <= 4);
        if page.is_empty() {
            all.sort_by_key(|(place, _)| *place);
            return all;
        }
        let place = |spilled: &Spilled| records.iter().position(|record| *record == spilled.record);
        all.extend(
            page.into_iter()
                .filter_map(|spilled| Some((place(&spilled)?, spilled))),
        );
    }
}

fn places(received: &[(usize, Spilled)]) -> Vec<usize> {
    received.iter().map(|(place, _)| *place).collect()
}

/// As it was kept, with its partition key; and once, while it is hidden.
pub async fn records_are_received_whole_and_then_hidden(spill: &dyn Spill) {
    let records = keep(spill, 10).await;
    let first = received(spill, &records, NOW_MS, 60_000).await;
    assert_eq!(places(&first), (0..10).collect::<Vec<_>>());
    assert_eq!(places(&received(spill, &records, NOW_MS, 60_000).await), [0; 0]);
}

/// A settled record never comes again; settling it again (the answer was lost) is no error.
pub async fn settled_record_is_gone(spill: &dyn Spill) {
    let records = keep(spill, 3).await;
    let first = received(spill, &records, NOW_MS, 60_000).await;
    for _ in 0..2 {
        spill.settled(&first[1].1.receipt).await.unwrap();
    }
    assert_eq!(places(&received(spill, &records, NOW_MS, 60_000).await), [0; 0]);
}

/// A record that its receiver did not settle comes again when it is no longer hidden. For adapters whose time is `now_ms`.
pub async fn unsettled_record_comes_again_after_its_time(spill: &dyn Spill) {
    let records = keep(spill, 3).await;
    let first = received(spill, &records, NOW_MS, 1_000).await;
    assert_eq!(places(&first), [0, 1, 2]);
    spill.settled(&first[1].1.receipt).await.unwrap();
    assert_eq!(
        places(&received(spill, &records, NOW_MS + 999, 1_000).await),
        [0; 0]
    );
    let second = received(spill, &records, NOW_MS + 1_001, 1_000).await;
    assert_eq!(places(&second), [0, 2]);
    assert_eq!(
        places(&received(spill, &records, NOW_MS + 2_000, 1_000).await),
        [0; 0],
        "hidden anew"
    );
    let third = received(spill, &records, NOW_MS + 2_002, 1_000).await;
    assert_eq!(places(&third), [0, 2]);
    spill.settled(&third[0].1.receipt).await.unwrap();
    assert_eq!(
        places(&received(spill, &records, NOW_MS + 9_000, 1_000).await),
        [2]
    );
}

/// Makes a test of every case. With `given_time` also of those for adapters that take `now_ms` for the time (a queue
/// service has a clock of its own).
#[macro_export]
macro_rules! spill_contract {
    ($open:path) => {
        $crate::contract_cases!(
            spill as spill,
            $open,
            [
                records_are_received_whole_and_then_hidden,
                settled_record_is_gone
            ]
        );
    };
    ($open:path, given_time) => {
        $crate::spill_contract!($open);
        $crate::contract_cases!(
            spill as spill_by_given_time,
            $open,
            [unsettled_record_comes_again_after_its_time]
        );
    };
}
