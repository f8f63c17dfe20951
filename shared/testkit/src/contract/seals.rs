//! [`SealStore`]: dirty hours stay dirty, however often they are marked.

use clickledger_core::domain::time::Hour;
use clickledger_core::ports::SealStore;

use super::unique;

/// The first of 1,000 hours that no other case marks. (Some are further off than any clock will show; none overflows.)
fn hours() -> i64 {
    (unique::numbers(1_000) % 1_000_000_000).cast_signed()
}

/// In order, each once, whatever was marked how often and in which order.
pub async fn marking_twice_is_marking_once(store: &dyn SealStore) {
    let start = hours();
    let hour = |n| Hour(start + n);
    assert_eq!(store.dirty(hour(0), hour(100)).await.unwrap(), []);
    store.mark_dirty(&[hour(5), hour(2), hour(5)]).await.unwrap();
    store.mark_dirty(&[hour(2), hour(3)]).await.unwrap();
    store.mark_dirty(&[hour(5), hour(2), hour(5)]).await.unwrap();
    store.mark_dirty(&[]).await.unwrap();
    assert_eq!(
        store.dirty(hour(0), hour(100)).await.unwrap(),
        [hour(2), hour(3), hour(5)]
    );
}

/// From inclusive, to exclusive.
pub async fn ranges_are_half_open(store: &dyn SealStore) {
    let start = hours();
    let hour = |n| Hour(start + n);
    store
        .mark_dirty(&[hour(1), hour(2), hour(3), hour(900)])
        .await
        .unwrap();
    assert_eq!(store.dirty(hour(1), hour(3)).await.unwrap(), [hour(1), hour(2)]);
    assert_eq!(store.dirty(hour(4), hour(901)).await.unwrap(), [hour(900)]);
    assert_eq!(store.dirty(hour(2), hour(2)).await.unwrap(), []);
}

/// Makes a test of every case.
#[macro_export]
macro_rules! seal_store_contract {
    ($open:path) => {
        $crate::contract_cases!(
            seals as seal_store,
            $open,
            [marking_twice_is_marking_once, ranges_are_half_open]
        );
    };
}
