//! The lake on S3, read by Athena: proofs, recounts, promotions; and made Parquet.
//!
//! Invariant: the statements are those of `infra/athena`, which run alike on DuckDB; a recount's result is a file that later
//! arrivals don't change, read in order without ever being held whole.

mod clicks;
mod compaction;
mod history;
mod lake;
mod query;
mod rows;
mod sql;

pub use compaction::{Compaction, LakeDay};
pub use lake::AthenaLake;
