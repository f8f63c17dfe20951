//! How long a claim lives.
//!
//! Invariant: a claim outlives every record that could still ask for its impression: a token is good for its lifetime, a
//! click that came unclaimed just before its end may wait in the spill, and one that was on time is counted L later.

use super::ids::ImpressionId;
use super::mutation::{Broken, Mutation};

/// What a claim has to outlive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimLife {
    /// Lifetime of a token, milliseconds.
    pub token_ms: i64,
    /// Longest time that a click may wait to be counted, milliseconds: in the spill, and on the stream.
    pub wait_ms: i64,
}

impl Default for ClaimLife {
    /// Tokens of 24 h; 14 days is the longest that SQS keeps a message, and one day for what follows it.
    fn default() -> Self {
        Self {
            token_ms: 24 * 3_600_000,
            wait_ms: 15 * 24 * 3_600_000,
        }
    }
}

impl ClaimLife {
    /// When a claim that is made now, for a click of this time, may be forgotten.
    pub fn expires_ms(
        self,
        impression_id: ImpressionId,
        clicked_at_ms: i64,
        now_ms: i64,
        mutation: Mutation,
    ) -> i64 {
        if mutation.is(Broken::ClaimsExpireWithToken) {
            return impression_id.unix_ms() + self.token_ms;
        }
        clicked_at_ms.max(now_ms) + self.token_ms + self.wait_ms
    }
}
