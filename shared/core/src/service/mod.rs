//! The order in which ports are called.

pub mod aggregate;
pub mod metrics;
