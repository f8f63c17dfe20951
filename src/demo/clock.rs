//! The clock of the demo: it stands where it is set, and for a click in the past shows the click's own time.
//!
//! Invariant: time never passes by itself, so that no call runs out of time, whatever the machine is doing.

use std::future::{Future, pending};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use clickledger_core::ports::{Clock, Entropy};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

tokio::task_local! {
    static AT_MS: i64;
}

/// Set by hand.
pub(super) struct DemoClock(AtomicI64);

impl DemoClock {
    pub(super) fn new(now_ms: i64) -> Self {
        Self(AtomicI64::new(now_ms))
    }

    pub(super) fn set(&self, now_ms: i64) {
        self.0.store(now_ms, Ordering::Relaxed);
    }
}

/// Lets `call` see this time.
pub(super) async fn at<F: Future>(at_ms: i64, call: F) -> F::Output {
    AT_MS.scope(at_ms, call).await
}

#[async_trait]
impl Clock for DemoClock {
    fn now_ms(&self) -> i64 {
        AT_MS
            .try_with(|at_ms| *at_ms)
            .unwrap_or_else(|_| self.0.load(Ordering::Relaxed))
    }

    async fn sleep(&self, _ms: u64) {
        pending::<()>().await;
    }
}

/// Ids and draws from the seed. Secrets never come from here.
pub(super) struct SeededEntropy(Mutex<StdRng>);

impl SeededEntropy {
    pub(super) fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut random = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        random.fill_bytes(bytes);
    }
}
