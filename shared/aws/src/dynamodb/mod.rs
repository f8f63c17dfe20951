//! DynamoDB: one file for each table. `docs/DATA_MODEL.md` has the keys and attributes.

mod ads;
mod buckets;
mod cached;
mod catalog;
mod claims;
mod conditional;
pub(crate) mod item;
mod keys;
mod lanes;
pub(crate) mod pages;
mod placements;

pub use buckets::Buckets;
pub use catalog::{Catalog, CatalogOptions};
pub use claims::Claims;
pub use keys::Keys;
pub use lanes::Lanes;

pub(crate) use ads::all as all_ads;
