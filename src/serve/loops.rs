//! What goes on beside requests: the pumps, settling, keys, sealing, forgetting.
//!
//! Invariant: a loop ends only when it is told to; whatever fails is tried again, later each time. The pumps stop after
//! everything else, when they have worked what is on the stream.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clickledger_core::metric_names::{PUMP_FAILURES, PUMPED, SETTLED};
use clickledger_core::ports::{Entropy, PortResult, Shard, ShardReader};
use clickledger_core::service::key_ring::KeyRing;
use clickledger_core::service::maintenance::Maintenance;
use clickledger_core::service::pump::{Consumer, Pump};
use clickledger_core::service::settle::Settle;
use clickledger_embedded::SystemEntropy;
use metrics::counter;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::reconcile::Sealing;

/// How long a loop that has nothing to do waits, if nobody wakes it.
const IDLE: Duration = Duration::from_secs(5);
/// How long the pumps may take to empty the stream when the server stops.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Spilled clicks of one round.
const SETTLE_AT_ONCE: usize = 500;

/// Growing pauses between failures, half of each by chance, so that loops that failed together don't return together.
struct Pause(Duration);

impl Pause {
    fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        let mut chance = [0; 1];
        SystemEntropy.fill(&mut chance);
        pause.mul_f64(0.5 + f64::from(chance[0]) / 512.0)
    }
}

/// A consumer of the stream, and how often it takes what has come.
pub(super) struct Pumping {
    pub(super) consumer: Arc<dyn Consumer>,
    /// Records of one batch.
    pub(super) batch: usize,
    /// Least time between two rounds of a shard: batches that are larger cost less.
    pub(super) pace: Duration,
}

/// The running loops.
pub(super) struct Loops {
    services: JoinSet<()>,
    stop_services: watch::Sender<bool>,
    pumps: JoinSet<()>,
    stop_pumps: watch::Sender<bool>,
}

impl Loops {
    /// Starts one task for each consumer and shard.
    pub(super) async fn pump(
        reader: Arc<dyn ShardReader>,
        published: watch::Receiver<u64>,
        consumers: Vec<Pumping>,
    ) -> Result<Self> {
        let (stop_services, _) = watch::channel(false);
        let (stop_pumps, stop) = watch::channel(false);
        let mut pumps = JoinSet::new();
        // Shards come and go only when the folder is opened.
        let shards = reader.shards().await?;
        for Pumping {
            consumer,
            batch,
            pace,
        } in consumers
        {
            let name: Arc<str> = consumer.name().into();
            let pump = Arc::new(Pump::new(Arc::clone(&reader), consumer, batch));
            for shard in &shards {
                let work = Shift {
                    pump: Arc::clone(&pump),
                    name: Arc::clone(&name),
                    shard: shard.clone(),
                    pace,
                    published: published.clone(),
                    stop: stop.clone(),
                };
                pumps.spawn(work.run());
            }
        }
        Ok(Self {
            services: JoinSet::new(),
            stop_services,
            pumps,
            stop_pumps,
        })
    }

    /// Puts spilled clicks back.
    pub(super) fn settle(&mut self, settle: Arc<Settle>) {
        self.every(Duration::from_secs(1), "settling", move || {
            let settle = Arc::clone(&settle);
            async move {
                let settled = settle.round(SETTLE_AT_ONCE).await?;
                counter!(SETTLED).increment(settled.published as u64);
                Ok(settled.published == SETTLE_AT_ONCE)
            }
        });
    }

    /// Takes up token keys that were rotated.
    pub(super) fn refresh(&mut self, keys: Arc<KeyRing>) {
        self.every(Duration::from_secs(60), "loading the token keys", move || {
            let keys = Arc::clone(&keys);
            async move { keys.refresh().await.map(|()| false) }
        });
    }

    /// Forgets what nobody needs any more, step by step.
    pub(super) fn maintain(&mut self, maintenance: Arc<Maintenance>, step: usize) {
        self.every(Duration::from_secs(10), "forgetting", move || {
            let maintenance = Arc::clone(&maintenance);
            async move {
                let forgotten = maintenance.round().await?;
                Ok(forgotten.claims >= step || forgotten.records >= step)
            }
        });
    }

    /// Proves and seals hours and days.
    pub(super) fn seal(&mut self, sealing: Sealing) {
        self.services.spawn(sealing.run(self.stop_services.subscribe()));
    }

    /// Does `work` again and again; at once where it says that there is more.
    fn every<F>(&mut self, period: Duration, what: &'static str, work: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = PortResult<bool>> + Send,
    {
        let mut stop = self.stop_services.subscribe();
        self.services.spawn(async move {
            let mut pause = Pause::new();
            loop {
                let wait = match work().await {
                    // Others write at the same time: leave them room.
                    Ok(true) => FIRST_PAUSE,
                    Ok(false) => {
                        pause = Pause::new();
                        period
                    }
                    Err(error) => {
                        tracing::warn!(%error, "{what} failed");
                        pause.next()
                    }
                };
                tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => return,
                    () = sleep(wait) => {}
                }
            }
        });
    }

    /// Stops: the services first, then the pumps, when the stream is worked or the time for it is over.
    pub(super) async fn stop(mut self) {
        self.stop_services.send_replace(true);
        if timeout(DRAIN_LIMIT, self.services.join_all()).await.is_err() {
            tracing::warn!("a loop did not end in time");
        }
        self.stop_pumps.send_replace(true);
        let pumps = async { while self.pumps.join_next().await.is_some() {} };
        if timeout(DRAIN_LIMIT, pumps).await.is_err() {
            tracing::warn!("some clicks are counted only after the next start");
        }
    }
}

/// One consumer's work on one shard.
struct Shift {
    pump: Arc<Pump>,
    name: Arc<str>,
    shard: Shard,
    pace: Duration,
    published: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
}

impl Shift {
    async fn run(mut self) {
        let name = self.name.to_string();
        let (pumped, failures) = (
            counter!(PUMPED, "consumer" => name.clone()),
            counter!(PUMP_FAILURES, "consumer" => name),
        );
        let mut pause = Pause::new();
        loop {
            let started = Instant::now();
            // What is published after this wakes the wait below.
            self.published.borrow_and_update();
            let stopping = *self.stop.borrow();
            match self.pump.shard(&self.shard).await {
                Ok(round) => {
                    pumped.increment(round.done as u64);
                    if round.failed {
                        failures.increment(1);
                        self.rest(pause.next()).await;
                    } else {
                        pause = Pause::new();
                        if stopping && round.done == 0 {
                            return;
                        }
                        if !round.more && !stopping {
                            self.wait(started + self.pace).await;
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(consumer = %self.name, shard = %self.shard.id, %error, "the stream could not be read");
                    failures.increment(1);
                    self.rest(pause.next()).await;
                }
            }
        }
    }

    /// After a failure: also when stopping, so that a disk that refuses is not asked without pause.
    async fn rest(&self, pause: Duration) {
        sleep(pause).await;
    }

    /// Until something was published, but not before `earliest`.
    async fn wait(&mut self, earliest: Instant) {
        let published = &mut self.published;
        let woken = async {
            sleep_until(earliest).await;
            // The store is gone: only the end can follow.
            let _ = timeout(IDLE, published.changed()).await;
        };
        tokio::select! {
            _ = self.stop.wait_for(|stop| *stop) => {}
            () = woken => {}
        }
    }
}
