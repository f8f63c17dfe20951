//! The order in which ports are called.

pub mod ads;
pub mod aggregate;
pub mod click;
pub mod delays;
pub mod impressions;
pub mod key_ring;
pub mod keys;
pub mod maintenance;
pub mod metrics;
pub mod operations;
pub mod paced;
pub mod placements;
pub mod pump;
pub mod rate_limit;
pub mod reconcile;
pub mod reconciliations;
pub mod settle;
mod within;
