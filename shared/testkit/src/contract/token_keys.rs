//! [`TokenKeys`]: made once, rotated one at a time.

use std::collections::HashSet;

use clickledger_core::ports::TokenKeys;
use futures_util::future::join_all;

/// Whoever asks gets the same keys, also those who ask first at the same time.
pub async fn first_keys_are_made_once(safe: &dyn TokenKeys) {
    let loaded = join_all((0..8).map(|_| safe.load())).await;
    let first = loaded[0].as_ref().unwrap();
    assert!(!first.signing.is_empty());
    assert!(loaded.iter().all(|other| other.as_ref().unwrap() == first));
    assert_ne!(first.hashing, [0; 32]);
    assert_ne!(first.hashing, first.signing[0].1, "a secret for each purpose");
}

/// The new key signs, the one before it still verifies, and no older one does. The hashing secret stays.
pub async fn rotation_keeps_the_previous_key_alone(safe: &dyn TokenKeys) {
    let mut before = safe.load().await.unwrap();
    let mut secrets: HashSet<[u8; 32]> = before.signing.iter().map(|(_, secret)| *secret).collect();
    for _ in 0..3 {
        let after = safe.rotate().await.unwrap();
        assert_eq!(after.signing.len(), 2);
        assert_eq!(after.signing[0], *before.signing.last().unwrap());
        assert_ne!(after.signing[0].0, after.signing[1].0, "the id tells them apart");
        assert!(secrets.insert(after.signing[1].1), "a new secret");
        assert_eq!(after.hashing, before.hashing);
        assert_eq!(safe.load().await.unwrap(), after);
        before = after;
    }
}

/// Ids come round, and the two keys that are kept always differ in theirs.
pub async fn key_ids_come_round(safe: &dyn TokenKeys) {
    safe.load().await.unwrap();
    for _ in 0..300 {
        let keys = safe.rotate().await.unwrap().signing;
        assert_ne!(keys[0].0, keys[1].0);
    }
}

/// Makes a test of every case.
#[macro_export]
macro_rules! token_keys_contract {
    ($open:path) => {
        $crate::contract_cases!(
            token_keys as token_keys,
            $open,
            [
                first_keys_are_made_once,
                rotation_keeps_the_previous_key_alone,
                key_ids_come_round
            ]
        );
    };
}
