//! A click stream for whoever is not in a hurry: it takes so many records a second and no more, so that what is put back
//! crowds out nothing that comes in.
//!
//! Invariant: outcomes are the stream's own, in the records' order; only their time changes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::ports::{ClickStream, Clock, Outgoing, PortError, PortResult};

/// No call waits longer, milliseconds.
const LONGEST_MS: i64 = 10_000;

/// The numbers of a [`Paced`] stream.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Records a second at most.
    pub most_per_s: u32,
    /// Records a second at least, however much is refused.
    pub least_per_s: u32,
    /// By how many records a second it grows with each call of which nothing was refused.
    pub step_per_s: u32,
    /// Records of one call.
    pub call: usize,
}

impl Default for Pace {
    /// A quarter of what a shard takes. The template runs one settler for each 1,000 clicks/s of the peak (two at least), and has
    /// shards for half as many more than the peak: so the settlers leave half of the spare room free.
    fn default() -> Self {
        Self {
            most_per_s: 250,
            least_per_s: 10,
            step_per_s: 25,
            call: 25,
        }
    }
}

/// A [`ClickStream`] at a [`Pace`]: half as fast after a refusal, and faster again little by little.
pub struct Paced {
    stream: Arc<dyn ClickStream>,
    clock: Arc<dyn Clock>,
    pace: Pace,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    per_s: u32,
    /// When the next call may begin, Unix milliseconds.
    next_ms: i64,
}

impl Paced {
    /// This stream at this pace.
    pub fn new(stream: Arc<dyn ClickStream>, clock: Arc<dyn Clock>, pace: Pace) -> Self {
        Self {
            stream,
            clock,
            pace,
            state: Mutex::new(State {
                per_s: pace.most_per_s.max(1),
                next_ms: i64::MIN,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the place of a call of so many records; how long it has to wait, milliseconds.
    fn reserve(&self, records: usize) -> u64 {
        let now_ms = self.clock.now_ms();
        let mut state = self.state();
        let takes_ms = (records as i64 * 1_000).div_euclid(i64::from(state.per_s));
        // A clock that was set back must not stop the work.
        let begins_ms = state.next_ms.clamp(now_ms, now_ms + LONGEST_MS);
        state.next_ms = begins_ms + takes_ms;
        u64::try_from(begins_ms - now_ms).unwrap_or(0)
    }

    fn learn(&self, refused: bool) {
        let Pace {
            most_per_s,
            least_per_s,
            step_per_s,
            ..
        } = self.pace;
        let mut state = self.state();
        let per_s = if refused {
            state.per_s / 2
        } else {
            state.per_s.saturating_add(step_per_s)
        };
        state.per_s = per_s.min(most_per_s).max(least_per_s).max(1);
    }
}

#[async_trait]
impl ClickStream for Paced {
    async fn publish(&self, records: Vec<Outgoing>) -> Vec<PortResult<()>> {
        let mut outcomes = Vec::with_capacity(records.len());
        for call in records.chunks(self.pace.call.max(1)) {
            self.clock.sleep(self.reserve(call.len())).await;
            let put = self.stream.publish(call.to_vec()).await;
            let refused = |outcome: &PortResult<()>| matches!(outcome, Err(PortError::Unavailable(_)));
            self.learn(put.iter().any(refused));
            outcomes.extend(put);
        }
        outcomes
    }
}
