//! Ids that no other case and no other run uses.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use clickledger_core::domain::entity::Entity;
use clickledger_core::domain::ids::{AdId, ClickId, ImpressionId};
use clickledger_core::domain::time::Day;

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

/// A UTC day that no other case uses, with 40 days after it that are unique too. Every hour of them fits a click's id.
pub(super) fn day() -> Day {
    Day(20_000 + (numbers(40) % 2_900_000).cast_signed())
}

/// An entity that no other case counts for.
pub(super) fn entity() -> Entity {
    Entity::Ad(AdId(number()))
}
