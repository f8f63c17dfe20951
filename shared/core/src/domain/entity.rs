//! Entities: whose clicks a bucket counts.

use std::fmt;
use std::str::FromStr;

use super::ids::{AdId, AdvertiserId, CampaignId, IdError, PlacementId};
use super::time::Minute;

/// Whose clicks are counted. Stored as `a#<ad>`, `c#<campaign>`, `v#<advertiser>`, `p#<placement>`, `t` and
/// `v#<advertiser>/p#<placement>`. New kinds come last: what is stored is in this order.
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
    /// An advertiser's clicks that came by one placement. Known of sealed hours and days alone: counted live, they would cost
    /// one more write for every click.
    AdvertiserPlacement(AdvertiserId, PlacementId),
}

impl Entity {
    /// The word for its kind: `ad`, `campaign`, `advertiser`, `placement`, `total` or `advertiser-placement`.
    pub fn kind(self) -> &'static str {
        match self {
            Entity::Ad(_) => "ad",
            Entity::Campaign(_) => "campaign",
            Entity::Advertiser(_) => "advertiser",
            Entity::Placement(_) => "placement",
            Entity::Total => "total",
            Entity::AdvertiserPlacement(..) => "advertiser-placement",
        }
    }

    /// Whether it has partials; else it is in sealed hours and days alone, and no correction is ever recorded for it.
    pub fn is_counted_live(self) -> bool {
        !matches!(self, Entity::AdvertiserPlacement(..))
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
            Entity::AdvertiserPlacement(advertiser, placement) => write!(f, "v#{advertiser}/p#{placement}"),
        }
    }
}

impl FromStr for Entity {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        if let Some((advertiser, placement)) = text.split_once('/') {
            return match (advertiser.parse()?, placement.parse()?) {
                (Entity::Advertiser(advertiser), Entity::Placement(placement)) => {
                    Ok(Entity::AdvertiserPlacement(advertiser, placement))
                }
                _ => Err(IdError::NotANumber),
            };
        }
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
            Entity::AdvertiserPlacement(AdvertiserId(9), PlacementId(5)),
        ];
        assert!(all.is_sorted(), "what is stored is in this order");
        for entity in all {
            assert_eq!(entity.to_string().parse(), Ok(entity));
        }
        for bad in ["", "a", "a#", "a#0", "x#1", "t#1", "a#1#2"] {
            assert!(bad.parse::<Entity>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_pair_is_an_advertiser_and_then_a_placement_and_nothing_else() {
        let pair = Entity::AdvertiserPlacement(AdvertiserId(9), PlacementId(i64::MAX as u64));
        assert_eq!(pair.to_string(), "v#9/p#9223372036854775807");
        assert_eq!(pair.to_string().parse(), Ok(pair));
        assert_eq!(pair.kind(), "advertiser-placement");
        assert!(!pair.is_counted_live() && Entity::Total.is_counted_live());
        for bad in [
            "/",
            "v#9/",
            "/p#5",
            "v#9",
            "p#5/v#9",
            "v#9/v#9",
            "v#9/p#5/",
            "v#9/p#5/p#5",
            "v#9//p#5",
            "v#0/p#5",
            "v#9/p#0",
            "v#09/p#5",
            "v#+9/p#5",
            "v#9 /p#5",
            "v#9/p#5#h",
            "v#9/t",
            "t/p#5",
            "a#9/p#5",
            "v#9/p#9223372036854775808",
        ] {
            assert_ne!(bad.parse(), Ok(pair), "{bad:?}");
            assert!(
                !matches!(bad.parse::<Entity>(), Ok(Entity::AdvertiserPlacement(..))),
                "{bad:?}"
            );
        }
    }
}
