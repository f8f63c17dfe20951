//! How long a call is waited for, and how often it is made again.
//!
//! Invariant: a call never takes longer than its patience in all; once one try may have been applied no later refusal makes
//! the outcome a certain "not done".

use std::future::Future;
use std::time::Duration;

use clickledger_core::ports::{PortError, PortResult};
use tokio::time::{Instant, sleep, timeout};

use crate::system::random_below;

/// The time that a call gets, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For one try.
    pub try_ms: u64,
    /// For all tries and the pauses between them.
    pub total_ms: u64,
    /// The longest first pause; it doubles with each try, and the real one is drawn between nothing and that.
    pub pause_ms: u64,
}

impl Patience {
    /// For work that nobody waits for: batches, queues, administration.
    pub const UNHURRIED: Self = Self {
        try_ms: 2_000,
        total_ms: 10_000,
        pause_ms: 50,
    };

    /// For what a function loads before its first request: long enough for cold connections, short enough that a service that
    /// is down does not hold up the start.
    pub const START: Self = Self {
        try_ms: 1_000,
        total_ms: 2_000,
        pause_ms: 50,
    };
    /// For a click's claim: two tries within the 250 ms that the click service gives.
    pub const CLAIM: Self = Self {
        try_ms: 110,
        total_ms: 235,
        pause_ms: 10,
    };
    /// For a click's record on the stream: two tries within the 350 ms that the click service gives.
    pub const PUBLISH: Self = Self {
        try_ms: 160,
        total_ms: 335,
        pause_ms: 10,
    };
    /// For a click's record in the spill, within the 200 ms that the click service gives.
    pub const SPILL: Self = Self {
        try_ms: 95,
        total_ms: 190,
        pause_ms: 5,
    };
    /// For a click's ad that is not known at all: two tries within the 400 ms that the click service gives.
    pub const CATALOG: Self = Self {
        try_ms: 190,
        total_ms: 385,
        pause_ms: 5,
    };
    /// For a click's ad that is known, though not of late: then what is known has to do.
    pub const CATALOG_KNOWN: Self = Self {
        try_ms: 60,
        total_ms: 120,
        pause_ms: 5,
    };

    /// The same in a shorter time: every number at most `total_ms`.
    #[must_use]
    pub fn within(self, total_ms: u64) -> Self {
        Self {
            try_ms: self.try_ms.min(total_ms),
            total_ms: self.total_ms.min(total_ms),
            pause_ms: self.pause_ms.min(total_ms),
        }
    }

    /// Makes a call until it is done, rejected, or time is up.
    pub(crate) async fn run<T, F>(self, mut call: impl FnMut() -> F) -> PortResult<T>
    where
        F: Future<Output = PortResult<T>>,
    {
        let mut tries = self.begin();
        loop {
            match tries.time(call()).await {
                Ok(done) => return Ok(done),
                Err(error) => tries.pause_after(error).await?,
            }
        }
    }

    /// The same for a call that tells its caller something else when it is made twice: as soon as a try may have been
    /// applied there is no further one.
    pub(crate) async fn run_once<T, F>(self, mut call: impl FnMut() -> F) -> PortResult<T>
    where
        F: Future<Output = PortResult<T>>,
    {
        let mut tries = self.begin();
        loop {
            match tries.time(call()).await {
                Err(error @ PortError::Unavailable(_)) => tries.pause_after(error).await?,
                outcome => return outcome,
            }
        }
    }

    /// Counts tries from now on.
    pub(crate) fn begin(self) -> Tries {
        Tries {
            patience: self,
            until: Instant::now() + Duration::from_millis(self.total_ms),
            pause_ms: self.pause_ms.max(1),
            perhaps_applied: None,
        }
    }
}

/// The tries of one call.
pub(crate) struct Tries {
    patience: Patience,
    until: Instant,
    pause_ms: u64,
    perhaps_applied: Option<PortError>,
}

impl Tries {
    /// One try, within its time.
    pub(crate) async fn time<T>(&self, call: impl Future<Output = PortResult<T>>) -> PortResult<T> {
        let left = self.until.saturating_duration_since(Instant::now());
        let limit = left.min(Duration::from_millis(self.patience.try_ms));
        timeout(limit, call).await.unwrap_or_else(|_| {
            Err(PortError::ambiguous(format!(
                "no answer within {} ms",
                limit.as_millis()
            )))
        })
    }

    /// Waits before another try.
    ///
    /// # Errors
    /// What the call has come to, where another try is no use or has no time.
    pub(crate) async fn pause_after(&mut self, error: PortError) -> PortResult<()> {
        if matches!(error, PortError::Ambiguous(_)) {
            self.perhaps_applied = Some(error.clone());
        }
        let pause = Duration::from_millis(random_below(self.pause_ms + 1));
        // A try that is cut off turns a refusal into doubt: better none.
        let least = Duration::from_millis(self.patience.try_ms / 3);
        if !error.is_retryable() || Instant::now() + pause + least >= self.until {
            return Err(self.perhaps_applied.take().unwrap_or(error));
        }
        sleep(pause).await;
        self.pause_ms = self.pause_ms.saturating_mul(2);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const PATIENCE: Patience = Patience {
        try_ms: 100,
        total_ms: 1_000,
        pause_ms: 10,
    };

    /// Answers with these, one after another, then with the last.
    async fn outcome(patience: Patience, once: bool, answers: &[PortResult<u8>]) -> (PortResult<u8>, usize) {
        let calls = AtomicUsize::new(0);
        let call = || {
            let place = calls.fetch_add(1, Ordering::Relaxed);
            let answer = answers[place.min(answers.len() - 1)].clone();
            async move { answer }
        };
        let outcome = if once {
            patience.run_once(call).await
        } else {
            patience.run(call).await
        };
        (outcome, calls.load(Ordering::Relaxed))
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_made_again_until_it_is_done() {
        let refused = || Err(PortError::unavailable("throttled"));
        let (done, calls) = outcome(
            PATIENCE,
            false,
            &[refused(), Err(PortError::ambiguous("?")), Ok(7)],
        )
        .await;
        assert_eq!((done.unwrap(), calls), (7, 3));
        let (rejected, calls) = outcome(PATIENCE, false, &[Err(PortError::rejected("too large"))]).await;
        assert!(matches!(rejected, Err(PortError::Rejected(_))));
        assert_eq!(calls, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_after_a_lost_answer_leaves_it_unknown() {
        let answers = [
            Err(PortError::ambiguous("lost")),
            Err(PortError::unavailable("throttled")),
        ];
        let (outcome, calls) = outcome(PATIENCE, false, &answers).await;
        assert!(matches!(outcome, Err(PortError::Ambiguous(_))), "{outcome:?}");
        assert!(calls > 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_not_be_made_twice_is_not() {
        let answers = [
            Err(PortError::unavailable("throttled")),
            Err(PortError::ambiguous("lost")),
            Ok(1),
        ];
        let (outcome, calls) = outcome(PATIENCE, true, &answers).await;
        assert!(matches!(outcome, Err(PortError::Ambiguous(_))));
        assert_eq!(calls, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn time_is_up_when_it_was_said() {
        let started = Instant::now();
        let outcome: PortResult<()> = PATIENCE.run(std::future::pending).await;
        assert!(matches!(outcome, Err(PortError::Ambiguous(_))));
        assert!(started.elapsed() <= Duration::from_millis(1_000));
    }
}
