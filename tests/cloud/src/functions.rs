//! The functions' executables, as cargo has put them beside the test that asks.
//!
//! Invariant: they are those of the profile that the test was built in, and no older than their sources; none is built here.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clickledger_tests::function::binary;

/// Every function of the template.
pub const ALL: [&str; 7] = [
    "aggregate",
    "click",
    "maintain",
    "placement",
    "query",
    "reconcile",
    "settle",
];

/// The folder that holds all of them.
///
/// # Errors
/// One is missing or older than its sources; with the command that builds them.
pub fn folder() -> Result<PathBuf> {
    let mut folder = PathBuf::new();
    for name in ALL {
        let executable = binary(name).context("all functions: `scripts/functions PROFILE` (ci, or dev)")?;
        folder = executable
            .parent()
            .context("an executable lies in a folder")?
            .to_owned();
    }
    Ok(folder)
}
