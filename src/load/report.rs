//! What a run found, and whether it is right.
//!
//! Where every click was acknowledged the counts are known exactly. Where some were not, each of those may be counted or
//! not: then a count must lie between what was acknowledged and what was sent.
//! Invariant: a run is right only if every count, of every verdict, is within its bounds.

use std::io::{self, Write};
use std::time::Duration;

use clickledger_core::domain::verdict::Verdict;
use clickledger_core::service::metrics::MetricsTotals;
use hdrhistogram::{CreationError, Histogram};
use serde::Serialize;

use super::clicks::Tally;
use super::watch::Watched;

/// The least and the greatest count that is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Bounds {
    min: u64,
    max: u64,
}

impl Bounds {
    fn missing(self, counted: u64) -> u64 {
        self.min.saturating_sub(counted)
    }

    fn too_many(self, counted: u64) -> u64 {
        counted.saturating_sub(self.max)
    }
}

impl std::fmt::Display for Bounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.min == self.max {
            write!(f, "{}", self.min)
        } else {
            write!(f, "{} to {}", self.min, self.max)
        }
    }
}

/// What the counts must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Expected {
    valid: Bounds,
    duplicate: Bounds,
    bad_token: Bounds,
}

/// What the counts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct Counted {
    valid: u64,
    duplicate: u64,
    bad_token: u64,
    /// Of verdicts that no click of a run should get.
    other: u64,
}

/// Percentiles, milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
struct Percentiles {
    p50: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Percentiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        let ms = |us: u64| us as f64 / 1000.0;
        Self {
            p50: ms(histogram.value_at_quantile(0.5)),
            p99: ms(histogram.value_at_quantile(0.99)),
            p999: ms(histogram.value_at_quantile(0.999)),
            max: ms(histogram.max()),
        }
    }
}

/// How a run was set up.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Setup {
    pub(super) target: String,
    pub(super) advertiser_id: String,
    pub(super) rate_per_s: u32,
    pub(super) duration_s: f64,
    pub(super) repeats_percent: f64,
    pub(super) forged_percent: f64,
    pub(super) ads: usize,
    pub(super) zipf: f64,
    pub(super) connections: usize,
}

/// The whole report; its JSON is what `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    setup: Setup,
    /// Clicks that were sent: `acknowledged + failed`.
    sent: u64,
    /// Answered with the redirect and recorded.
    acknowledged: u64,
    /// Sent and not acknowledged: `refused + unrecorded + unknown`.
    failed: u64,
    /// Answered with something else than the redirect.
    refused: u64,
    /// Redirected, with the word that the click could not be recorded.
    unrecorded: u64,
    /// Not answered: nobody knows whether they count.
    unknown: u64,
    expected: Expected,
    counted: Counted,
    lost: u64,
    counted_twice: u64,
    /// Whether every count is what it must be.
    ok: bool,
    achieved_rate_per_s: f64,
    latency_ms: Percentiles,
    visible_ms: Percentiles,
    /// CPU time of this process while it clicked, seconds.
    client_cpu_s: f64,
}

/// For times of up to an hour, in microseconds, by three digits.
pub(super) fn histogram() -> Result<Histogram<u64>, CreationError> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3)
}

pub(super) fn expected(tally: &Tally) -> Expected {
    let (clicked, clicked_for_sure) = tally.impressions();
    let [genuine_sent, forged_sent] = tally.sent;
    let [genuine_acknowledged, forged_acknowledged] = tally.acknowledged;
    Expected {
        // An impression counts once, however often it was clicked.
        valid: Bounds {
            min: clicked_for_sure,
            max: clicked,
        },
        // Which click of an impression is the valid one is not known, but all others are duplicates.
        duplicate: Bounds {
            min: genuine_acknowledged.saturating_sub(clicked),
            max: genuine_sent - clicked_for_sure,
        },
        bad_token: Bounds {
            min: forged_acknowledged,
            max: forged_sent,
        },
    }
}

pub(super) fn counted(totals: &MetricsTotals) -> Counted {
    let by_verdict = totals.invalid_by_verdict.unwrap_or_default();
    let of = |wanted: Verdict| -> u64 {
        by_verdict
            .iter()
            .filter(|(verdict, _)| *verdict == wanted)
            .map(|(_, count)| count)
            .sum()
    };
    let (duplicate, bad_token) = (of(Verdict::Duplicate), of(Verdict::BadToken));
    Counted {
        valid: totals.clicks.unwrap_or(0),
        duplicate,
        bad_token,
        other: totals
            .invalid_clicks
            .unwrap_or(0)
            .saturating_sub(duplicate + bad_token),
    }
}

/// Clicks lost and clicks counted twice, judged by the gross count and by each verdict: the worst of them.
fn wrong(gross: Bounds, expected: &Expected, counted: &Counted) -> (u64, u64) {
    let all = counted.valid + counted.duplicate + counted.bad_token + counted.other;
    let judged = [
        (gross, all),
        (expected.valid, counted.valid),
        (expected.duplicate, counted.duplicate),
        (expected.bad_token, counted.bad_token),
        (Bounds { min: 0, max: 0 }, counted.other),
    ];
    let worst = |of: fn(Bounds, u64) -> u64| judged.iter().map(|(b, n)| of(*b, *n)).max().unwrap_or(0);
    (worst(Bounds::missing), worst(Bounds::too_many))
}

impl Report {
    pub(super) fn new(
        setup: Setup,
        tally: &Tally,
        watched: &Watched,
        client_cpu: Duration,
    ) -> Result<Self, CreationError> {
        let expected = expected(tally);
        let counted = watched.totals.as_ref().map(counted).unwrap_or_default();
        let gross = Bounds {
            min: tally.all_acknowledged(),
            max: tally.all_sent(),
        };
        let (lost, counted_twice) = wrong(gross, &expected, &counted);
        let took = tally.acknowledged_at.last().map_or(0.0, Duration::as_secs_f64);
        Ok(Self {
            sent: tally.all_sent(),
            acknowledged: tally.all_acknowledged(),
            failed: tally.failed(),
            refused: tally.refused,
            unrecorded: tally.unrecorded,
            unknown: tally.unknown,
            ok: lost == 0 && counted_twice == 0,
            achieved_rate_per_s: if took > 0.0 {
                (tally.all_acknowledged() as f64 / took).round()
            } else {
                0.0
            },
            latency_ms: Percentiles::of(&tally.latency_us),
            visible_ms: Percentiles::of(&watched.delays_us(&tally.acknowledged_at)?),
            client_cpu_s: client_cpu.as_secs_f64(),
            setup,
            expected,
            counted,
            lost,
            counted_twice,
        })
    }

    /// Whether every count is what it must be.
    pub(super) fn ok(&self) -> bool {
        self.ok
    }

    /// For people.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let percentiles = |p: &Percentiles| {
            format!(
                "p50 {:.1} ms, p99 {:.1} ms, p999 {:.1} ms, max {:.1} ms",
                p.p50, p.p99, p.p999, p.max
            )
        };
        let failed = if self.failed == 0 {
            "0".to_owned()
        } else {
            format!(
                "{} ({} refused, {} not recorded, {} without an answer)",
                self.failed, self.refused, self.unrecorded, self.unknown
            )
        };
        let (expected, counted) = (&self.expected, &self.counted);
        let lines = [
            ("advertiser", self.setup.advertiser_id.clone()),
            ("sent", self.sent.to_string()),
            ("acknowledged", self.acknowledged.to_string()),
            ("failed", failed),
            (
                "expected",
                format!(
                    "valid {}, duplicate {}, bad_token {}",
                    expected.valid, expected.duplicate, expected.bad_token
                ),
            ),
            (
                "counted",
                format!(
                    "valid {}, duplicate {}, bad_token {}, other {}",
                    counted.valid, counted.duplicate, counted.bad_token, counted.other
                ),
            ),
            ("lost", self.lost.to_string()),
            ("counted twice", self.counted_twice.to_string()),
            ("rate", format!("{} clicks/s", self.achieved_rate_per_s)),
            ("latency", percentiles(&self.latency_ms)),
            ("visible after", percentiles(&self.visible_ms)),
            ("client CPU", format!("{:.1} s", self.client_cpu_s)),
        ];
        for (name, value) in lines {
            writeln!(out, "{name:>14}  {value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: Expected = Expected {
        valid: Bounds { min: 94, max: 94 },
        duplicate: Bounds { min: 5, max: 5 },
        bad_token: Bounds { min: 1, max: 1 },
    };
    const GROSS: Bounds = Bounds { min: 100, max: 100 };

    fn counts(valid: u64, duplicate: u64, bad_token: u64, other: u64) -> Counted {
        Counted {
            valid,
            duplicate,
            bad_token,
            other,
        }
    }

    #[test]
    fn every_deviation_is_lost_or_counted_twice() {
        assert_eq!(wrong(GROSS, &EXACT, &counts(94, 5, 1, 0)), (0, 0));
        assert_eq!(wrong(GROSS, &EXACT, &counts(91, 5, 1, 0)), (3, 0));
        assert_eq!(wrong(GROSS, &EXACT, &counts(94, 5, 3, 0)), (0, 2));
        // The sum is right, the verdicts are not: a repeat that was counted as valid, a click judged to be a robot's.
        assert_eq!(wrong(GROSS, &EXACT, &counts(95, 4, 1, 0)), (1, 1));
        assert_eq!(wrong(GROSS, &EXACT, &counts(93, 5, 1, 1)), (1, 1));
    }

    #[test]
    fn a_click_of_unknown_fate_may_count_or_not() {
        let expected = Expected {
            valid: Bounds { min: 90, max: 94 },
            duplicate: Bounds { min: 1, max: 9 },
            ..EXACT
        };
        let gross = Bounds { min: 96, max: 100 };
        assert_eq!(wrong(gross, &expected, &counts(91, 5, 1, 0)), (0, 0));
        assert_eq!(wrong(gross, &expected, &counts(89, 9, 1, 0)), (1, 0));
        assert_eq!(wrong(gross, &expected, &counts(95, 4, 1, 0)), (0, 1));
        assert_eq!(wrong(gross, &expected, &counts(90, 4, 1, 0)), (1, 0));
    }
}
