//! Logs as JSON, one event a line, and metrics as CloudWatch reads them out of such lines (embedded metric format).
//!
//! Invariant: what is logged or measured holds no address, user agent, key or token.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use metrics_cloudwatch_embedded::{Builder, Collector};
use tracing_subscriber::EnvFilter;

use crate::config;

/// CloudWatch's name space of our metrics, unless another is named.
const NAMESPACE: &str = "Clickledger";
/// Metrics of an environment that is invoked all the time are written this often at most, milliseconds.
const EVERY_MS: u64 = 1000;

/// Writes metrics out, at the end of invocations.
#[derive(Clone, Copy)]
pub struct Telemetry {
    collector: &'static Collector,
}

/// Where CloudWatch keeps our metrics: what `CLICKLEDGER_METRICS_NAMESPACE` says, or else `Clickledger`.
pub fn namespace() -> String {
    config::optional("CLICKLEDGER_METRICS_NAMESPACE").unwrap_or_else(|| NAMESPACE.to_owned())
}

/// Begins logging and measuring; once a process. `service` is the function's directory name; the level is that of
/// `AWS_LAMBDA_LOG_LEVEL`, or else `info`.
///
/// # Errors
/// It has begun already.
pub fn start(service: &'static str) -> io::Result<Telemetry> {
    let level = config::optional("AWS_LAMBDA_LOG_LEVEL").unwrap_or_else(|| "info".to_owned());
    let filter = EnvFilter::try_new(level.to_lowercase()).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(io::stdout)
        .try_init()
        .map_err(io::Error::other)?;
    let collector = Builder::new()
        .cloudwatch_namespace(namespace())
        .with_dimension("service", service)
        .init()
        .map_err(|error| io::Error::other(error.to_string()))?;
    Ok(Telemetry { collector })
}

impl Telemetry {
    /// The invocation is done: writes what has been measured, unless that was done just now.
    pub fn invocation_done(&self) {
        static BEGAN: OnceLock<Instant> = OnceLock::new();
        static LAST_MS: AtomicU64 = AtomicU64::new(0);
        // Milliseconds of a process fit.
        let now_ms = BEGAN.get_or_init(Instant::now).elapsed().as_millis() as u64 + EVERY_MS;
        let last_ms = LAST_MS.load(Ordering::Relaxed);
        if now_ms - last_ms < EVERY_MS
            || LAST_MS
                .compare_exchange(last_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            return;
        }
        self.flush();
    }

    /// Writes what has been measured.
    pub fn flush(&self) {
        if let Err(error) = self.collector.flush(io::stdout().lock()) {
            tracing::warn!(%error, "metrics could not be written");
        }
    }
}
