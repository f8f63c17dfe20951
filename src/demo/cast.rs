//! Who is in the demo: advertisers with their campaigns and ads, publishers with their slots, and where readers live.
//!
//! Invariant: every name is made up, every address is in `.example`; an ad's weight and a slot's share are never zero.

/// An advertiser.
pub(super) struct Advertiser {
    pub(super) id: u64,
    pub(super) campaigns: &'static [Campaign],
}

/// A campaign, and when it runs.
pub(super) struct Campaign {
    pub(super) id: u64,
    /// From which share of the time on its ads are shown.
    pub(super) starts: f64,
    /// From which share on they are paused; 1: never.
    pub(super) pauses: f64,
    pub(super) ads: &'static [Ad],
}

/// An ad.
pub(super) struct Ad {
    pub(super) title: &'static str,
    pub(super) url: &'static str,
    /// How often it is shown, beside the others.
    pub(super) weight: u32,
}

const fn ad(title: &'static str, url: &'static str, weight: u32) -> Ad {
    Ad { title, url, weight }
}

const fn always(id: u64, ads: &'static [Ad]) -> Campaign {
    Campaign {
        id,
        starts: 0.0,
        pauses: 1.0,
        ads,
    }
}

/// The advertiser whose key is printed: it has the hot ad, and a campaign that starts and one that pauses.
pub(super) const MAIN_ADVERTISER: u64 = 101;
/// The title of the ad that grows hot.
pub(super) const HOT_AD: &str = "Night ferry to the light festival";

pub(super) const ADVERTISERS: &[Advertiser] = &[
    Advertiser {
        id: MAIN_ADVERTISER,
        campaigns: &[
            always(
                1011,
                &[
                    ad(
                        "Across the sound in forty minutes",
                        "https://ferries.example/sound",
                        90,
                    ),
                    ad(
                        "Bring the car, leave the motorway",
                        "https://ferries.example/car",
                        55,
                    ),
                    ad("Breakfast on deck", "https://ferries.example/breakfast", 20),
                ],
            ),
            Campaign {
                id: 1012,
                starts: 0.42,
                pauses: 1.0,
                ads: &[
                    ad(HOT_AD, "https://ferries.example/lights", 60),
                    ad("Two islands, one ticket", "https://ferries.example/islands", 35),
                ],
            },
            Campaign {
                id: 1013,
                starts: 0.0,
                pauses: 0.71,
                ads: &[
                    ad("Freight before six", "https://ferries.example/freight", 30),
                    ad("Season passes, last days", "https://ferries.example/pass", 45),
                ],
            },
        ],
    },
    Advertiser {
        id: 102,
        campaigns: &[
            always(
                1021,
                &[
                    ad("Books for people who count", "https://books.example/count", 70),
                    ad("The long winter list", "https://books.example/winter", 40),
                    ad("Atlas of small harbours", "https://books.example/atlas", 25),
                ],
            ),
            always(
                1022,
                &[
                    ad("Audiobooks, first month free", "https://books.example/audio", 50),
                    ad("Read it before the film", "https://books.example/film", 15),
                ],
            ),
        ],
    },
    Advertiser {
        id: 103,
        campaigns: &[
            always(
                1031,
                &[
                    ad(
                        "Oilskins that outlast the weather",
                        "https://outdoor.example/oilskins",
                        65,
                    ),
                    ad("Boots, resoled for life", "https://outdoor.example/boots", 30),
                    ad("A tent for two storms", "https://outdoor.example/tent", 12),
                ],
            ),
            Campaign {
                id: 1032,
                starts: 0.63,
                pauses: 1.0,
                ads: &[
                    ad("Winter sale: wool", "https://outdoor.example/wool", 80),
                    ad("Winter sale: lamps", "https://outdoor.example/lamps", 28),
                ],
            },
        ],
    },
    Advertiser {
        id: 104,
        campaigns: &[
            always(
                1041,
                &[
                    ad("Sourdough by post", "https://bakery.example/sourdough", 34),
                    ad("Learn to bake in a week", "https://bakery.example/course", 22),
                ],
            ),
            always(
                1042,
                &[
                    ad(
                        "Coffee that ships on Tuesdays",
                        "https://bakery.example/coffee",
                        26,
                    ),
                    ad("The office cake plan", "https://bakery.example/office", 8),
                ],
            ),
        ],
    },
];

/// Readers of one country: its code, its share of a slot's readers, and its hours east of UTC.
pub(super) struct Readers {
    pub(super) country: &'static str,
    pub(super) share: f64,
    pub(super) hours_east: f64,
}

const fn readers(country: &'static str, share: f64, hours_east: f64) -> Readers {
    Readers {
        country,
        share,
        hours_east,
    }
}

/// A slot on a publisher's page.
pub(super) struct Slot {
    pub(super) name: &'static str,
    pub(super) site: &'static str,
    /// Its share of all clicks, beside the others.
    pub(super) share: f64,
    /// By how much more of its clicks are forged, robots' or without a token.
    pub(super) shady: f64,
    /// By how much more its readers use a phone.
    pub(super) phones: f64,
    /// The advertisers whose ads it shows.
    pub(super) shows: &'static [u64],
    pub(super) readers: &'static [Readers],
}

/// The slot that a robot comes to.
pub(super) const BURST_SLOT: &str = "coupons-list";

pub(super) const SLOTS: &[Slot] = &[
    Slot {
        name: "news-top",
        site: "The Harbour News",
        share: 34.0,
        shady: 0.6,
        phones: 1.0,
        shows: &[101, 102, 103, 104],
        readers: &[
            readers("DE", 46.0, 1.0),
            readers("DK", 16.0, 1.0),
            readers("SE", 12.0, 1.0),
            readers("GB", 9.0, 0.0),
            readers("NO", 7.0, 1.0),
            readers("US", 5.0, -5.0),
            readers("ZZ", 1.5, 1.0),
        ],
    },
    Slot {
        name: "news-article",
        site: "The Harbour News",
        share: 21.0,
        shady: 0.5,
        phones: 1.2,
        shows: &[101, 102, 103],
        readers: &[
            readers("DE", 52.0, 1.0),
            readers("AT", 11.0, 1.0),
            readers("CH", 9.0, 1.0),
            readers("DK", 14.0, 1.0),
            readers("ZZ", 1.0, 1.0),
        ],
    },
    Slot {
        name: "trails-map",
        site: "Trail Report",
        share: 16.0,
        shady: 0.7,
        phones: 1.9,
        shows: &[101, 103],
        readers: &[
            readers("US", 48.0, -6.0),
            readers("CA", 22.0, -5.0),
            readers("GB", 14.0, 0.0),
            readers("NZ", 4.0, 13.0),
            readers("DE", 6.0, 1.0),
        ],
    },
    Slot {
        name: "kitchen-side",
        site: "Kitchen Table",
        share: 12.0,
        shady: 0.8,
        phones: 0.7,
        shows: &[102, 104],
        readers: &[
            readers("FR", 34.0, 1.0),
            readers("BE", 14.0, 1.0),
            readers("DE", 22.0, 1.0),
            readers("IT", 16.0, 1.0),
            readers("ES", 10.0, 1.0),
        ],
    },
    Slot {
        name: "weather-app",
        site: "Weather, plainly",
        share: 11.0,
        shady: 0.4,
        phones: 6.0,
        shows: &[101, 103, 104],
        readers: &[
            readers("IN", 30.0, 5.5),
            readers("GB", 22.0, 0.0),
            readers("JP", 14.0, 9.0),
            readers("BR", 12.0, -3.0),
            readers("AU", 10.0, 10.0),
        ],
    },
    Slot {
        name: BURST_SLOT,
        site: "Coupons Corner",
        share: 6.0,
        shady: 9.0,
        phones: 1.1,
        shows: &[102, 103, 104],
        readers: &[
            readers("US", 38.0, -5.0),
            readers("PL", 18.0, 1.0),
            readers("NL", 16.0, 1.0),
            readers("RO", 9.0, 2.0),
            readers("ZZ", 12.0, 0.0),
        ],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clickledger_core::domain::ad::RedirectUrl;
    use clickledger_core::domain::country::Country;
    use clickledger_core::domain::ids::SlotName;

    use super::*;

    #[test]
    fn the_cast_fits_together() {
        let campaigns = || ADVERTISERS.iter().flat_map(|advertiser| advertiser.campaigns);
        let ads: Vec<&Ad> = campaigns().flat_map(|campaign| campaign.ads).collect();
        let ids: BTreeSet<u64> = campaigns().map(|campaign| campaign.id).collect();
        assert_eq!(ids.len(), campaigns().count());
        let titles: BTreeSet<&str> = ads.iter().map(|ad| ad.title).collect();
        assert_eq!(titles.len(), ads.len());
        assert!(titles.contains(HOT_AD));
        assert!(
            ads.iter()
                .all(|ad| ad.weight > 0 && RedirectUrl::parse(ad.url).is_ok())
        );
        assert!(campaigns().all(|campaign| campaign.starts < campaign.pauses));
        assert!(SLOTS.iter().any(|slot| slot.name == BURST_SLOT));
        for slot in SLOTS {
            assert!(slot.name.parse::<SlotName>().is_ok() && slot.share > 0.0);
            for readers in slot.readers {
                assert!(readers.country.parse::<Country>().is_ok(), "{}", readers.country);
            }
            // Whatever starts or pauses, a slot has something to show.
            let shown = ADVERTISERS
                .iter()
                .filter(|advertiser| slot.shows.contains(&advertiser.id));
            let mut running = shown.flat_map(|advertiser| advertiser.campaigns);
            assert!(running.any(|campaign| campaign.starts == 0.0 && campaign.pauses == 1.0));
        }
    }
}
