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
use crate::ports::{Clock, DelayMs, Measured, Measurements, PortResult, StreamRecord};

/// Minutes that are looked at, the running one included.
const MINUTES: usize = 5;
/// Records of one batch whose delay is measured; each stands for those around it.
const SAMPLES: usize = 16;
/// Longest delay that is told apart, milliseconds: an hour.
const LONGEST_MS: u64 = 3_600_000;

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

/// Of a process that counts itself.
#[async_trait]
impl Measurements for Delays {
    async fn measured(&self, now_ms: i64) -> PortResult<Measured> {
        Ok(Measured {
            count_delay_ms: self.lately(now_ms),
            ..Measured::default()
        })
    }
}

/// How long clicks waited that are counted at `now_ms`, milliseconds: of at most `samples` of these records, each with how many
/// it stands for. What is no click was not counted and is not told.
pub fn sampled<T>(
    counted: &[T],
    samples: usize,
    data: impl Fn(&T) -> &[u8],
    now_ms: i64,
) -> impl Iterator<Item = (i64, u64)> {
    let around = counted.len().div_ceil(samples.max(1)).max(1);
    counted.chunks(around).filter_map(move |around| {
        let click: Clicked = serde_json::from_slice(data(&around[around.len() / 2])).ok()?;
        Some((now_ms - click.clicked_at_ms, around.len() as u64))
    })
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
        for (delay_ms, times) in sampled(&batch[..done], SAMPLES, |record| &record.data, now_ms) {
            self.delays.record(delay_ms, times, now_ms);
        }
        failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_stand_for_those_around_them_and_are_clicks() {
        let lines: Vec<String> = (0..10)
            .map(|at| format!("{{\"clicked_at_ms\":{}}}", at * 10))
            .chain(["{\"heartbeat\":\"x\"}".to_owned()])
            .collect();
        let found = |counted: usize, samples| -> Vec<(i64, u64)> {
            sampled(&lines[..counted], samples, |line| line.as_bytes(), 1_000).collect()
        };
        assert_eq!(found(10, 4), [(990, 3), (960, 3), (930, 3), (910, 1)]);
        assert_eq!(found(2, 4), [(1_000, 1), (990, 1)]);
        assert_eq!(found(11, 11).len(), 10);
        assert_eq!(found(0, 4), []);
    }

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
