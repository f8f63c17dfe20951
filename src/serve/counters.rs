//! What `serve` itself counts, beside the counters of the routes.

/// Records that a consumer of the stream is done with, by label `consumer`.
pub(super) const PUMPED: &str = "pumped_records_total";
/// Rounds of a consumer that failed, by label `consumer`.
pub(super) const PUMP_FAILURES: &str = "pump_failures_total";
/// Spilled clicks that were put back on the stream.
pub(super) const SETTLED: &str = "settled_clicks_total";
/// Open connections.
pub(super) const CONNECTIONS: &str = "connections";
