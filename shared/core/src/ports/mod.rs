//! What the services need from the world. Every port owns its types; an adapter translates its database's or its
//! cloud's own. `clickledger-testkit` has one contract suite per port, which every adapter passes.

mod buckets;
mod catalog;
mod claims;
mod clock;
mod error;
mod gauges;
mod heartbeats;
mod keys;
mod lake;
mod lake_reader;
mod lanes;
mod leases;
mod manifests;
mod measurements;
mod quarantine;
mod rulings;
mod seal_reports;
mod sealed_counts;
mod seals;
mod spill;
mod stream;

pub use buckets::{BucketStore, MinuteTotals};
pub use catalog::{
    AdCatalog, AdFilter, AdvertiserAds, CampaignAds, Changed, count_by_advertiser, count_by_campaign,
};
pub use claims::{Claim, ClaimStore, Claimed};
pub use clock::{Clock, Entropy};
pub use error::{PortError, PortResult};
pub use gauges::{Backlog, Gauges};
pub use heartbeats::{BeatenShard, HeartbeatLog, Heartbeats};
pub use keys::{ApiKeys, TokenKeyMaterial, TokenKeys};
pub use lake::RawLake;
pub use lake_reader::{ClickedHour, LakeClick, LakeReader, LakeSlice, Recount, RecountRow};
pub use lanes::LaneLog;
pub use leases::{Job, Lease, Leases};
pub use manifests::Manifests;
pub use measurements::{DelayMs, Measured, Measurements};
pub use quarantine::{Quarantine, Quarantined};
pub use rulings::Rulings;
pub use seal_reports::SealReports;
pub use sealed_counts::{QuarterTotals, SealedCounts, SealedDayTotals, SealedHourTotals};
pub use seals::SealStore;
pub use spill::{Spill, Spilled};
pub use stream::{ClickStream, Outgoing, Position, Shard, ShardReader, StreamRecord};
