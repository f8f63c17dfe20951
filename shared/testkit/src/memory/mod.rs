//! Every port in memory: no I/O, no waiting, nothing but what the port's contract says, and a view on what is stored.
//!
//! Invariant: a call takes effect at once and whole, when its future is first polled. What makes a store real (waiting,
//! failing, answers that are lost) is in [`crate::faulty`].

mod buckets;
mod catalog;
mod claims;
mod gauges;
mod heartbeats;
mod keys;
mod lake;
mod lake_reader;
mod lanes;
mod quarantine;
mod seals;
mod spill;
mod stream;
mod token_keys;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use buckets::{MemoryBuckets, StoredPartial};
pub use catalog::MemoryCatalog;
pub use claims::MemoryClaims;
pub use gauges::MemoryGauges;
pub use heartbeats::MemoryHeartbeatLog;
pub use keys::MemoryKeys;
pub use lake::MemoryLake;
pub use lake_reader::MemoryLakeReader;
pub use lanes::MemoryLanes;
pub use quarantine::MemoryQuarantine;
pub use seals::MemorySeals;
pub use spill::MemorySpill;
pub use stream::{MemoryStream, StreamOptions};
pub use token_keys::MemoryTokenKeys;

/// What all clones of an adapter hold together.
struct Held<T>(Arc<Mutex<T>>);

impl<T> Held<T> {
    fn new(value: T) -> Self {
        Self(Arc::new(Mutex::new(value)))
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Held<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Default> Default for Held<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for Held<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().fmt(f)
    }
}
