//! What the pipeline's processes measured of themselves, for operators.

use async_trait::async_trait;

use super::PortResult;

/// How long clicks waited to be counted, over the last minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayMs {
    /// Half of the clicks were counted within this time, milliseconds.
    pub p50: u64,
    /// 99 of 100 were.
    pub p99: u64,
}

/// What was measured. `None`: nothing was lately, or nobody measures it here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Measured {
    /// From click to count.
    pub count_delay_ms: Option<DelayMs>,
    /// For how long the oldest record of the spill has been there, milliseconds; of use where [`Gauges`](super::Gauges) cannot
    /// tell.
    pub spill_age_ms: Option<u64>,
    /// Clicks of the last 24 hours whose record only the last resort took.
    pub last_resort_24h: Option<u64>,
}

/// Asks for what was measured.
#[async_trait]
pub trait Measurements: Send + Sync {
    /// As of this time, Unix milliseconds.
    async fn measured(&self, now_ms: i64) -> PortResult<Measured>;
}
