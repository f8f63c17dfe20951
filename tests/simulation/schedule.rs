//! What one schedule does: drawn from its seed, so that some schedules are calm and others are storms.
//!
//! Invariant: a schedule is a function of its seed alone; which rule is broken changes nothing in it.

use clickledger_testkit::sim_rng::SimRng;

/// The unit of a schedule: twelve make an hour. Everything else is a multiple of it.
pub(crate) const UNIT_MS: i64 = 5 * 60_000;
/// L.
pub(crate) const LATE_AFTER_MS: i64 = 2 * UNIT_MS;
/// By how much the lane log reaches further back than L.
pub(crate) const SLACK_MS: i64 = UNIT_MS;
/// By how much arrival times may be off, either way.
pub(crate) const JITTER_MS: i64 = UNIT_MS / 10;
/// Lifetime of a token.
pub(crate) const TOKEN_MS: i64 = 20 * UNIT_MS;
/// Longest that a record may wait in the spill, and to be sealed.
pub(crate) const WAIT_MS: i64 = 600 * UNIT_MS;
/// When users stop.
pub(crate) const CLICKS_MS: i64 = 36 * UNIT_MS;
/// When faults stop on the way from the click to its count, so that every schedule comes to its end.
pub(crate) const CALM_MS: i64 = 50 * UNIT_MS;
/// When they stop for those that seal.
pub(crate) const SEALING_CALM_MS: i64 = 95 * UNIT_MS;
/// How far apart heartbeats are.
pub(crate) const BEAT_MS: i64 = 2 * UNIT_MS;
/// How long an object of the lake is gathered at least: heartbeats that are all acknowledged are closer than that.
pub(crate) const OBJECT_MS: i64 = 3 * UNIT_MS;
/// Hours that are clicked in.
pub(crate) const HOURS: i64 = 3;
/// By how much the click's clock may be off, either way.
pub(crate) const SKEW_MS: i64 = UNIT_MS / 20;

/// From when to when something is down, milliseconds after the start.
pub(crate) type Outage = (i64, i64);

/// How likely each fault is, and what happens when.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    pub(crate) shards: usize,
    /// That a process ends at an await.
    pub(crate) crash: f64,
    /// That a call is refused: stores, and the stream.
    pub(crate) refuse: f64,
    pub(crate) stream_refuse: f64,
    /// That a call was applied and its answer lost.
    pub(crate) lost: f64,
    /// That a call times out and is applied later.
    pub(crate) zombie: f64,
    /// That the spill refuses too.
    pub(crate) spill_refuse: f64,
    /// Longest answer of a port, milliseconds.
    pub(crate) latency_ms: u64,
    pub(crate) stream_down: Outage,
    pub(crate) claims_down: Outage,
    /// Batches are not worked.
    pub(crate) lagging: Outage,
    /// When an impression is first clicked, by which users, and how it goes on.
    pub(crate) impressions: Vec<Showing>,
    /// When a forged click comes, on which ad.
    pub(crate) forged: Vec<(i64, usize)>,
    /// When shards are split or merged.
    pub(crate) reshards: Vec<i64>,
    /// When an ad's fan-out is doubled.
    pub(crate) doublings: Vec<(i64, usize)>,
    /// When a record that is on the stream is put on it once more.
    pub(crate) copies: Vec<(i64, CopyOf)>,
    /// When bytes that are no record are put on the stream.
    pub(crate) garbage: Vec<i64>,
    /// When consumers are put back, and to arrivals of when.
    pub(crate) replay: Option<(i64, i64)>,
    /// By how much the click's clock is off.
    pub(crate) skew_ms: i64,
    pub(crate) sealing: SealingPlan,
}

/// What happens to the lake and to those who seal.
#[derive(Debug, Clone)]
pub(crate) struct SealingPlan {
    /// The hour of the day in which it begins: late in the evening, so that a whole day is sealed, or at midnight.
    pub(crate) first_hour: i64,
    /// Delivered by a Firehose and proved by heartbeats; else delivered by the pump and proved by its position.
    pub(crate) firehose: bool,
    /// That an object is late.
    pub(crate) slow: f64,
    /// Objects that would come in this time come after it.
    pub(crate) lake_down: Outage,
    /// The stores of sealing are down.
    pub(crate) stores_down: Outage,
    /// The lake can't be read.
    pub(crate) reader_down: Outage,
    /// That a run ends at an await.
    pub(crate) crash: f64,
    /// That a call of those who seal fails, in one way or the other.
    pub(crate) fault: f64,
    /// That a call times out and is applied later.
    pub(crate) zombie: f64,
    /// That a run stands still before it flips or rules.
    pub(crate) stall: f64,
    /// When daily runs begin.
    pub(crate) dailies: Vec<i64>,
    /// When all is restated.
    pub(crate) restatements: Vec<i64>,
    /// Hours are closed after this time.
    pub(crate) close_after_ms: i64,
    /// When somebody adds a click to the partials by hand.
    pub(crate) damage: Option<i64>,
}

impl SealingPlan {
    fn draw(rng: &SimRng) -> Self {
        let one_of = |choices: &[f64]| rng.pick(choices).copied().unwrap_or_default();
        let units = |from: f64, to: f64| {
            let (from, to) = ((from * UNIT_MS as f64) as i64, (to * UNIT_MS as f64) as i64);
            rng.between(from, to)
        };
        let outage = |probability: f64, latest: f64, longest: f64| {
            let (from, long) = (units(0.0, latest), units(0.5, longest));
            if rng.chance(probability) {
                (from, from + long)
            } else {
                (0, 0)
            }
        };
        let first = units(16.0, 50.0);
        let mut dailies = vec![first, units(60.0, 84.0)];
        if rng.chance(0.3) {
            dailies.push(first + units(0.0, 3.0));
        }
        Self {
            first_hour: if rng.chance(0.15) { 22 } else { 0 },
            firehose: rng.chance(0.75),
            slow: one_of(&[0.0, 0.1, 0.25]),
            lake_down: outage(0.5, 36.0, 30.0),
            stores_down: outage(0.3, 60.0, 6.0),
            reader_down: outage(0.3, 60.0, 6.0),
            crash: one_of(&[0.0, 0.002, 0.01]),
            fault: one_of(&[0.0, 0.002, 0.01]),
            zombie: one_of(&[0.0, 0.002, 0.01]),
            stall: one_of(&[0.0, 0.1, 0.4]),
            dailies,
            restatements: (0..rng.below(3)).map(|_| units(14.0, 90.0)).collect(),
            close_after_ms: if rng.chance(0.2) {
                units(10.0, 60.0)
            } else {
                1000 * UNIT_MS
            },
            damage: rng.chance(0.1).then(|| units(4.0, 36.0)),
        }
    }
}

/// One impression's clicks.
#[derive(Debug, Clone)]
pub(crate) struct Showing {
    pub(crate) ad: usize,
    pub(crate) prefetches: Vec<i64>,
    pub(crate) clicks: Vec<i64>,
}

/// Which record is put again.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CopyOf {
    /// Any that arrived lately.
    Recent,
    /// One that waits in the spill, just when it is about to be late.
    NearlyLate,
    /// Any.
    Old,
}

pub(crate) const ADS: usize = 4;

impl Schedule {
    pub(crate) fn draw(rng: &SimRng) -> Self {
        let one_of = |choices: &[f64]| rng.pick(choices).copied().unwrap_or_default();
        let units = |from: f64, to: f64| {
            let (from, to) = ((from * UNIT_MS as f64) as i64, (to * UNIT_MS as f64) as i64);
            rng.between(from, to)
        };
        let outage = |probability: f64, longest: f64| {
            let from = units(0.0, 36.0);
            let long = units(0.5, longest);
            if rng.chance(probability) {
                (from, from + long)
            } else {
                (0, 0)
            }
        };
        let stream_down = outage(0.5, 4.0);
        let mut schedule = Self {
            shards: 1 + rng.below(3) as usize,
            crash: one_of(&[0.0, 0.01, 0.03]),
            refuse: one_of(&[0.0, 0.05, 0.2]),
            stream_refuse: one_of(&[0.02, 0.4]),
            lost: one_of(&[0.05, 0.2]),
            zombie: one_of(&[0.0, 0.05, 0.15]),
            spill_refuse: one_of(&[0.05, 0.2]),
            latency_ms: rng.pick(&[0, 20, 400]).copied().unwrap_or_default(),
            stream_down,
            claims_down: outage(0.6, 5.0),
            lagging: outage(0.5, 8.0),
            impressions: Vec::new(),
            forged: Vec::new(),
            reshards: Vec::new(),
            doublings: Vec::new(),
            copies: Vec::new(),
            garbage: Vec::new(),
            replay: None,
            skew_ms: rng.between(-SKEW_MS, SKEW_MS),
            sealing: SealingPlan::draw(&rng.fork()),
        };
        for _ in 0..rng.between(10, 22) {
            let mut at = units(0.0, 30.0);
            let mut showing = Showing {
                ad: rng.below(ADS as u64) as usize,
                prefetches: Vec::new(),
                clicks: Vec::new(),
            };
            for chance in [0.25, 0.1] {
                if rng.chance(chance) {
                    showing.prefetches.push(at);
                }
            }
            let last = CLICKS_MS.min(at + TOKEN_MS - 2 * UNIT_MS);
            while rng.chance(0.85) && at < last {
                showing.clicks.push(at);
                at += match rng.below(3) {
                    0 => units(0.0, 0.3),
                    1 => units(0.0, 3.0),
                    _ => units(0.0, 10.0),
                };
                if rng.chance(0.45) {
                    break;
                }
            }
            schedule.impressions.push(showing);
        }
        let ad = || rng.below(ADS as u64) as usize;
        schedule.forged = (0..rng.below(5)).map(|_| (units(0.0, 36.0), ad())).collect();
        let mut at = if rng.chance(0.5) {
            units(0.0, 36.0)
        } else {
            stream_down.1
        };
        for _ in 0..rng.below(6) {
            schedule.reshards.push(at);
            at += if rng.chance(0.5) {
                units(0.0, 1.5)
            } else {
                units(0.0, 12.0)
            };
        }
        schedule.doublings = (0..rng.below(7)).map(|_| (units(0.0, 36.0), ad())).collect();
        schedule.copies = (0..rng.below(10))
            .map(|_| {
                let of = [CopyOf::Recent, CopyOf::Recent, CopyOf::NearlyLate, CopyOf::Old];
                match rng.pick(&of).copied().unwrap_or(CopyOf::Old) {
                    CopyOf::NearlyLate => (stream_down.0 + units(0.2, 4.0), CopyOf::NearlyLate),
                    of => (units(0.5, 44.0), of),
                }
            })
            .collect();
        schedule.garbage = (0..rng.below(3)).map(|_| units(0.0, 36.0)).collect();
        if rng.chance(0.4) {
            let to = if rng.chance(0.5) { 0 } else { units(0.0, 40.0) };
            schedule.replay = Some((units(5.0, 60.0), to));
        }
        schedule
    }
}
