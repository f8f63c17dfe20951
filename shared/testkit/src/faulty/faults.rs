//! What may go wrong with a port, how often, and what did.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clickledger_core::ports::{Clock, PortError, PortResult};

use crate::sim_rng::SimRng;
use crate::virtual_time::VirtualTime;

/// How often what goes wrong. Probabilities are from 0 to 1, each call draws its fate once: the first four are apart and
/// may add up to 1. Ranges are in milliseconds, both ends included. [`FaultPlan::default`] is calm.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FaultPlan {
    /// Refused before the effect: `Unavailable`.
    pub refuse: f64,
    /// Took effect, but the answer is lost: `Ambiguous`.
    pub lose_answer: f64,
    /// No answer, and the effect comes up to `late_ms` later, also if the caller is gone by then: `Ambiguous`.
    pub late: f64,
    /// No answer, and the effect never comes: `Ambiguous`.
    pub lost: f64,
    /// How much later a late effect may come.
    pub late_ms: u64,
    /// Where the port allows it: takes effect twice, and answers `Ok`; a spilled record is delivered once more.
    pub twice: f64,
    /// A read answers with a part of what it could: batches are cut anew.
    pub short_read: f64,
    /// How long a call takes before its effect.
    pub before_ms: (u64, u64),
    /// How long it takes after its effect.
    pub after_ms: (u64, u64),
    /// How long it takes, instead, until no answer is given up.
    pub timeout_ms: (u64, u64),
    /// From when until when (exclusive; Unix milliseconds) nothing works: half the calls are refused, half never answered.
    pub outages: Vec<(i64, i64)>,
}

/// How often what went wrong so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shown {
    /// Effects that answered.
    pub worked: u64,
    /// Refused before the effect.
    pub refused: u64,
    /// Effects whose answer was lost.
    pub answers_lost: u64,
    /// Effects that came later, or are still to come.
    pub late: u64,
    /// Effects that never come.
    pub lost: u64,
    /// Effects or deliveries that were made twice.
    pub twice: u64,
    /// Reads that were cut short.
    pub short_reads: u64,
}

/// One port's faults. Clones are the same; may be changed while calls are under way.
#[derive(Debug, Clone)]
pub struct Faults {
    time: VirtualTime,
    rng: SimRng,
    state: Arc<Mutex<(FaultPlan, Shown)>>,
}

enum Fate {
    Works,
    Refused,
    AnswerLost,
    Late(u64),
    Lost,
}

impl Faults {
    /// No faults yet, on this time, drawn from this randomness.
    pub fn new(time: VirtualTime, rng: SimRng) -> Self {
        Self {
            time,
            rng,
            state: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, (FaultPlan, Shown)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this may go wrong.
    pub fn set(&self, plan: FaultPlan) {
        self.state().0 = plan;
    }

    /// Changes some of what may go wrong.
    pub fn change(&self, change: impl FnOnce(&mut FaultPlan)) {
        change(&mut self.state().0);
    }

    /// What may go wrong.
    pub fn plan(&self) -> FaultPlan {
        self.state().0.clone()
    }

    /// Ends all faults, outages and waiting. Late effects that are under way still come.
    pub fn calm(&self) {
        self.set(FaultPlan::default());
    }

    /// What went wrong so far.
    pub fn shown(&self) -> Shown {
        self.state().1
    }

    fn fate(&self) -> Fate {
        let mut state = self.state();
        let (plan, shown) = &mut *state;
        let now_ms = self.time.now_ms();
        let is_out = plan
            .outages
            .iter()
            .any(|(from_ms, to_ms)| (*from_ms..*to_ms).contains(&now_ms));
        let (fate, count) = if is_out {
            match self.rng.chance(0.5) {
                true => (Fate::Refused, &mut shown.refused),
                false => (Fate::Lost, &mut shown.lost),
            }
        } else {
            let mut drawn = match plan.refuse + plan.lose_answer + plan.late + plan.lost {
                // Most ports are calm most of the time: nothing to draw then.
                0.0 => f64::INFINITY,
                _ => self.rng.unit(),
            };
            let mut falls_into = |chance: f64| {
                drawn -= chance;
                drawn < 0.0
            };
            if falls_into(plan.refuse) {
                (Fate::Refused, &mut shown.refused)
            } else if falls_into(plan.lose_answer) {
                (Fate::AnswerLost, &mut shown.answers_lost)
            } else if falls_into(plan.late) {
                (
                    Fate::Late(self.rng.below(plan.late_ms.saturating_add(1))),
                    &mut shown.late,
                )
            } else if falls_into(plan.lost) {
                (Fate::Lost, &mut shown.lost)
            } else {
                (Fate::Works, &mut shown.worked)
            }
        };
        *count += 1;
        fate
    }

    async fn wait(&self, range: impl FnOnce(&FaultPlan) -> (u64, u64)) {
        let (least, most) = range(&self.state().0);
        let ms = match most.saturating_sub(least) {
            0 => least,
            span => least + self.rng.below(span.saturating_add(1)),
        };
        match ms {
            0 => self.time.yield_now().await,
            _ => {
                self.time
                    .sleep_until(self.time.now_ms().saturating_add_unsigned(ms))
                    .await;
            }
        }
    }

    /// The way to the store.
    pub(super) async fn before(&self) {
        self.wait(|plan| plan.before_ms).await;
    }

    /// Between two effects of one call: mostly at once, but others may come in between, and a crash; sometimes it takes
    /// as long as the way.
    pub(super) async fn between(&self) {
        match self.rng.below(8) {
            0 => self.before().await,
            _ => self.time.yield_now().await,
        }
    }

    /// The way back, or waiting in vain for an answer.
    pub(super) async fn after(&self, answered: bool) {
        match answered {
            true => self.wait(|plan| plan.after_ms).await,
            false => self.wait(|plan| plan.timeout_ms).await,
        }
    }

    /// Lets the effect have its fate, without waiting.
    pub(super) async fn strike<T, F>(&self, effect: F) -> PortResult<T>
    where
        F: Future<Output = PortResult<T>> + Send + 'static,
    {
        match self.fate() {
            Fate::Works => return effect.await,
            Fate::Refused => return Err(PortError::unavailable("refused, as it was to be")),
            Fate::AnswerLost => drop(effect.await),
            Fate::Late(ms) => {
                let at_ms = self.time.now_ms().saturating_add_unsigned(ms);
                self.time.spawn_at(at_ms, async move {
                    let _nobody_waits = effect.await;
                });
            }
            Fate::Lost => {}
        }
        Err(no_answer())
    }

    /// A call that changes something.
    pub(super) async fn write<T, F>(&self, effect: F) -> PortResult<T>
    where
        F: Future<Output = PortResult<T>> + Send + 'static,
    {
        self.before().await;
        let outcome = self.strike(effect).await;
        self.after(is_answer(&outcome)).await;
        outcome
    }

    /// A call that changes nothing: whether it took effect is the same to everybody.
    pub(super) async fn read<T>(&self, effect: impl Future<Output = PortResult<T>>) -> PortResult<T> {
        self.before().await;
        let outcome = match self.fate() {
            Fate::Works => effect.await,
            Fate::Refused => Err(PortError::unavailable("refused, as it was to be")),
            Fate::AnswerLost | Fate::Late(_) | Fate::Lost => Err(no_answer()),
        };
        self.after(is_answer(&outcome)).await;
        outcome
    }

    /// Whether this effect is made twice.
    pub(super) fn is_twice(&self) -> bool {
        let mut state = self.state();
        let (plan, shown) = &mut *state;
        let twice = self.rng.chance(plan.twice);
        shown.twice += u64::from(twice);
        twice
    }

    /// How many of so many records a read answers with; at least one, if there is any.
    pub(super) fn cut(&self, records: usize) -> usize {
        let mut state = self.state();
        let (plan, shown) = &mut *state;
        if records < 2 || !self.rng.chance(plan.short_read) {
            return records;
        }
        shown.short_reads += 1;
        1 + self.rng.below(records as u64 - 1) as usize
    }

    /// Puts them in any order.
    pub(super) fn shuffle<T>(&self, items: &mut [T]) {
        self.rng.shuffle(items);
    }
}

fn no_answer() -> PortError {
    PortError::ambiguous("no answer, as it was to be")
}

pub(super) fn is_answer<T>(outcome: &PortResult<T>) -> bool {
    !matches!(outcome, Err(PortError::Ambiguous(_)))
}
