//! What the services need from the world. Every port owns its types; an adapter translates its database's or its
//! cloud's own. `clickledger-testkit` has one contract suite per port, which every adapter passes.

mod buckets;
mod catalog;
mod claims;
mod clock;
mod error;
mod keys;
mod lake;
mod lanes;
mod quarantine;
mod seals;
mod spill;
mod stream;

pub use buckets::{BucketStore, MinuteTotals};
pub use catalog::{AdCatalog, AdFilter, Changed};
pub use claims::{Claim, ClaimStore, Claimed};
pub use clock::{Clock, Entropy};
pub use error::{PortError, PortResult};
pub use keys::{ApiKeys, TokenKeyMaterial, TokenKeys};
pub use lake::RawLake;
pub use lanes::LaneLog;
pub use quarantine::{Quarantine, Quarantined};
pub use seals::SealStore;
pub use spill::{Spill, Spilled};
pub use stream::{ClickStream, Outgoing, Position, Shard, ShardReader, StreamRecord};
