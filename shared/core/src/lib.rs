//! How Clickledger counts.
//!
//! [`domain`] holds what is true without any I/O (ids, tokens, records, buckets, the fold), [`ports`] what the services
//! need from the world, [`service`] the order in which ports are called. Nothing here knows AWS, Lambda, HTTP or SQL.
//!
//! Invariant: a count changes only under the conditions of [`ports::BucketStore`].

pub mod domain;
pub mod metric_names;
pub mod ports;
pub mod service;
