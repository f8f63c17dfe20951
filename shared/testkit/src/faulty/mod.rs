//! Ports that wait, refuse, lose answers and take effect too late: wrappers around any adapter, on virtual time.
//!
//! Invariant: what answers `Unavailable` or `Rejected` had and will have no effect; what answers `Ambiguous` had its
//! effect once, will have it once, or never; what answers `Ok` had it, and (only where the port allows it: the stream, the
//! lake, the quarantine, the spill's deliveries) perhaps twice. Every call waits before its effect and after it, if only
//! for one turn of the executor, so that a crash can fall on either side.

mod buckets;
mod catalog;
mod claims;
mod faults;
mod heartbeats;
mod lake;
mod lake_reader;
mod lanes;
mod manifests;
mod quarantine;
mod sealed;
mod seals;
mod spill;
mod stream;
#[cfg(test)]
mod tests;

pub use buckets::FaultyBuckets;
pub use catalog::FaultyCatalog;
pub use claims::FaultyClaims;
pub use faults::{FaultPlan, Faults, Shown};
pub use heartbeats::{FaultyHeartbeatLog, FaultyHeartbeats};
pub use lake::FaultyLake;
pub use lake_reader::FaultyLakeReader;
pub use lanes::FaultyLanes;
pub use manifests::{FaultyLeases, FaultyManifests, FaultyRulings};
pub use quarantine::FaultyQuarantine;
pub use sealed::{FaultySealReports, FaultySealedCounts};
pub use seals::FaultySeals;
pub use spill::FaultySpill;
pub use stream::{FaultyReader, FaultyStream};

/// A wrapper around one port, with the faults that strike it.
macro_rules! wrapper {
    ($(#[$doc:meta])* $name:ident, $port:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name {
            port: std::sync::Arc<dyn clickledger_core::ports::$port>,
            faults: super::Faults,
        }

        impl $name {
            /// The port under these faults.
            pub fn new(port: std::sync::Arc<dyn clickledger_core::ports::$port>, faults: super::Faults) -> Self {
                Self { port, faults }
            }
        }
    };
}
use wrapper;
