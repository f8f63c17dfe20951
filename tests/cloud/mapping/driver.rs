//! An event source mapping: what it does between a shard and a function, with all that may go wrong there.
//!
//! The pump reads the shards, parents first, one batch of each at a time, and begins again at the lowest failure. Here a batch
//! becomes a Kinesis event, one of several environments is given it, and its answer is read as a mapping that says
//! `ReportBatchItemFailures` and `BisectBatchOnFunctionError` reads it.
//!
//! Invariant: what a function handed back, did not answer for, or was killed over is never counted as done.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use async_trait::async_trait;
use clickledger_core::domain::bucket::ShardId;
use clickledger_core::domain::sequence::SequenceNumber;
use clickledger_core::ports::StreamRecord;
use clickledger_core::service::pump::{AGGREGATE, Consumer};
use clickledger_testkit::fixtures::{Delivered, kinesis_event};
use clickledger_testkit::sim_rng::SimRng;
use clickledger_tests::function::Function;
use clickledger_tests::runtime_api::Outcome;
use serde_json::Value;

use crate::lock;
use crate::weather::{Broken, Weather};

/// Something that happened to a batch or a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Invocation,
    ColdStart,
    Killed,
    TimedOut,
    HandedBack,
    HandedBackInPart,
    Bisected,
    Redelivered,
    Throttled,
    Stuck,
    BrokeDown,
    Lost,
    Later,
    Silent,
}

const EVENTS: [(Event, &str); 14] = [
    (Event::Invocation, "invocations"),
    (Event::ColdStart, "cold starts"),
    (Event::Killed, "killed"),
    (Event::TimedOut, "timed out"),
    (Event::HandedBack, "handed back"),
    (Event::HandedBackInPart, "handed back in part"),
    (Event::Bisected, "bisected"),
    (Event::Redelivered, "redelivered"),
    (Event::Throttled, "throttled"),
    (Event::Stuck, "refused for long"),
    (Event::BrokeDown, "broke down"),
    (Event::Lost, "answers lost"),
    (Event::Later, "landed late"),
    (Event::Silent, "silent"),
];

/// Counts what happens.
#[derive(Debug, Default)]
pub(crate) struct Tally([AtomicU64; EVENTS.len()]);

impl Tally {
    pub(crate) fn count(&self, event: Event) {
        self.0[event as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn told(&self) -> Told {
        Told(std::array::from_fn(|place| self.0[place].load(Ordering::Relaxed)))
    }
}

/// What happened.
#[derive(Debug, Default)]
pub(crate) struct Told([u64; EVENTS.len()]);

impl Told {
    pub(crate) fn add(&mut self, other: &Told) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, n)| *sum += n);
    }

    /// What never happened.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        EVENTS
            .iter()
            .filter(|(event, _)| self.0[*event as usize] == 0)
            .map(|(_, name)| *name)
            .collect()
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = EVENTS
            .iter()
            .map(|(event, name)| format!("{} {name}", self.0[*event as usize]))
            .collect();
        f.write_str(&words.join(", "))
    }
}

/// How likely the mapping does what: drawn from the seed.
struct Habits {
    kills: f64,
    hurries: f64,
    redelivers: f64,
    bisects: f64,
    waits: f64,
    recycles: f64,
}

/// A mapping of one stream to `aggregate`.
pub(crate) struct Mapping {
    rng: SimRng,
    weather: Arc<Weather>,
    tally: Arc<Tally>,
    broken: Option<Broken>,
    habits: Habits,
    binary: PathBuf,
    environment: Vec<(&'static str, String)>,
    /// Processes, some of which have not been started or were killed.
    environments: Vec<Mutex<Option<Function>>>,
    partition_keys: HashMap<Vec<u8>, String>,
    /// What the function may never do.
    faults: Mutex<Vec<String>>,
}

/// The time that the template gives.
const TIME: Duration = Duration::from_secs(60);

impl Mapping {
    pub(crate) fn new(
        rng: &SimRng,
        weather: Arc<Weather>,
        tally: Arc<Tally>,
        broken: Option<Broken>,
        binary: PathBuf,
        environment: Vec<(&'static str, String)>,
        partition_keys: HashMap<Vec<u8>, String>,
    ) -> Self {
        let one_of = |choices: &[f64]| rng.pick(choices).copied().unwrap_or_default();
        Self {
            weather,
            tally,
            broken,
            habits: Habits {
                kills: one_of(&[0.0, 0.1, 0.25]),
                hurries: one_of(&[0.0, 0.1, 0.25]),
                redelivers: one_of(&[0.05, 0.2]),
                bisects: one_of(&[0.0, 0.1, 0.3]),
                waits: one_of(&[0.0, 0.2]),
                recycles: one_of(&[0.0, 0.05]),
            },
            binary,
            environment,
            environments: (0..rng.between(1, 3)).map(|_| Mutex::default()).collect(),
            partition_keys,
            faults: Mutex::default(),
            rng: rng.fork(),
        }
    }

    /// What the function did that it may never do.
    pub(crate) fn faults(&self) -> Vec<String> {
        lock(&self.faults).clone()
    }

    /// What the processes said last that live.
    pub(crate) fn logs(&self) -> Vec<String> {
        let last = |function: &Function| {
            let lines = function.lines();
            lines[lines.len().saturating_sub(8)..].join("\n")
        };
        let said = |environment: &Mutex<Option<Function>>| lock(environment).as_ref().map(last);
        self.environments.iter().filter_map(said).collect()
    }

    fn storm(&self, probability: f64) -> bool {
        !self.weather.is_calm() && self.rng.chance(probability)
    }

    /// An environment that has nothing to do, any of them.
    fn free(&self) -> MutexGuard<'_, Option<Function>> {
        let first = self.rng.below(self.environments.len() as u64) as usize;
        let (before, from) = self.environments.split_at(first);
        for environment in from.iter().chain(before) {
            match environment.try_lock() {
                Ok(free) => return free,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        lock(&self.environments[first])
    }

    fn event(&self, shard: &ShardId, batch: &[StreamRecord]) -> Vec<u8> {
        let delivered = |record: &StreamRecord| Delivered {
            // As wide as this emulator writes them.
            sequence_number: format!("{:0>30}", record.sequence_number.to_string()),
            arrived_at_ms: record.arrived_at_ms,
            partition_key: self.partition_keys[&record.data].clone(),
            data: record.data.clone(),
        };
        let delivered: Vec<_> = batch.iter().map(delivered).collect();
        kinesis_event(shard, &delivered)
    }

    /// One invocation. `Err` when it failed as a whole.
    fn invoke(&self, shard: &ShardId, batch: &[StreamRecord]) -> Result<Option<SequenceNumber>, ()> {
        if self.storm(self.habits.waits) {
            std::thread::sleep(Duration::from_millis(self.rng.below(200)));
        }
        let mut environment = self.free();
        if self.storm(self.habits.recycles) {
            *environment = None;
        }
        if !environment.as_ref().is_some_and(Function::lives) {
            self.tally.count(Event::ColdStart);
            let variables: Vec<_> = self
                .environment
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            *environment = Some(Function::start(&self.binary, &[], &variables).unwrap());
        }
        let Some(function) = environment.as_ref() else {
            return Err(());
        };
        function.ready().unwrap();
        self.tally.count(Event::Invocation);
        let time = if self.storm(self.habits.hurries) {
            // Far too little, or so little that it is handed back, at once or behind a part.
            Duration::from_millis(match self.rng.below(3) {
                0 => self.rng.below(300) + 10,
                1 => 4_000,
                _ => 5_010 + self.rng.below(300),
            })
        } else {
            TIME
        };
        let pending = function.begin(self.event(shard, batch), time);
        let mut killed = false;
        if self.storm(self.habits.kills) {
            let soon = Duration::from_millis(self.rng.below(250));
            if let Some(outcome) = pending.within(soon) {
                return self.read(function, batch, &outcome, false);
            }
            self.tally.count(Event::Killed);
            function.kill().unwrap();
            killed = true;
        }
        self.read(function, batch, &pending.wait(), killed)
    }

    fn read(
        &self,
        function: &Function,
        batch: &[StreamRecord],
        outcome: &Outcome,
        killed: bool,
    ) -> Result<Option<SequenceNumber>, ()> {
        match outcome {
            Outcome::Answered(answer) => match lowest(answer, batch) {
                Some(failed) => {
                    if let Some(failed) = failed {
                        self.tally.count(match failed == batch[0].sequence_number {
                            true => Event::HandedBack,
                            false => Event::HandedBackInPart,
                        });
                    }
                    Ok(failed)
                }
                None => {
                    let answer = String::from_utf8_lossy(answer);
                    lock(&self.faults).push(format!("not an answer: {answer}"));
                    Err(())
                }
            },
            Outcome::TimedOut => {
                self.tally.count(Event::TimedOut);
                Err(())
            }
            Outcome::Ended if killed => Err(()),
            Outcome::Ended | Outcome::Failed(_) => {
                let log = function.lines();
                let log = log[log.len().saturating_sub(5)..].join("\n");
                lock(&self.faults).push(format!("the function gave up: {outcome:?}\n{log}"));
                Err(())
            }
        }
    }

    /// A batch, perhaps in two halves; the lowest that is not done.
    fn deliver(&self, shard: &ShardId, batch: &[StreamRecord]) -> Option<SequenceNumber> {
        let first = batch.first()?.sequence_number;
        let whole = !self.storm(self.habits.bisects);
        let outcome = if whole { self.invoke(shard, batch) } else { Err(()) };
        let failed = match outcome {
            Ok(failed) => failed,
            // Again in two halves; more than twice a batch is halved only where the function goes on failing.
            Err(()) if batch.len() > 1 && (!whole || self.storm(0.5)) => {
                self.tally.count(Event::Bisected);
                let (one, two) = batch.split_at(batch.len() / 2);
                self.deliver(shard, one).or_else(|| self.deliver(shard, two))
            }
            Err(()) => Some(first),
        };
        if self.broken == Some(Broken::FailuresSkipped) {
            return None;
        }
        failed
    }
}

/// The lowest item that the answer names, as Lambda reads it: none is all done. `None`: not an answer to this batch.
fn lowest(answer: &[u8], batch: &[StreamRecord]) -> Option<Option<SequenceNumber>> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let mut lowest = None;
    for failure in answer.get("batchItemFailures")?.as_array()? {
        let number = SequenceNumber::from_decimal(failure.get("itemIdentifier")?.as_str()?).ok()?;
        if !batch.iter().any(|record| record.sequence_number == number) {
            return None;
        }
        lowest = Some(lowest.map_or(number, |lowest: SequenceNumber| lowest.min(number)));
    }
    Some(lowest)
}

#[async_trait]
impl Consumer for Mapping {
    fn name(&self) -> &str {
        AGGREGATE
    }

    /// Each shard has a thread of its own, so that it may wait here.
    async fn consume(&self, shard: &ShardId, batch: &[StreamRecord]) -> Option<SequenceNumber> {
        let failed = self.deliver(shard, batch);
        if failed.is_none() && self.storm(self.habits.redelivers) {
            // What was done is not noted: all of it comes again, and cut otherwise.
            self.tally.count(Event::Redelivered);
            return batch.first().map(|record| record.sequence_number);
        }
        failed
    }
}

#[test]
fn answers_are_read_as_lambda_reads_them() {
    let batch: Vec<_> = (7..10_u64)
        .map(|number| StreamRecord {
            sequence_number: number.into(),
            arrived_at_ms: 0,
            data: Vec::new(),
        })
        .collect();
    let read = |answer: &str| lowest(answer.as_bytes(), &batch);
    let of = |ids: &[&str]| {
        let items: Vec<_> = ids
            .iter()
            .map(|id| format!(r#"{{"itemIdentifier":"{id}"}}"#))
            .collect();
        format!(r#"{{"batchItemFailures":[{}]}}"#, items.join(","))
    };
    assert_eq!(read(&of(&[])), Some(None));
    assert_eq!(read(&of(&["9", "008"])), Some(Some(8.into())));
    for bad in ["null", "{}", &of(&["6"]), &of(&["x"]), &of(&[""])] {
        assert_eq!(read(bad), None, "{bad}");
    }
}
