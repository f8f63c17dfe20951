//! The order in which ports are called.

pub mod aggregate;
pub mod click;
pub mod metrics;
pub mod pump;
