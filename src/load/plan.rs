//! What is clicked, in which order: decided before the clock starts, by a seed.
//!
//! Invariant: a repeat or a forgery refers only to an impression that was clicked before it.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Repeats are of impressions that were clicked lately, as double clicks are.
const LATELY: u32 = 10_000;

/// One click. The number is the impression's place in the order of fetching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Click {
    /// The first of its impression.
    Fresh(u32),
    /// One more of an impression that was clicked.
    Repeat(u32),
    /// With that impression's token, one character changed.
    Forged(u32),
}

/// All clicks of a run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) clicks: Vec<Click>,
    /// How many impressions they need.
    pub(super) impressions: u32,
}

impl Plan {
    /// `count` clicks; the shares are from 0 to 1.
    pub(super) fn new(count: usize, repeats: f64, forged: f64, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut clicks = Vec::with_capacity(count);
        let mut impressions = 0_u32;
        for _ in 0..count {
            let draw: f64 = random.random();
            let click = if impressions == 0 || draw >= repeats + forged {
                impressions += 1;
                Click::Fresh(impressions - 1)
            } else {
                let of = random.random_range(impressions.saturating_sub(LATELY)..impressions);
                if draw < repeats {
                    Click::Repeat(of)
                } else {
                    Click::Forged(of)
                }
            };
            clicks.push(click);
        }
        Self { clicks, impressions }
    }
}

/// Ads in slots of up to 50, the n-th ad with weight 1/n^s: the Zipf distribution.
#[derive(Debug)]
pub(super) struct Popularity {
    /// Sums of the slots' weights up to and with each slot.
    sums: Vec<f64>,
    ads: usize,
    exponent: f64,
}

impl Popularity {
    /// Most ads in one slot.
    pub(super) const SLOT: usize = clickledger_core::domain::ad::MAX_SLOT_ENTRIES;

    pub(super) fn new(ads: usize, exponent: f64) -> Self {
        let mut sums = Vec::with_capacity(ads.div_ceil(Self::SLOT));
        let mut sum = 0.0;
        for first in (0..ads).step_by(Self::SLOT) {
            sum += (first..ads.min(first + Self::SLOT))
                .map(|ad| weight(ad, exponent))
                .sum::<f64>();
            sums.push(sum);
        }
        Self { sums, ads, exponent }
    }

    /// How many slots there are.
    pub(super) fn slots(&self) -> usize {
        self.sums.len()
    }

    /// The ads of a slot, by number, with whole weights whose ratios are the distribution's.
    pub(super) fn entries(&self, slot: usize) -> impl Iterator<Item = (usize, u32)> + '_ {
        let first = slot * Self::SLOT;
        let greatest = weight(first, self.exponent);
        let most = f64::from(clickledger_core::domain::ad::MAX_WEIGHT);
        (first..self.ads.min(first + Self::SLOT)).map(move |ad| {
            let share = weight(ad, self.exponent) / greatest * most;
            (ad, (share.round() as u32).max(1))
        })
    }

    /// A slot, chosen as often as its ads' weights say.
    pub(super) fn draw(&self, random: &mut StdRng) -> usize {
        let total = self.sums.last().copied().unwrap_or_default();
        let draw = random.random::<f64>() * total;
        self.sums
            .partition_point(|sum| *sum <= draw)
            .min(self.sums.len() - 1)
    }
}

fn weight(ad: usize, exponent: f64) -> f64 {
    ((ad + 1) as f64).powf(-exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_kept_and_references_point_back() {
        let plan = Plan::new(100_000, 0.05, 0.01, 7);
        let (mut fresh, mut repeats, mut forged) = (0_u32, 0, 0);
        for click in &plan.clicks {
            match click {
                Click::Fresh(n) => {
                    assert_eq!(*n, fresh);
                    fresh += 1;
                }
                Click::Repeat(n) => {
                    assert!(*n < fresh && *n + LATELY >= fresh);
                    repeats += 1;
                }
                Click::Forged(n) => {
                    assert!(*n < fresh);
                    forged += 1;
                }
            }
        }
        assert_eq!(fresh, plan.impressions);
        assert!((4_700..5_300).contains(&repeats), "{repeats}");
        assert!((850..1_150).contains(&forged), "{forged}");
    }

    #[test]
    fn slots_are_drawn_by_their_weight() {
        let popularity = Popularity::new(120, 1.1);
        assert_eq!(popularity.slots(), 3);
        assert_eq!(popularity.entries(2).count(), 20);
        assert_eq!(popularity.entries(0).next(), Some((0, 1_000_000)));
        let mut random = StdRng::seed_from_u64(1);
        let mut drawn = [0_u32; 3];
        for _ in 0..100_000 {
            drawn[popularity.draw(&mut random)] += 1;
        }
        let total: f64 = (0..120).map(|ad| weight(ad, 1.1)).sum();
        for (slot, drawn) in drawn.into_iter().enumerate() {
            let share: f64 = (slot * 50..120.min(slot * 50 + 50))
                .map(|ad| weight(ad, 1.1))
                .sum();
            assert!((f64::from(drawn) / 1e5 - share / total).abs() < 0.01, "{slot}");
        }
    }
}
