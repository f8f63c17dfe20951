//! How often somebody may do something: so many times a minute, of which all may come at once.
//!
//! Limits are kept by the process alone: several processes (on AWS, several environments of a function) allow each their own.
//!
//! Invariant: whoever has been quiet for a minute has the whole minute's share again, whatever the wall clock did; nobody is
//! remembered longer than that makes a difference.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::Quota;
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::HashMapStateStore;

use crate::ports::Clock;

/// The length of the window that limits are told for, seconds.
pub const WINDOW_S: u32 = 60;
/// After how many questions those who make no difference any more are forgotten.
const SWEEP: u32 = 1_024;

/// How often what may be done, each minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// Requests with one key of an advertiser or a publisher, its sessions' included.
    pub key: NonZeroU32,
    /// The same of an administrator's.
    pub admin: NonZeroU32,
    /// Sign-ins from one client.
    pub sign_ins: NonZeroU32,
}

impl Default for RateLimits {
    /// 600, 60,000 (whoever sets up a catalogue asks a lot), 30.
    fn default() -> Self {
        let of = |number: u32| NonZeroU32::MIN.saturating_add(number - 1);
        Self {
            key: of(600),
            admin: of(60_000),
            sign_ins: of(30),
        }
    }
}

/// What is left to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How many times a minute it may be done.
    pub quota: u32,
    /// How many times it may be done now.
    pub remaining: u32,
    /// In how many seconds all of the quota is there again, if nothing more is done.
    pub reset_s: u32,
}

/// Not now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany {
    /// What is left: nothing.
    pub standing: Standing,
    /// In how many seconds it may be done again, at least 1.
    pub retry_after_s: u32,
}

/// Limits each `K` by itself.
pub struct RateLimiter<K: Hash + Eq + Clone> {
    limiter: governor::RateLimiter<K, HashMapStateStore<K>, Elapsed, StateInformationMiddleware>,
    time: Elapsed,
    quota: NonZeroU32,
    asked: AtomicU32,
}

impl<K: Hash + Eq + Clone> RateLimiter<K> {
    /// So many times a minute, by this clock.
    pub fn per_minute(quota: NonZeroU32, clock: Arc<dyn Clock>) -> Self {
        let time = Elapsed::new(clock);
        Self {
            limiter: governor::RateLimiter::hashmap_with_clock(Quota::per_minute(quota), time.clone())
                .with_middleware(),
            time,
            quota,
            asked: AtomicU32::new(0),
        }
    }

    /// Does it once more, or says how long to wait.
    ///
    /// # Errors
    /// [`TooMany`]
    pub fn check(&self, who: &K) -> Result<Standing, TooMany> {
        if self.asked.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            self.limiter.retain_recent();
        }
        match self.limiter.check_key(who) {
            Ok(left) => Ok(self.standing(left.remaining_burst_capacity())),
            Err(until) => {
                let wait = until.wait_time_from(governor::clock::Clock::now(&self.time));
                let seconds = u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX);
                Err(TooMany {
                    standing: self.standing(0),
                    retry_after_s: seconds.max(1),
                })
            }
        }
    }

    fn standing(&self, remaining: u32) -> Standing {
        let quota = self.quota.get();
        let used = u64::from(quota.saturating_sub(remaining));
        let reset_s = (used * u64::from(WINDOW_S)).div_ceil(u64::from(quota));
        Standing {
            quota,
            remaining,
            reset_s: u32::try_from(reset_s).unwrap_or(WINDOW_S),
        }
    }

    #[cfg(test)]
    fn remembered(&self) -> usize {
        self.limiter.len()
    }
}

/// Time that has passed by a clock that may be put back: then it stands for one look, and goes on.
#[derive(Clone)]
struct Elapsed {
    clock: Arc<dyn Clock>,
    /// What the clock said last, and what had passed then; milliseconds.
    seen: Arc<Mutex<(i64, u64)>>,
}

impl Elapsed {
    fn new(clock: Arc<dyn Clock>) -> Self {
        let seen = Arc::new(Mutex::new((clock.now_ms(), 0)));
        Self { clock, seen }
    }
}

impl governor::clock::Clock for Elapsed {
    type Instant = Duration;

    fn now(&self) -> Duration {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = self.clock.now_ms();
        let more = u64::try_from(now_ms.saturating_sub(seen.0)).unwrap_or(0);
        *seen = (now_ms, seen.1.saturating_add(more));
        Duration::from_millis(seen.1)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI64;

    use async_trait::async_trait;

    use super::*;

    struct Hand(AtomicI64);

    #[async_trait]
    impl Clock for Hand {
        fn now_ms(&self) -> i64 {
            self.0.load(Ordering::Relaxed)
        }
        async fn sleep(&self, _: u64) {}
    }

    fn limiter(quota: u32) -> (RateLimiter<u32>, Arc<Hand>) {
        let hand = Arc::new(Hand(AtomicI64::new(1_767_312_000_000)));
        let quota = NonZeroU32::new(quota).unwrap();
        (RateLimiter::per_minute(quota, hand.clone()), hand)
    }

    #[test]
    fn a_minutes_share_may_come_at_once_and_comes_back_bit_by_bit() {
        let (limiter, hand) = limiter(6);
        for left in (0..6).rev() {
            let standing = limiter.check(&1).unwrap();
            assert_eq!((standing.quota, standing.remaining), (6, left));
            assert_eq!(standing.reset_s, (6 - left) * 10);
        }
        let refused = limiter.check(&1).unwrap_err();
        assert_eq!((refused.retry_after_s, refused.standing.remaining), (10, 0));
        // Another's share is another's.
        assert_eq!(limiter.check(&2).unwrap().remaining, 5);
        hand.0.fetch_add(9_001, Ordering::Relaxed);
        assert_eq!(limiter.check(&1).unwrap_err().retry_after_s, 1);
        hand.0.fetch_add(999, Ordering::Relaxed);
        limiter.check(&1).unwrap();
        limiter.check(&1).unwrap_err();
        hand.0.fetch_add(60_000, Ordering::Relaxed);
        assert_eq!(limiter.check(&1).unwrap().remaining, 5);
    }

    #[test]
    fn a_clock_that_is_put_back_locks_nobody_out() {
        let (limiter, hand) = limiter(6);
        for _ in 0..6 {
            limiter.check(&1).unwrap();
        }
        hand.0.fetch_sub(3_600_000, Ordering::Relaxed);
        assert_eq!(limiter.check(&1).unwrap_err().retry_after_s, 10);
        hand.0.fetch_add(10_000, Ordering::Relaxed);
        limiter.check(&1).unwrap();
    }

    #[test]
    fn whoever_makes_no_difference_is_forgotten() {
        let (limiter, hand) = limiter(60);
        for who in 0..100_000 {
            limiter.check(&who).unwrap();
            hand.0.fetch_add(1, Ordering::Relaxed);
        }
        assert!(limiter.remembered() < 5_000, "{}", limiter.remembered());
    }
}
