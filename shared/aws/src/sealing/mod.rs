//! Sealing on DynamoDB: manifests, leases, rulings, reports and heartbeats in one table, sealed counts beside the partials.
//!
//! Invariant: every conditional write whose answer was lost and which is made again ends as its first try did.

mod beats;
mod counts;
mod index;
mod leases;
mod manifests;
mod placements;
mod reports;
mod rulings;
mod table;

use crate::config::{ConfigError, Resource};
use crate::connect::Aws;
use crate::patience::Patience;
use table::Table;

pub use counts::SealedItems;

/// `SealStore`, `Manifests`, `Leases`, `Rulings`, `SealReports` and `HeartbeatLog` on DynamoDB. Cheap to clone.
#[derive(Clone)]
pub struct Hours {
    table: Table,
}

impl Aws {
    /// What is known of hours and days, and of the runs that seal them.
    ///
    /// # Errors
    /// The table's name is missing.
    pub fn hours(&self, patience: Patience) -> Result<Hours, ConfigError> {
        Ok(Hours {
            table: Table {
                client: self.dynamodb(),
                name: self.name(Resource::Hours)?,
                patience,
            },
        })
    }
}
