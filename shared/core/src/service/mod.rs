//! The order in which ports are called.

pub mod aggregate;
pub mod click;
pub mod key_ring;
pub mod maintenance;
pub mod metrics;
pub mod pump;
pub mod settle;
mod within;
