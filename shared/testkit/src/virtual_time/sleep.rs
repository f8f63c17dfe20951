//! Waiting for a virtual time.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use clickledger_core::ports::Clock;

use super::timers::Registered;
use super::{VirtualTime, lock};

/// Waits for a time; see [`VirtualTime::sleep_until`].
pub struct Sleep {
    time: VirtualTime,
    until_ms: i64,
    registered: Option<Registered>,
    yields: bool,
}

impl Sleep {
    /// Ready at this time; with `yields`, only when it is polled again.
    pub(super) fn new(time: VirtualTime, until_ms: i64, yields: bool) -> Self {
        Self {
            time,
            until_ms,
            registered: None,
            yields,
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sleep(until {})", self.until_ms)
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.yields {
            self.yields = false;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.time.now_ms() >= self.until_ms {
            return Poll::Ready(());
        }
        let mut timers = lock(&self.time.shared.timers);
        // Asked again before its time (another branch of a select woke the task): its place among others stays.
        let standing = self.registered.filter(|r| timers.rewake(*r, context.waker()));
        let registered = standing.unwrap_or_else(|| timers.register(self.until_ms, context.waker().clone()));
        drop(timers);
        self.registered = Some(registered);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(registered) = self.registered {
            lock(&self.time.shared.timers).take(registered);
        }
    }
}
