//! The order in which ports are called.

pub mod metrics;
