//! Manifests of hours and days.

use async_trait::async_trait;

use super::PortResult;
use crate::domain::manifest::{DayManifest, Manifest};
use crate::domain::time::{Day, Hour};

/// What readers look at first. Reads are strongly consistent.
#[async_trait]
pub trait Manifests: Send + Sync {
    /// The manifests in `from..to` that are stored, in order. Marks of [`SealStore`](super::SealStore) are in them: an hour
    /// that was only marked has one.
    async fn hours(&self, from: Hour, to: Hour) -> PortResult<Vec<Manifest>>;
    /// The day manifests in `from..to` that are stored, in order.
    async fn days(&self, from: Day, to: Day) -> PortResult<Vec<DayManifest>>;
    /// Puts `new` in the place of what is stored, if that still has the revision of `new` (0: nothing flipped yet); its
    /// revision is one higher then. The stored marks stay. Where the version changes, or the hour comes into dispute
    /// ([`Manifest::sets_day_aside`]), the day's `version` becomes 0 and its `generation` rises in the same step. `true` also where an earlier try of this very call was applied.
    async fn flip(&self, new: &Manifest) -> PortResult<bool>;
    /// Makes `version` the day's, if its stored generation still is `generation` (0: nothing stored) and its version is not
    /// a higher one: whoever flipped that may have forgotten the items of this one. `true` also where it is so already.
    async fn flip_day(&self, day: Day, generation: u64, version: u64) -> PortResult<bool>;
}
