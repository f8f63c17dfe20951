//! What the functions share: HTTP events for a router ([`http`]), batches ([`batch`]), logs and metrics ([`telemetry`]), settings ([`config`]),
//! work beside invocations ([`upkeep`]).
//!
//! Invariant: nothing in here knows a table, a stream or a service: those are `clickledger-aws` and the core's.

pub mod batch;
pub mod config;
pub mod http;
pub mod telemetry;
pub mod upkeep;

use std::future::Future;
use std::io;

/// Runs a function to its end: on one thread, or on several where the environment is given several invocations at a time
/// (`AWS_LAMBDA_MAX_CONCURRENCY`, Lambda Managed Instances).
///
/// # Errors
/// The runtime's own, and what `main` answers.
pub fn block_on<E: From<io::Error>>(main: impl Future<Output = Result<(), E>>) -> Result<(), E> {
    let concurrent = config::number("AWS_LAMBDA_MAX_CONCURRENCY").is_ok_and(|n| n.is_some_and(|n| n > 1));
    // One invocation at a time needs no second thread, and waking one costs more than what it would do.
    let mut builder = if concurrent {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    builder.enable_all().build()?.block_on(main)
}
