//! Contract suites: one file for each port, run against every adapter.
//!
//! A case takes a port and finds it as it is: it uses ids of its own, so that it also runs on a store that other cases (or
//! another run) have written to. An adapter's tests name a function that opens it and let a macro make a test of every case:
//!
//! ```text
//! async fn open() -> (Claims, TempDir) { … }   // the port, and what must live as long as it
//! clickledger_testkit::claim_store_contract!(open);
//! ```
//!
//! Appending to the lake and the quarantine only takes: what they keep is for each adapter's own tests to look at.

// A case fails by panicking: it is a test's body, in a crate that only tests depend on.
#![allow(clippy::unwrap_used)]

pub mod buckets;
pub mod catalog;
pub mod claims;
pub mod gauges;
pub mod heartbeats;
pub mod keys;
pub mod lake_reader;
pub mod lanes;
pub mod leases;
pub mod manifests;
pub mod rulings;
pub mod seal_reports;
pub mod sealed_counts;
pub mod seals;
pub mod spill;
pub mod stream;
pub mod token_keys;

mod unique;

/// 2026-01-02T00:00:00Z in Unix milliseconds: when the cases play.
pub const NOW_MS: i64 = 1_767_312_000_000;

/// One `#[tokio::test]` for each case; the suites' own macros call it.
#[macro_export]
macro_rules! contract_cases {
    ($suite:ident as $module:ident, $open:path, [$($case:ident),* $(,)?]) => {
        mod $module {
            use super::*;
            $(
                #[tokio::test]
                async fn $case() {
                    let (port, _alive) = $open().await;
                    $crate::contract::$suite::$case(&port).await;
                }
            )*
        }
    };
}
