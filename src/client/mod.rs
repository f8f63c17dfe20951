//! Client commands: each is one or a few calls of the HTTP API, shown to people or as JSON.
//!
//! Invariant: what `--json` prints is what the API answered, unchanged but for layout.

pub(crate) mod ads;
mod api;
pub(crate) mod keys;
pub(crate) mod metrics;
mod output;
pub(crate) mod placements;
pub(crate) mod problem;
pub(crate) mod reconcile;
