//! Randomness that a seed decides.
//!
//! Invariant: the same seed and the same calls give the same numbers, on every machine.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clickledger_core::ports::Entropy;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};

/// A seeded random number generator. Clones draw from the same one.
#[derive(Debug, Clone)]
pub struct SimRng {
    random: Arc<Mutex<StdRng>>,
}

/// [`SimRng`] as the port of randomness.
pub type SeededEntropy = SimRng;

impl SimRng {
    /// A generator of this seed.
    pub fn new(seed: u64) -> Self {
        Self {
            random: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))),
        }
    }

    fn random(&self) -> MutexGuard<'_, StdRng> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another generator, whose seed is drawn from this one.
    pub fn fork(&self) -> Self {
        Self::new(self.next_u64())
    }

    /// Any 64 bits.
    pub fn next_u64(&self) -> u64 {
        self.random().next_u64()
    }

    /// A number below `end`; 0, if that is 0.
    pub fn below(&self, end: u64) -> u64 {
        if end == 0 {
            return 0;
        }
        self.random().random_range(0..end)
    }

    /// A number from `first` to `last`, both included; `first`, if they are the wrong way round.
    pub fn between(&self, first: i64, last: i64) -> i64 {
        self.random().random_range(first..=last.max(first))
    }

    /// A number from 0 (included) to 1 (excluded).
    pub fn unit(&self) -> f64 {
        self.random().random()
    }

    /// True with this probability, from 0 to 1. Draws nothing where the answer is certain.
    pub fn chance(&self, probability: f64) -> bool {
        probability > 0.0 && (probability >= 1.0 || self.random().random_bool(probability))
    }

    /// One of them; `None`, if there is none.
    pub fn pick<'a, T>(&self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len() as u64) as usize)
    }

    /// Puts them in any order.
    pub fn shuffle<T>(&self, items: &mut [T]) {
        items.shuffle(&mut *self.random());
    }
}

impl Entropy for SimRng {
    fn fill(&self, bytes: &mut [u8]) {
        self.random().fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(rng: &SimRng) -> (u64, i64, bool, [u8; 5], Vec<u32>) {
        let mut bytes = [0; 5];
        rng.fill(&mut bytes);
        let mut items: Vec<u32> = (0..9).collect();
        rng.shuffle(&mut items);
        (
            rng.below(1_000),
            rng.between(-5, 5),
            rng.chance(0.5),
            bytes,
            items,
        )
    }

    #[test]
    fn seed_decides_everything() {
        let (a, b, other) = (SimRng::new(7), SimRng::new(7), SimRng::new(8));
        assert_eq!(drawn(&a), drawn(&b));
        assert_eq!(drawn(&a.fork()), drawn(&b.fork()));
        assert_ne!(drawn(&a), drawn(&other));
    }

    #[test]
    fn numbers_keep_their_bounds() {
        let rng = SimRng::new(1);
        let mut seen = [false; 3];
        for _ in 0..200 {
            seen[rng.below(3) as usize] = true;
            assert!((-2..=2).contains(&rng.between(-2, 2)));
        }
        assert_eq!(seen, [true; 3]);
        assert_eq!((rng.below(0), rng.between(4, 1)), (0, 4));
        assert!(rng.chance(1.0) && !rng.chance(0.0));
        assert_eq!(rng.pick::<u8>(&[]), None);
        assert_eq!(rng.pick(&[9]), Some(&9));
        let hits = (0..10_000).filter(|_| rng.chance(0.25)).count();
        assert!((2_200..2_800).contains(&hits), "{hits}");
    }
}
