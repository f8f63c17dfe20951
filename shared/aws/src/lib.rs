//! The ports on AWS: DynamoDB, Kinesis, SQS, S3 and Secrets Manager.
//!
//! [`Aws::in_function`] takes region, credentials and endpoints from the environment, and the resources' names from
//! `CLICKLEDGER_*` variables (module `config`); its methods make one adapter for each port:
//!
//! | port | adapter | on |
//! | --- | --- | --- |
//! | `AdCatalog` | [`Catalog`], with a [`Snapshot`] behind it | DynamoDB, S3 |
//! | `ClaimStore` | [`Claims`] | DynamoDB, by the lean client |
//! | `ClickStream` | [`Stream`] | Kinesis, by the lean client |
//! | `ShardReader` | [`Shards`] | Kinesis |
//! | `BucketStore`, `LaneLog`, `ApiKeys` | [`Buckets`], [`Lanes`], [`Keys`] | DynamoDB |
//! | `SealStore`, `Manifests`, `Leases`, `Rulings`, `SealReports`, `HeartbeatLog` | [`Hours`] | DynamoDB |
//! | `SealedCounts` | [`SealedItems`] | DynamoDB |
//! | `Heartbeats` | [`Beats`] | Kinesis |
//! | `LakeReader` | [`AthenaLake`] | Athena, S3 |
//! | `Spill` | [`SpillQueue`] | SQS |
//! | `Quarantine` | [`QuarantineBucket`] | S3 |
//! | `TokenKeys` | [`TokenSecret`] | Secrets Manager |
//! | `Clock`, `Entropy` | [`SystemClock`], [`SystemEntropy`] | the system |
//!
//! There is no `RawLake` to append to: on AWS Firehose reads the stream and writes the lake.
//!
//! [`ReconcileRuns`] has the function `reconcile` recount past hours.
//!
//! [`Operator`] asks what operators want to know, and no function needs.
//!
//! Invariant: an `Ok` means that AWS has acknowledged it; how failures are told apart is decided in module `failure`, how
//! long anything is waited for in module `patience`.

mod athena;
mod calendar;
mod config;
mod connect;
mod credentials;
mod dynamodb;
mod endpoint;
mod failure;
mod gauges;
mod http_pool;
mod in_function;
mod kinesis_beats;
mod kinesis_shards;
mod kinesis_stream;
mod measurements;
mod operator;
mod patience;
mod plain_secret;
mod quarantine;
mod runs;
mod sealing;
mod signature;
mod signed;
mod snapshot;
mod spill;
mod system;
mod token_keys;

pub use athena::{AthenaLake, Compaction, LakeDay};
pub use config::{ConfigError, Names, Resource};
pub use connect::{Aws, Target};
pub use dynamodb::{Buckets, Catalog, CatalogOptions, Claims, Keys, Lanes};
pub use gauges::StackGauges;
pub use kinesis_beats::Beats;
pub use kinesis_shards::Shards;
pub use kinesis_stream::Stream;
pub use measurements::StackMeasurements;
pub use operator::{Finding, Health, LogLine, LogPage, Operator, Stack, Waiting};
pub use patience::Patience;
pub use quarantine::QuarantineBucket;
pub use runs::ReconcileRuns;
pub use sealing::{Hours, SealedItems};
pub use snapshot::{Snapshot, SnapshotWriter};
pub use spill::{LAST_RESORT_FIELD, SpillQueue};
pub use system::{SystemClock, SystemEntropy};
pub use token_keys::{TokenKeysOptions, TokenSecret};
