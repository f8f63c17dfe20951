//! What the end-to-end suites share: the real server as a process, real functions on a Lambda Runtime API of our own, and a
//! real browser.
//!
//! Invariant: whatever is started here ends with the value that started it, also when a test fails.

#[cfg(feature = "browser")]
pub mod browser;
mod built;
pub mod emulator;
pub mod fault_proxy;
pub mod function;
pub mod http;
pub mod runtime_api;
pub mod server;
pub mod unload;
pub mod walkthrough;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Tries `attempt` until it has a value; fails with `what` when there is none after `limit`.
///
/// # Errors
/// The deadline has passed, or an attempt failed for good.
pub fn until<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = attempt()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("not within {limit:?}: {what}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
