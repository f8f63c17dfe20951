//! Entities: whose clicks a bucket counts.

use std::fmt;
use std::str::FromStr;

use super::ids::{AdId, AdvertiserId, CampaignId, IdError, PlacementId};
use super::time::Minute;

/// Whose clicks are counted. Stored as `a#<ad>`, `c#<campaign>`, `v#<advertiser>`, `p#<placement>` and `t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entity {
    /// One ad.
    Ad(AdId),
    /// One campaign.
    Campaign(CampaignId),
    /// One advertiser.
    Advertiser(AdvertiserId),
    /// One placement.
    Placement(PlacementId),
    /// Every click: the control total.
    Total,
}

impl Entity {
    /// The word for its kind: `ad`, `campaign`, `advertiser`, `placement` or `total`.
    pub fn kind(self) -> &'static str {
        match self {
            Entity::Ad(_) => "ad",
            Entity::Campaign(_) => "campaign",
            Entity::Advertiser(_) => "advertiser",
            Entity::Placement(_) => "placement",
            Entity::Total => "total",
        }
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entity::Ad(id) => write!(f, "a#{id}"),
            Entity::Campaign(id) => write!(f, "c#{id}"),
            Entity::Advertiser(id) => write!(f, "v#{id}"),
            Entity::Placement(id) => write!(f, "p#{id}"),
            Entity::Total => f.write_str("t"),
        }
    }
}

impl FromStr for Entity {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.split_once('#') {
            Some(("a", id)) => id.parse().map(Entity::Ad),
            Some(("c", id)) => id.parse().map(Entity::Campaign),
            Some(("v", id)) => id.parse().map(Entity::Advertiser),
            Some(("p", id)) => id.parse().map(Entity::Placement),
            None if text == "t" => Ok(Entity::Total),
            _ => Err(IdError::NotANumber),
        }
    }
}

/// One bucket: an entity's clicks in one minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketKey {
    /// Whose clicks.
    pub entity: Entity,
    /// In which minute of `clicked_at`.
    pub minute: Minute,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_round_trip() {
        let all = [
            Entity::Ad(AdId(1)),
            Entity::Campaign(CampaignId(2)),
            Entity::Advertiser(AdvertiserId(3)),
            Entity::Placement(PlacementId(4)),
            Entity::Total,
        ];
        for entity in all {
            assert_eq!(entity.to_string().parse(), Ok(entity));
        }
        for bad in ["", "a", "a#", "a#0", "x#1", "t#1", "a#1#2"] {
            assert!(bad.parse::<Entity>().is_err(), "{bad:?}");
        }
    }
}
