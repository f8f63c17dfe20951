//! The name of every metric that Clickledger writes: on AWS in CloudWatch's embedded metric format, in `serve` for Prometheus.
//!
//! Invariant: names stand here and nowhere else; `infra/monitoring.yaml` knows no other of ours (a test holds it to that).

/// Clicks on known ads, by label `verdict`.
pub const CLICKS: &str = "clicks_total";
/// Clicks that were redirected though no store took their record.
pub const CLICKS_UNRECORDED: &str = "clicks_unrecorded_total";
/// Clicks whose record waits in the spill.
pub const CLICKS_SPILLED: &str = "clicks_spilled_total";
/// Clicks whose record only the last resort took.
pub const CLICKS_LAST_RESORT: &str = "clicks_last_resort_total";
/// Clicks that led nowhere, by label `reason`: `invalid`, `unknown_ad`, `unavailable`.
pub const CLICKS_REFUSED: &str = "clicks_refused_total";
/// Impressions that were issued.
pub const IMPRESSIONS: &str = "impressions_total";

/// Spilled clicks that were put back on the stream.
pub const SETTLED: &str = "settled_clicks_total";
/// Records and deltas that could not be counted.
pub const QUARANTINED: &str = "quarantined_total";
/// Histogram: milliseconds from click to count, of up to four clicks of each batch of `aggregate`.
pub const COUNT_DELAY: &str = "count_delay_ms";
/// Records that a consumer of the stream is done with, by label `consumer`.
pub const PUMPED: &str = "pumped_records_total";
/// Rounds of a consumer that failed, by label `consumer`.
pub const PUMP_FAILURES: &str = "pump_failures_total";
/// Gauge: open connections of `serve`.
pub const CONNECTIONS: &str = "connections";

/// Histogram: by how many clicks an hour's live count was off when it was sealed.
pub const DRIFT: &str = "reconcile_drift_clicks";
/// Gauge: seconds since the end of the last hour up to which all are sealed.
pub const SEAL_AGE: &str = "reconcile_seal_age_seconds";
/// Gauge: seconds since the cut of the last daily run that was done.
pub const DAILY_AGE: &str = "reconcile_daily_age_seconds";
/// Gauge: hours that are disputed.
pub const DISPUTED: &str = "reconcile_disputed_hours";
/// Hours that were looked at, by label `outcome`.
pub const HOURS: &str = "reconcile_hours";

/// Requests that API Gateway turned away; counted on AWS from its access log.
pub const TOO_MANY_REQUESTS: &str = "too_many_requests_total";
/// Records in the last-resort log; counted on AWS from the log itself, which no other way can lose.
pub const LAST_RESORT_RECORDS: &str = "last_resort_records_total";
