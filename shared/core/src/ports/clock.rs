//! Time and randomness.

use async_trait::async_trait;

/// Now, and waiting.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Unix milliseconds, UTC.
    fn now_ms(&self) -> i64;
    /// Returns after this many milliseconds.
    async fn sleep(&self, ms: u64);
}

/// Random bytes.
pub trait Entropy: Send + Sync {
    /// Fills the buffer with bytes that nobody can predict (in tests: that the seed decides).
    fn fill(&self, bytes: &mut [u8]);
}
