//! The ports on one SQLite file and an hour-partitioned folder of raw clicks.
//!
//! [`Embedded::open`] takes a data folder; its methods give one handle for each port, all of them cheap to clone:
//!
//! | in the folder | holds |
//! | --- | --- |
//! | `clickledger.db` | everything that changes: claims, the stream, partials, lane logs, ads, keys … |
//! | `lake/dt=YYYY-MM-DD/hr=HH/<shard>.ndjson` | every record, under the hour of its arrival |
//! | `lake/dt=…/hr=…/clicks-<number>.parquet` | the same, once the day is sealed and compacted (feature `parquet`) |
//! | `recounts/` | results of recounts, while these are worked on |
//! | `quarantine/dt=YYYY-MM-DD.ndjson` | what can never be counted |
//! | `clickledger.lock` | nothing: whoever has the folder open holds its lock |
//!
//! Every write to the database passes through one thread, which commits whatever is queued as one group with one fsync
//! (module `writer`), partials by way of a log of
//! their own (modules `partials` and `sweep`). Invariant: an `Ok` means on the disk; a failure that is not `Ambiguous` means rolled back.

mod buckets;
mod catalog;
mod checkpoint;
mod claims;
mod failure;
mod gate;
mod gauges;
mod group;
mod hot;
mod hour_row;
mod keys;
mod lake;
mod lake_reader;
mod lanes;
mod lines;
mod open;
mod partial_log;
mod partials;
mod quarantine;
mod queue;
mod readers;
mod schema;
mod seals;
mod segment;
mod shards;
mod spill;
mod store;
mod stream;
mod sweep;
mod system;
mod token_keys;
mod trim;
mod writer;

pub use buckets::Buckets;
pub use catalog::Catalog;
pub use claims::Claims;
pub use gate::CommitGate;
pub use gauges::FolderGauges;
pub use keys::Keys;
pub use lake::Lake;
pub use lake_reader::LakeFolder;
pub use lanes::Lanes;
pub use open::{OpenError, OpenOptions};
pub use quarantine::QuarantineFiles;
pub use seals::Seals;
pub use spill::SpillTable;
pub use store::Embedded;
pub use stream::Stream;
pub use system::{SystemClock, SystemEntropy};
pub use token_keys::TokenKeySafe;
