//! Ids that no other case and no other run uses.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use clickledger_core::domain::ids::{ClickId, ImpressionId};

static NEXT: LazyLock<AtomicU64> =
    LazyLock::new(|| AtomicU64::new(RandomState::new().hash_one("contract") >> 16));

/// A number from 1 on, with `room` numbers after it that are unique too.
pub(super) fn numbers(room: u64) -> u64 {
    NEXT.fetch_add(room + 1, Ordering::Relaxed) + 1
}

/// A number from 1 on.
pub(super) fn number() -> u64 {
    numbers(0)
}

fn random() -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&number().to_be_bytes());
    bytes
}

pub(super) fn click_id() -> ClickId {
    ClickId::new(super::NOW_MS, random())
}

pub(super) fn impression_id() -> ImpressionId {
    ImpressionId::new(super::NOW_MS, random())
}
