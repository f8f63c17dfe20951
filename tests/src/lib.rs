//! End to end, simulation and fixtures.
