//! What is put on the stream: drawn from the seed.
//!
//! Invariant: what a click is said to be here is known from how it was made, not from its record.

use std::collections::HashMap;

use clickledger_core::domain::country::Country;
use clickledger_core::domain::device::Device;
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, ClickId, ImpressionId, PlacementId};
use clickledger_core::domain::partition;
use clickledger_core::domain::record::{ClickRecord, RECORD_VERSION};
use clickledger_core::domain::verdict::Verdict;
use clickledger_core::ports::{Claim, Entropy, Outgoing};
use clickledger_testkit::sim_rng::SimRng;

/// L.
pub(crate) const LATE_AFTER_MS: i64 = 5 * 60_000;
/// Ads, and the campaign and the advertiser that each is of.
pub(crate) const ADS: [(u64, u64, u64); 3] = [(73_001, 12, 9), (73_002, 12, 9), (73_003, 13, 10)];

/// How a click must be counted, if it is on time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As its record says.
    AsJudged,
    /// Valid if it owns its impression, else a duplicate.
    Unclaimed,
}

/// A click that was made.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) record: ClickRecord,
    pub(crate) kind: Kind,
}

/// A seed's traffic.
pub(crate) struct Traffic {
    pub(crate) shards: i32,
    /// Put on the stream one after another, with pauses.
    pub(crate) waves: Vec<Vec<Outgoing>>,
    /// The clicks, by their lines.
    pub(crate) clicks: HashMap<Vec<u8>, Made>,
    /// Claims that were made before: by the click itself, or by another.
    pub(crate) claims: Vec<Claim>,
}

struct Maker<'r> {
    rng: &'r SimRng,
    now_ms: i64,
    clicks: HashMap<Vec<u8>, Made>,
    claims: Vec<Claim>,
}

impl Traffic {
    /// Begins at this time, Unix milliseconds.
    pub(crate) fn draw(rng: &SimRng, now_ms: i64) -> Self {
        let mut maker = Maker {
            rng,
            now_ms,
            clicks: HashMap::new(),
            claims: Vec::new(),
        };
        // More than a sub-batch in one batch, now and then.
        let large = rng.chance(0.2);
        let wave_count = rng.between(2, 5) as usize;
        let mut waves: Vec<Vec<Outgoing>> = vec![Vec::new(); wave_count];
        for place in 0..wave_count {
            let records = match (large, place) {
                (true, 0) => rng.between(2_500, 4_500),
                (true, _) => rng.between(5, 40),
                (false, _) => rng.between(20, 140),
            };
            for _ in 0..records {
                for made in maker.some(large) {
                    // The producer saw no answer: it puts the same record once more, at once or a while later.
                    if rng.chance(0.1) {
                        let later = rng.between(place as i64, wave_count as i64 - 1) as usize;
                        waves[later].push(made.clone());
                    }
                    waves[place].push(made);
                }
            }
            if rng.chance(0.5) {
                rng.shuffle(&mut waves[place]);
            }
        }
        Self {
            shards: rng.between(1, 4) as i32,
            waves,
            clicks: maker.clicks,
            claims: maker.claims,
        }
    }
}

impl Maker<'_> {
    fn id(&self, unix_ms: i64) -> u128 {
        let mut random = [0; 10];
        self.rng.fill(&mut random);
        ClickId::new(unix_ms, random).0
    }

    /// One thing that a producer does: mostly one click.
    fn some(&mut self, large: bool) -> Vec<Outgoing> {
        let rng = self.rng;
        // A claim is a call of its own: where thousands of clicks come, few are unclaimed.
        let (recent_ms, kind) = match (large, rng.below(100)) {
            (true, 5..) => (60_000, 0),
            (_, kind) => (120_000, kind),
        };
        let clicked_at_ms = match rng.below(100) {
            0..5 => self.now_ms - rng.between(LATE_AFTER_MS + 60_000, 12 * LATE_AFTER_MS),
            // Arrives when it is just late, or not yet.
            5..8 => self.now_ms - LATE_AFTER_MS + rng.between(0, 4_000),
            _ => self.now_ms - rng.between(0, recent_ms),
        };
        let mut click = self.click(clicked_at_ms);
        match kind {
            0..55 => vec![self.made(click, Kind::AsJudged)],
            55..69 => {
                click.claimed = false;
                vec![self.made(click, Kind::Unclaimed)]
            }
            69..75 => {
                // The ad's fan-out changed between two clicks on one impression: two shards, perhaps.
                click.claimed = false;
                let mut rival = self.click(click.clicked_at_ms);
                rival.claimed = false;
                rival.impression_id = click.impression_id;
                (rival.ad_id, rival.campaign_id, rival.advertiser_id) =
                    (click.ad_id, click.campaign_id, click.advertiser_id);
                rival.placement_id = click.placement_id;
                rival.partition_key = format!("{}#7", click.ad_id);
                vec![
                    self.made(click, Kind::Unclaimed),
                    self.made(rival, Kind::Unclaimed),
                ]
            }
            75..80 => {
                // Claimed before: by another click, or by this one, which was not told.
                click.claimed = false;
                let mut owner = click.click_id;
                if rng.chance(0.6) {
                    owner = ClickId(self.id(clicked_at_ms));
                }
                self.claims.extend(click.impression_id.map(|impression_id| Claim {
                    impression_id,
                    click_id: owner,
                    expires_ms: self.now_ms + 86_400_000,
                }));
                vec![self.made(click, Kind::Unclaimed)]
            }
            80..88 => {
                click.verdict = Verdict::Duplicate;
                click.duplicate_of = Some(ClickId(self.id(clicked_at_ms)));
                vec![self.made(click, Kind::AsJudged)]
            }
            88..97 => {
                let verdicts = [
                    Verdict::Prefetch,
                    Verdict::MissingToken,
                    Verdict::BadToken,
                    Verdict::ExpiredToken,
                    Verdict::Bot,
                ];
                click.verdict = rng.pick(&verdicts).copied().unwrap_or(Verdict::Bot);
                click.claimed = false;
                if matches!(click.verdict, Verdict::MissingToken | Verdict::BadToken) {
                    (click.impression_id, click.placement_id) = (None, None);
                    click.partition_key = partition::of_click(click.click_id);
                }
                vec![self.made(click, Kind::AsJudged)]
            }
            _ => vec![self.garbage(click)],
        }
    }

    /// A valid click, claimed.
    fn click(&self, clicked_at_ms: i64) -> ClickRecord {
        let rng = self.rng;
        let (ad, campaign, advertiser) = rng.pick(&ADS).copied().unwrap_or(ADS[0]);
        let shown_ms = clicked_at_ms - rng.between(300, 60_000);
        let impression_id = ImpressionId(self.id(shown_ms));
        let countries = ["DE", "US", "ZZ"];
        let country = rng.pick(&countries).and_then(|country| country.parse().ok());
        ClickRecord {
            v: RECORD_VERSION,
            click_id: ClickId(self.id(clicked_at_ms)),
            impression_id: Some(impression_id),
            ad_id: AdId(ad),
            campaign_id: CampaignId(campaign),
            advertiser_id: AdvertiserId(advertiser),
            placement_id: Some(PlacementId(501 + rng.below(2))),
            clicked_at_ms,
            verdict: Verdict::Valid,
            duplicate_of: None,
            claimed: true,
            partition_key: partition::of_impression(AdId(ad), impression_id, 4),
            device: rng
                .pick(&[Device::Mobile, Device::Desktop])
                .copied()
                .unwrap_or(Device::Other),
            country: country.unwrap_or(Country::ZZ),
            network: Some("203.0.113.0/24".to_owned()),
            client_hash: None,
            agent_hash: None,
            dwell_ms: Some(clicked_at_ms - shown_ms),
            referrer_host: None,
        }
    }

    fn made(&mut self, record: ClickRecord, kind: Kind) -> Outgoing {
        let data = record.to_line().unwrap();
        let outgoing = Outgoing {
            partition_key: record.partition_key.clone(),
            data: data.clone(),
        };
        self.clicks.insert(data, Made { record, kind });
        outgoing
    }

    /// What can never be counted, none like another.
    fn garbage(&self, mut click: ClickRecord) -> Outgoing {
        let partition_key = click.partition_key.clone();
        let data = match self.rng.below(4) {
            0 => format!("{{\"v\":1,\"click_id\":\"{}\"}}\n", click.click_id).into_bytes(),
            1 => [&b"\xff\xfe{"[..], &click.click_id.to_bytes()].concat(),
            2 => {
                click.v = 2;
                click.to_line().unwrap()
            }
            _ => {
                // Valid and unclaimed, with nothing to claim.
                (click.claimed, click.impression_id) = (false, None);
                click.to_line().unwrap()
            }
        };
        Outgoing { partition_key, data }
    }
}
