//! The template on paper: what an emulator ignores or cannot show is held here. That it deploys and works is tried on the
//! emulator.
//!
//! Each fact stands in the template once and here once more, as what it must be and why money depends on it.

#![allow(clippy::unwrap_used, clippy::panic)] // a test suite: a panic is its way to say no

mod cloudformation;
mod policies;
mod resources;
mod routes;
mod stages;
#[allow(dead_code)] // shared with the HTTP suite, which uses all of it
#[path = "../http/world.rs"]
mod world;
