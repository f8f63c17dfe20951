//! The system's clock and randomness: the only place where the AWS side reads either.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use clickledger_core::ports::{Clock, Entropy};

/// The wall clock, and tokio's timer.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        // The one reader of the wall clock: everything else asks the port.
        #[allow(clippy::disallowed_methods)]
        let now = SystemTime::now();
        // A clock before 1970 counts as 1970.
        now.duration_since(UNIX_EPOCH)
            .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
    }

    async fn sleep(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

/// The operating system's random bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        if let Err(error) = getrandom::fill(bytes) {
            // Going on with bytes that somebody can guess would let anybody sign impressions.
            tracing::error!(%error, "the operating system has no random bytes");
            std::process::abort();
        }
    }
}

/// A random number below `end`; 0 where `end` is 0.
pub(crate) fn random_below(end: u64) -> u64 {
    let mut bytes = [0; 8];
    SystemEntropy.fill(&mut bytes);
    u64::from_be_bytes(bytes).checked_rem(end).unwrap_or(0)
}
