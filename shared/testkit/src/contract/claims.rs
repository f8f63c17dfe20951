//! [`ClaimStore`]: one owner for each impression, whoever asks how often.

use clickledger_core::domain::ids::ClickId;
use clickledger_core::ports::{Claim, ClaimStore, Claimed};
use futures_util::future::join_all;

use super::{NOW_MS, unique};

fn claim() -> Claim {
    Claim {
        impression_id: unique::impression_id(),
        click_id: unique::click_id(),
        expires_ms: NOW_MS + 60_000,
    }
}

fn by_another(claim: Claim) -> Claim {
    Claim {
        click_id: unique::click_id(),
        ..claim
    }
}

/// The first who asks has it; later ones are told who.
pub async fn first_click_has_the_impression(store: &dyn ClaimStore) {
    let first = claim();
    assert_eq!(store.claim(first, NOW_MS).await.unwrap(), Claimed::First);
    for _ in 0..2 {
        let later = store.claim(by_another(first), NOW_MS).await.unwrap();
        assert_eq!(later, Claimed::DuplicateOf(first.click_id));
    }
    assert_eq!(
        store.claim(claim(), NOW_MS).await.unwrap(),
        Claimed::First,
        "another impression is another claim"
    );
}

/// Applied, answer lost, retried: also after somebody else was refused.
pub async fn owner_whose_answer_was_lost_is_first_again(store: &dyn ClaimStore) {
    let first = claim();
    store.claim(first, NOW_MS).await.unwrap();
    assert_eq!(store.claim(first, NOW_MS).await.unwrap(), Claimed::First);
    store.claim(by_another(first), NOW_MS).await.unwrap();
    assert_eq!(store.claim(first, NOW_MS + 1).await.unwrap(), Claimed::First);
}

/// Many ask at once: one of them is told `First`, all others the one's id.
pub async fn concurrent_claims_name_one_owner(store: &dyn ClaimStore) {
    let first = claim();
    let claims: Vec<Claim> = (0..32).map(|_| by_another(first)).collect();
    let claimed = join_all(claims.iter().map(|claim| store.claim(*claim, NOW_MS))).await;
    let mut owners: Vec<ClickId> = claims
        .iter()
        .zip(claimed)
        .map(|(claim, claimed)| match claimed.unwrap() {
            Claimed::First => claim.click_id,
            Claimed::DuplicateOf(owner) => {
                assert_ne!(owner, claim.click_id);
                owner
            }
        })
        .collect();
    owners.dedup();
    assert_eq!(owners.len(), 1, "several owners: {owners:?}");
    assert!(claims.iter().any(|claim| claim.click_id == owners[0]));
}

/// A claim that has expired is free, also while the store still keeps it; one that has not is not.
pub async fn expiry_is_compared_on_read(store: &dyn ClaimStore) {
    let first = claim();
    store.claim(first, NOW_MS).await.unwrap();
    let heir = Claim {
        expires_ms: first.expires_ms + 60_000,
        ..by_another(first)
    };
    let refused = store.claim(heir, first.expires_ms - 1).await.unwrap();
    assert_eq!(refused, Claimed::DuplicateOf(first.click_id));
    assert_eq!(
        store.claim(heir, first.expires_ms + 1).await.unwrap(),
        Claimed::First
    );
    let late = store.claim(first, first.expires_ms + 1).await.unwrap();
    assert_eq!(
        late,
        Claimed::DuplicateOf(heir.click_id),
        "the heir has it now, for as long as it said"
    );
}

/// Purging takes nothing that has not expired.
pub async fn purging_leaves_what_has_not_expired(store: &dyn ClaimStore) {
    let lasting = claim();
    store.claim(lasting, NOW_MS).await.unwrap();
    let soon = Claim {
        expires_ms: NOW_MS + 10,
        ..claim()
    };
    store.claim(soon, NOW_MS).await.unwrap();
    store.purge(NOW_MS + 1_000, 1_000).await.unwrap();
    let claimed = store.claim(by_another(lasting), NOW_MS + 1_000).await.unwrap();
    assert_eq!(claimed, Claimed::DuplicateOf(lasting.click_id));
    assert_eq!(
        store.claim(by_another(soon), NOW_MS + 1_000).await.unwrap(),
        Claimed::First
    );
}

/// Makes a test of every case.
#[macro_export]
macro_rules! claim_store_contract {
    ($open:path) => {
        $crate::contract_cases!(
            claims as claim_store,
            $open,
            [
                first_click_has_the_impression,
                owner_whose_answer_was_lost_is_first_again,
                concurrent_claims_name_one_owner,
                expiry_is_compared_on_read,
                purging_leaves_what_has_not_expired,
            ]
        );
    };
}
