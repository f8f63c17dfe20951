//! Contract suites, builders, manual clock, in-memory and faulty adapters, for tests only.

pub mod contract;
pub mod faulty;
pub mod fixtures;
pub mod memory;
pub mod sim_rng;
pub mod virtual_time;
