//! How long clicks wait to be counted, as seen by the process that counts them.
//!
//! Invariant: only what was counted is measured; what is asked for is of the last minutes, and takes the same memory whatever
//! the traffic.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use hdrhistogram::Histogram;
use serde::Deserialize;

use super::pump::Consumer;
use crate::domain::bucket::ShardId;
use crate::domain::sequence::SequenceNumber;
use crate::domain::time::Minute;
use crate::ports::{Clock, StreamRecord};

/// Minutes that are looked at, the running one included.
const MINUTES: usize = 5;
/// Records of one batch whose delay is measured; each stands for those around it.
const SAMPLES: usize = 16;
/// Longest delay that is told apart, milliseconds: an hour.
const LONGEST_MS: u64 = 3_600_000;

/// The delays of the last minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayMs {
    /// Half of the clicks were counted within this time, milliseconds.
    pub p50: u64,
    /// 99 of 100 were.
    pub p99: u64,
}

/// What was measured in a minute.
type OfMinute = Option<(Minute, Histogram<u64>)>;

/// What was measured; clones share it.
#[derive(Clone, Default)]
pub struct Delays(Arc<Mutex<[OfMinute; MINUTES]>>);

impl Delays {
    /// `times` clicks waited so long, as seen at `now_ms`.
    pub fn record(&self, delay_ms: i64, times: u64, now_ms: i64) {
        let minute = Minute::of(now_ms);
        let mut minutes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = &mut minutes[minute.0.rem_euclid(MINUTES as i64) as usize];
        if place.as_ref().is_none_or(|(of, _)| *of != minute) {
            // Within 1 % up to an hour: some 30 KB.
            *place = Histogram::new_with_bounds(1, LONGEST_MS, 2)
                .ok()
                .map(|new| (minute, new));
        }
        if let Some((_, delays)) = place {
            delays.saturating_record_n(u64::try_from(delay_ms).unwrap_or(0), times);
        }
    }

    /// The delays of the last minutes; `None` where nothing was counted.
    pub fn lately(&self, now_ms: i64) -> Option<DelayMs> {
        let now = Minute::of(now_ms).0;
        let minutes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Option<Histogram<u64>> = None;
        for (minute, delays) in minutes.iter().flatten() {
            if !(now - MINUTES as i64 + 1..=now).contains(&minute.0) {
                continue;
            }
            match &mut all {
                None => all = Some(delays.clone()),
                // They have the same bounds.
                Some(all) => drop(all.add(delays)),
            }
        }
        let all = all.filter(|all| !all.is_empty())?;
        Some(DelayMs {
            p50: all.value_at_quantile(0.5),
            p99: all.value_at_quantile(0.99),
        })
    }
}

/// A consumer whose work is timed.
pub struct Timed {
    consumer: Arc<dyn Consumer>,
    delays: Delays,
    clock: Arc<dyn Clock>,
}

impl Timed {
    /// Times this consumer's work.
    pub fn new(consumer: Arc<dyn Consumer>, delays: Delays, clock: Arc<dyn Clock>) -> Self {
        Self {
            consumer,
            delays,
            clock,
        }
    }
}

#[derive(Deserialize)]
struct Clicked {
    clicked_at_ms: i64,
}

#[async_trait]
impl Consumer for Timed {
    fn name(&self) -> &str {
        self.consumer.name()
    }

    async fn consume(&self, shard: &ShardId, batch: &[StreamRecord]) -> Option<SequenceNumber> {
        let failed = self.consumer.consume(shard, batch).await;
        let now_ms = self.clock.now_ms();
        let done = batch.partition_point(|record| failed.is_none_or(|at| record.sequence_number < at));
        for around in batch[..done].chunks(done.div_ceil(SAMPLES).max(1)) {
            // What is no click was not counted.
            if let Ok(click) = serde_json::from_slice::<Clicked>(&around[around.len() / 2].data) {
                let delay_ms = now_ms - click.clicked_at_ms;
                self.delays.record(delay_ms, around.len() as u64, now_ms);
            }
        }
        failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_last_minutes() {
        let delays = Delays::default();
        assert_eq!(delays.lately(0), None);
        for minute in 0..5 {
            delays.record(100, 50, minute * 60_000);
            delays.record(900, 1, minute * 60_000);
        }
        let found = delays.lately(4 * 60_000).unwrap();
        assert!(
            (99..=101).contains(&found.p50) && (890..=910).contains(&found.p99),
            "{found:?}"
        );
        // The first minutes fall out, one after another; a long delay is told as one.
        delays.record(10_000_000, 1_000, 7 * 60_000);
        let found = delays.lately(7 * 60_000).unwrap();
        assert!((3_500_000..=3_700_000).contains(&found.p50), "{found:?}");
        assert_eq!(delays.lately(12 * 60_000), None);
        // A clock that differs by a little makes no negative delay.
        delays.record(-5, 1, 12 * 60_000);
        assert!(delays.lately(12 * 60_000).unwrap().p99 <= 1);
    }
}
