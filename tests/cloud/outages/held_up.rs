//! How long the machine keeps those waiting who want to run: on a busy one a promise of one second can be kept and not seen.
//!
//! Invariant: on a machine that has time it says next to nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

/// A thread's sleep; what it takes beyond that and [`USUAL`] it was held up.
const NAP: Duration = Duration::from_millis(2);
const USUAL: Duration = Duration::from_millis(1);

/// Adds up how much too long a thread sleeps that has nothing else to do.
pub(crate) struct HeldUp {
    ended: Arc<AtomicBool>,
    micros: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl HeldUp {
    pub(crate) fn watch() -> Self {
        let (ended, micros) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (told, sum) = (Arc::clone(&ended), Arc::clone(&micros));
        let thread = spawn(move || {
            while !told.load(Ordering::Acquire) {
                let began = Instant::now();
                sleep(NAP);
                let over = began.elapsed().saturating_sub(NAP + USUAL);
                sum.fetch_add(u64::try_from(over.as_micros()).unwrap_or(0), Ordering::AcqRel);
            }
        });
        Self {
            ended,
            micros,
            thread: Some(thread),
        }
    }

    /// Since the start.
    pub(crate) fn so_far(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::Acquire))
    }
}

impl Drop for HeldUp {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
