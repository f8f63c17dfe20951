//! What is enough: the arithmetic behind the doctor's findings. The same stands in docs/OPERATIONS.md and in the template's
//! mapping `Peak`.
//!
//! Invariant: pure; whatever it finds too low says what to raise, and to what.

use serde_json::Value;

use super::doctor::Health;

/// Records a second that a shard takes.
const SHARD_RECORDS: u64 = 1_000;
/// How much longer than on average a shard is busy, and room to grow: the template's headroom, in percent.
const HEADROOM: u64 = 150;
/// What a click may take when a store is slow, milliseconds; mostly it takes a tenth of that.
const SLOW_CLICK_MS: u64 = 100;
/// What AWS keeps unreserved for all other functions of an account.
const UNRESERVED: u64 = 100;
/// Seven days.
const RETENTION_HOURS: u64 = 168;
/// 14 days.
const SPILL_SECONDS: u64 = 1_209_600;

/// Whether there is at least as much as is wanted. `what` reads as in "4000 write units/s".
pub(super) fn at_least(found: u64, wanted: u64, what: &str, raise: &str) -> Health {
    if found >= wanted {
        Health::Good(format!("{found} {what}; {wanted} are needed"))
    } else {
        Health::Bad {
            found: format!("{found} {what}; {wanted} are needed"),
            raise: format!("{raise} to {wanted}"),
        }
    }
}

/// Shards for this many clicks/s: as the template has it.
pub(super) fn shards(clicks: u64) -> u64 {
    (clicks * HEADROOM).div_ceil(100 * SHARD_RECORDS).max(1)
}

/// Write units/s of a table that every click may write once.
pub(super) fn writes(clicks: u64) -> u64 {
    (clicks * HEADROOM).div_ceil(100)
}

/// Environments of `click` at once.
pub(super) fn click_concurrency(clicks: u64) -> u64 {
    (clicks * SLOW_CLICK_MS).div_ceil(1_000).max(1)
}

/// Environments of all functions at once.
pub(super) fn account_concurrency(clicks: u64) -> u64 {
    click_concurrency(clicks) + shards(clicks) + UNRESERVED
}

/// Requests/s of the API: clicks, and as many impressions and other requests.
pub(super) fn requests(clicks: u64) -> u64 {
    2 * clicks
}

/// The stream's shards.
pub(super) fn stream(on_demand: bool, open: u64, clicks: u64) -> Health {
    if on_demand {
        return Health::Good(format!(
            "on demand, {open} shards now: it grows by itself, up to twice the recent peak at once"
        ));
    }
    at_least(
        open,
        shards(clicks),
        "shards, each of 1,000 records/s and 1 MB/s",
        "PeakClicksPerSecond, so that the stream grows",
    )
}

/// How long the stream keeps its records.
pub(super) fn retention(hours: u64) -> Health {
    at_least(
        hours,
        RETENTION_HOURS,
        "hours are kept",
        "the stream's RetentionPeriodHours",
    )
}

/// How long the spill keeps its messages.
pub(super) fn spill(seconds: u64) -> Health {
    at_least(
        seconds,
        SPILL_SECONDS,
        "seconds a message is kept",
        "the spill queue's MessageRetentionPeriod",
    )
}

/// What `click` has for itself.
pub(super) fn reserved(found: Option<u64>, clicks: u64) -> Health {
    match found {
        None => Health::Good(
            "none: whatever else runs in the account may take its room (ClickReservedConcurrency)".to_owned(),
        ),
        Some(found) => at_least(
            found,
            click_concurrency(clicks),
            "reserved",
            "ClickReservedConcurrency",
        ),
    }
}

/// Whether nothing waits to be redriven.
pub(super) fn dead_letters(messages: u64) -> Health {
    match messages {
        0 => Health::Good("empty".to_owned()),
        some => Health::Bad {
            found: format!("{some} messages"),
            raise: "find out why, then: clickledger redrive --dead-letters".to_owned(),
        },
    }
}

/// The settings of the stream's mapping that counting rests on.
pub(super) fn mapping(mapping: &Value) -> Health {
    let partial = mapping["FunctionResponseTypes"]
        .as_array()
        .is_some_and(|types| types.iter().any(|kind| kind == "ReportBatchItemFailures"));
    // What is absent is AWS's default.
    let number = |name: &str, default: i64| mapping[name].as_i64().unwrap_or(default);
    let wrong: Vec<String> = [
        (
            number("ParallelizationFactor", 1) == 1,
            "ParallelizationFactor must be 1: records of a shard come in order",
        ),
        (
            mapping["StartingPosition"] == "TRIM_HORIZON",
            "StartingPosition must be TRIM_HORIZON: else records are never counted",
        ),
        (
            number("MaximumRetryAttempts", -1) == -1,
            "MaximumRetryAttempts must be -1: a batch is never given up",
        ),
        (
            number("MaximumRecordAgeInSeconds", -1) == -1,
            "MaximumRecordAgeInSeconds must be -1: a batch is never given up",
        ),
        (
            mapping["BisectBatchOnFunctionError"] == true,
            "BisectBatchOnFunctionError must be true",
        ),
        (partial, "FunctionResponseTypes must hold ReportBatchItemFailures"),
        (
            mapping["State"] == "Enabled",
            "it must be enabled: nothing is counted while it is not",
        ),
    ]
    .into_iter()
    .filter(|(right, _)| !right)
    .map(|(_, wrong)| wrong.to_owned())
    .collect();
    if wrong.is_empty() {
        Health::Good("one batch of a shard at a time, from the horizon, tried until it passes".to_owned())
    } else {
        Health::Bad {
            found: wrong.join("; "),
            raise: "deploy the template again".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good(health: &Health) -> bool {
        matches!(health, Health::Good(_))
    }

    #[test]
    fn a_stack_of_the_template_is_large_enough_for_its_own_peak() {
        // The template's mapping `Peak`: clicks/s, shards, writes/s.
        for (clicks, open, warm) in [
            (500, 1, 4_000),
            (1_000, 2, 4_000),
            (2_500, 4, 4_000),
            (5_000, 8, 7_500),
            (10_000, 15, 15_000),
            (25_000, 38, 37_500),
            (50_000, 75, 75_000),
            (100_000, 150, 150_000),
        ] {
            assert!(good(&stream(false, open, clicks)), "{clicks}");
            assert!(!good(&stream(false, open - 1, clicks)), "{clicks}");
            assert!(good(&stream(true, 1, clicks)), "{clicks}");
            assert!(writes(clicks) <= warm, "{clicks}");
        }
        // samconfig.toml, prod.
        assert!(good(&reserved(Some(300), 2_500)));
        assert!(!good(&reserved(Some(249), 2_500)));
        assert!(good(&reserved(None, 2_500)));
        assert_eq!(account_concurrency(10_000), 1_000 + 15 + 100);
    }

    #[test]
    fn what_is_too_low_says_what_to_raise_and_to_what() {
        let Health::Bad { found, raise } = at_least(10, 300, "at once", "the quota") else {
            panic!("10 are not enough");
        };
        assert_eq!(
            (&*found, &*raise),
            ("10 at once; 300 are needed", "the quota to 300")
        );
        assert!(good(&retention(168)) && !good(&retention(24)));
        assert!(good(&spill(1_209_600)) && !good(&spill(345_600)));
        assert!(good(&dead_letters(0)) && !good(&dead_letters(1)));
    }

    #[test]
    fn a_mapping_that_could_lose_or_reorder_records_is_found() {
        let right = json!({
            "StartingPosition": "TRIM_HORIZON", "ParallelizationFactor": 1, "MaximumRetryAttempts": -1,
            "MaximumRecordAgeInSeconds": -1, "BisectBatchOnFunctionError": true, "State": "Enabled",
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
        });
        assert!(good(&mapping(&right)), "{:?}", mapping(&right));
        for (name, wrong) in [
            ("StartingPosition", json!("LATEST")),
            ("ParallelizationFactor", json!(10)),
            ("MaximumRetryAttempts", json!(3)),
            ("MaximumRecordAgeInSeconds", json!(3600)),
            ("BisectBatchOnFunctionError", json!(false)),
            ("State", json!("Disabled")),
            ("FunctionResponseTypes", json!([])),
        ] {
            let mut changed = right.clone();
            changed[name] = wrong;
            assert!(!good(&mapping(&changed)), "{name}");
        }
        assert!(!good(&mapping(&json!({}))));
    }
}
