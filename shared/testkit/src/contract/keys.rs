//! [`ApiKeys`]: made once, revoked for good; sessions begun once, ended for good.

use clickledger_core::domain::api_key::{ApiKey, KeyId, Scope};
use clickledger_core::domain::ids::{AdvertiserId, PlacementId};
use clickledger_core::domain::session::Session;
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

fn session() -> Session {
    Session {
        session_id: key_id(),
        secret_sha256: std::array::from_fn(|i| i as u8 ^ 0x5a),
        key_id: key_id(),
        created_ms: NOW_MS,
        expires_ms: NOW_MS + HOUR_MS,
    }
}

/// Every field; an id that is taken is refused, and the first session stays as it is.
pub async fn sessions_come_back_whole(keys: &dyn ApiKeys) {
    let first = session();
    assert_eq!(keys.session(&first.session_id).await.unwrap(), None);
    assert_eq!(keys.begin_session(&first).await.unwrap(), Changed::Done);
    assert_eq!(
        keys.session(&first.session_id).await.unwrap(),
        Some(first.clone())
    );
    let second = Session {
        session_id: first.session_id.clone(),
        ..session()
    };
    assert_eq!(keys.begin_session(&second).await.unwrap(), Changed::Conflict);
    assert_eq!(keys.session(&first.session_id).await.unwrap(), Some(first));
}

/// An ended session is gone, also for whoever ends it again; others stay. Ending what never was is no error and begins nothing.
pub async fn ended_session_is_gone(keys: &dyn ApiKeys) {
    let (ended, other) = (session(), session());
    for session in [&ended, &other] {
        keys.begin_session(session).await.unwrap();
    }
    for _ in 0..2 {
        keys.end_session(&ended.session_id).await.unwrap();
        assert_eq!(keys.session(&ended.session_id).await.unwrap(), None);
    }
    assert_eq!(
        keys.session(&other.session_id).await.unwrap(),
        Some(other.clone())
    );
    let unknown = key_id();
    keys.end_session(&unknown).await.unwrap();
    assert_eq!(keys.session(&unknown).await.unwrap(), None);
    assert_eq!(keys.get(&unknown).await.unwrap(), None);
}

/// No session is forgotten while it lasts, whenever others begin. That one which is over may go shows in no answer.
pub async fn session_stays_until_it_expires(keys: &dyn ApiKeys) {
    let lasting = session();
    keys.begin_session(&lasting).await.unwrap();
    let later = Session {
        created_ms: lasting.expires_ms - 1,
        expires_ms: lasting.expires_ms + HOUR_MS,
        ..session()
    };
    keys.begin_session(&later).await.unwrap();
    assert_eq!(
        keys.session(&lasting.session_id).await.unwrap(),
        Some(lasting.clone())
    );
    let after = Session {
        created_ms: lasting.expires_ms,
        expires_ms: lasting.expires_ms + 2 * HOUR_MS,
        ..session()
    };
    keys.begin_session(&after).await.unwrap();
    let found = keys.session(&lasting.session_id).await.unwrap();
    assert!(found.is_none_or(|found| found == lasting));
    for session in [later, after] {
        assert_eq!(keys.session(&session.session_id).await.unwrap(), Some(session));
    }
}

/// What asks for a key finds, lists, revokes and touches no session; what asks for a session finds and ends no key.
pub async fn sessions_and_keys_are_never_taken_for_each_other(keys: &dyn ApiKeys) {
    let (key, session) = (key(), session());
    keys.create(&key).await.unwrap();
    keys.begin_session(&session).await.unwrap();
    let id = &session.session_id;
    assert_eq!(keys.get(id).await.unwrap(), None);
    assert_eq!(keys.revoke(id, NOW_MS).await.unwrap(), Changed::NotFound);
    keys.touch(id, NOW_MS).await.unwrap();
    assert_eq!(keys.session(id).await.unwrap(), Some(session.clone()));
    let mut after = None;
    loop {
        let page = keys.list(after.as_ref(), 100).await.unwrap();
        assert!(page.iter().all(|key| key.key_id != *id));
        match page.last() {
            Some(last) => after = Some(last.key_id.clone()),
            None => break,
        }
    }
    assert_eq!(keys.session(&key.key_id).await.unwrap(), None);
    keys.end_session(&key.key_id).await.unwrap();
    assert_eq!(keys.get(&key.key_id).await.unwrap(), Some(key));
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
                sessions_come_back_whole,
                ended_session_is_gone,
                session_stays_until_it_expires,
                sessions_and_keys_are_never_taken_for_each_other,
            ]
        );
    };
}
