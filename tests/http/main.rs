//! The real router over the embedded store: every route, every rule of the edge, and whoever means ill.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test suite: a panic is its way to say no

mod ads;
mod clicks;
mod corrections;
mod counts;
mod dashboard;
mod demo;
mod description;
mod hostile;
mod keys;
mod limits;
mod logs;
mod operations;
mod placements;
mod problems;
mod reconciliations;
mod sessions;
mod sockets;
mod tenants;
mod world;
