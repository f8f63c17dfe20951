//! [`ApiKeys`]: made once, revoked for good.

use clickledger_core::domain::api_key::{ApiKey, KeyId, Scope};
use clickledger_core::domain::ids::{AdvertiserId, PlacementId};
use clickledger_core::domain::time::HOUR_MS;
use clickledger_core::ports::{ApiKeys, Changed};

use super::{NOW_MS, unique};

fn key_id() -> KeyId {
    format!("k{:011x}", unique::number() % (1 << 44)).parse().unwrap()
}

fn key() -> ApiKey {
    ApiKey {
        key_id: key_id(),
        secret_sha256: std::array::from_fn(|i| i as u8 ^ 0xa5),
        scope: Scope::Advertiser {
            advertiser_id: AdvertiserId(unique::number()),
            read_only: true,
        },
        created_ms: NOW_MS,
        revoked_ms: None,
        last_used_ms: None,
    }
}

/// Every scope, every field.
pub async fn keys_come_back_whole(keys: &dyn ApiKeys) {
    let publisher = Scope::Publisher {
        placement_ids: vec![PlacementId(3), PlacementId(i64::MAX as u64)],
    };
    for scope in [Scope::Admin, publisher, key().scope] {
        let key = ApiKey { scope, ..key() };
        assert_eq!(keys.get(&key.key_id).await.unwrap(), None);
        assert_eq!(keys.create(&key).await.unwrap(), Changed::Done);
        assert_eq!(keys.get(&key.key_id).await.unwrap(), Some(key));
    }
}

/// An id that is taken is refused (so is a retry whose answer was lost), and the first key stays as it is.
pub async fn key_id_is_taken_once(keys: &dyn ApiKeys) {
    let first = key();
    keys.create(&first).await.unwrap();
    let second = ApiKey {
        key_id: first.key_id.clone(),
        scope: Scope::Admin,
        ..key()
    };
    assert_eq!(keys.create(&second).await.unwrap(), Changed::Conflict);
    assert_eq!(keys.create(&first).await.unwrap(), Changed::Conflict);
    assert_eq!(keys.get(&first.key_id).await.unwrap(), Some(first));
}

/// The first revocation's time stays.
pub async fn revoked_key_stays_revoked(keys: &dyn ApiKeys) {
    let key = key();
    keys.create(&key).await.unwrap();
    for later in [0, 5_000] {
        assert_eq!(
            keys.revoke(&key.key_id, NOW_MS + later).await.unwrap(),
            Changed::Done
        );
        let stored = keys.get(&key.key_id).await.unwrap().unwrap();
        assert_eq!(
            stored,
            ApiKey {
                revoked_ms: Some(NOW_MS),
                ..key.clone()
            }
        );
    }
    assert_eq!(keys.revoke(&key_id(), NOW_MS).await.unwrap(), Changed::NotFound);
}

/// The hour of the last use is noted; noting it for a key that is gone is no error.
pub async fn use_is_noted(keys: &dyn ApiKeys) {
    let key = key();
    keys.create(&key).await.unwrap();
    for hour_ms in [NOW_MS, NOW_MS, NOW_MS + HOUR_MS] {
        keys.touch(&key.key_id, hour_ms).await.unwrap();
        let stored = keys.get(&key.key_id).await.unwrap().unwrap();
        assert_eq!(
            stored,
            ApiKey {
                last_used_ms: Some(hour_ms),
                ..key.clone()
            }
        );
    }
    let unknown = key_id();
    keys.touch(&unknown, NOW_MS).await.unwrap();
    assert_eq!(keys.get(&unknown).await.unwrap(), None);
}

/// Pages in the order of ids hold every key once.
pub async fn listing_pages_through_every_key(keys: &dyn ApiKeys) {
    let mut made: Vec<ApiKey> = (0..7).map(|_| key()).collect();
    for key in &made {
        keys.create(key).await.unwrap();
    }
    made.sort_by(|a, b| a.key_id.cmp(&b.key_id));
    let mut listed: Vec<ApiKey> = Vec::new();
    loop {
        let page = keys.list(listed.last().map(|key| &key.key_id), 3).await.unwrap();
        assert!(page.len() <= 3);
        if page.is_empty() {
            break;
        }
        listed.extend(page);
    }
    assert!(listed.windows(2).all(|two| two[0].key_id < two[1].key_id));
    listed.retain(|key| made.iter().any(|m| m.key_id == key.key_id));
    assert_eq!(listed, made);
}

/// Makes a test of every case.
#[macro_export]
macro_rules! api_keys_contract {
    ($open:path) => {
        $crate::contract_cases!(
            keys as api_keys,
            $open,
            [
                keys_come_back_whole,
                key_id_is_taken_once,
                revoked_key_stays_revoked,
                use_is_noted,
                listing_pages_through_every_key,
            ]
        );
    };
}
