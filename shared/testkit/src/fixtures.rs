//! Click records and Kinesis events as they look in production, from a seed.
//!
//! Invariant: the same arguments give the same bytes.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use clickledger_core::domain::country::Country;
use clickledger_core::domain::device::Device;
use clickledger_core::domain::ids::{AdId, AdvertiserId, CampaignId, ClickId, ImpressionId, PlacementId};
use clickledger_core::domain::partition;
use clickledger_core::domain::record::{ClickRecord, RECORD_VERSION};
use clickledger_core::domain::verdict::Verdict;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Makes clicks on a catalogue of ads, a few of them busy, 1 in 20 of them invalid.
#[derive(Debug)]
pub struct ClickMaker {
    random: StdRng,
    ads: u64,
    now_ms: i64,
    /// Milliseconds that a click comes after the one before, on average.
    every_ms: f64,
    since_ms: f64,
}

impl ClickMaker {
    /// Clicks on this many ads, from this time on (Unix milliseconds), at this rate.
    pub fn new(seed: u64, ads: u64, from_ms: i64, clicks_per_second: f64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self {
            random,
            ads,
            now_ms: from_ms,
            every_ms: 1000.0 / clicks_per_second,
            since_ms: 0.0,
        }
    }

    /// The next click; about 350 bytes as a line.
    pub fn record(&mut self) -> ClickRecord {
        self.since_ms += self.every_ms;
        let clicked_at_ms = self.now_ms + self.since_ms as i64;
        let random = &mut self.random;
        // The power spreads ads as the trade does: the busiest of 10,000 gets about 1 click in 10.
        let rank = (self.ads as f64).powf(random.random::<f64>()) as u64;
        let ad = 73_000 + rank.clamp(1, self.ads);
        let dwell_ms = random.random_range(400..90_000);
        let click_id = ClickId::new(clicked_at_ms, random.random());
        let impression_id = ImpressionId::new(clicked_at_ms - dwell_ms, random.random());
        let verdict = match random.random_range(0..100) {
            0..95 => Verdict::Valid,
            95..97 => Verdict::Duplicate,
            97 => Verdict::Bot,
            98 => Verdict::ExpiredToken,
            _ => Verdict::MissingToken,
        };
        let signed = verdict != Verdict::MissingToken;
        let partition_key = if signed {
            partition::of_impression(AdId(ad), impression_id, 4)
        } else {
            partition::of_click(click_id)
        };
        let [network, place] = [random.random::<u32>().to_be_bytes(), random.random::<[u8; 4]>()];
        ClickRecord {
            v: RECORD_VERSION,
            click_id,
            impression_id: signed.then_some(impression_id),
            ad_id: AdId(ad),
            campaign_id: CampaignId(1200 + ad % 997),
            advertiser_id: AdvertiserId(90 + ad % 97),
            placement_id: signed.then(|| PlacementId(500 + u64::from(place[0]))),
            clicked_at_ms,
            verdict,
            duplicate_of: (verdict == Verdict::Duplicate)
                .then(|| ClickId::new(clicked_at_ms - 900, random.random())),
            claimed: matches!(verdict, Verdict::Valid | Verdict::Duplicate),
            partition_key,
            device: [Device::Mobile, Device::Mobile, Device::Desktop, Device::Tablet]
                [usize::from(place[1] % 4)],
            country: ["US", "DE", "GB", "FR", "JP", "BR", "IN", "ZZ"][usize::from(place[2] % 8)]
                .parse()
                .unwrap_or(Country::ZZ),
            network: Some(format!("{}.{}.{}.0/24", network[0], network[1], network[2])),
            client_hash: (place[3] % 4 > 0).then(|| URL_SAFE_NO_PAD.encode(random.random::<[u8; 8]>())),
            agent_hash: None,
            dwell_ms: signed.then_some(dwell_ms),
            referrer_host: (place[3] % 8 == 0).then(|| "www.example.com".to_owned()),
        }
    }
}

/// One record as Kinesis would deliver it.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// 56 decimal digits.
    pub sequence_number: String,
    /// Unix milliseconds.
    pub arrived_at_ms: i64,
    /// The record's partition key.
    pub partition_key: String,
    /// The record's line.
    pub data: Vec<u8>,
}

impl Delivered {
    /// The `n`-th record of a shard, holding this click, 80 ms after it.
    ///
    /// # Errors
    /// None in practice, see [`ClickRecord::to_line`].
    pub fn click(n: u64, click: &ClickRecord) -> Result<Self, serde_json::Error> {
        Ok(Self {
            // As AWS numbers records: a constant head, and a tail that grows in uneven steps.
            sequence_number: format!(
                "4959033827149025660855969253836157{:022}",
                1_095_921_575_989_136_588_u64 + n * 977
            ),
            arrived_at_ms: click.clicked_at_ms + 80,
            partition_key: click.partition_key.clone(),
            data: click.to_line()?,
        })
    }
}

/// The event JSON that Lambda gives a function for these records of this shard.
pub fn kinesis_event(shard_id: &str, records: &[Delivered]) -> Vec<u8> {
    let mut json = String::with_capacity(records.len() * 1024 + 16);
    json.push_str(r#"{"Records":["#);
    for (n, record) in records.iter().enumerate() {
        let Delivered {
            sequence_number,
            arrived_at_ms,
            partition_key,
            data,
        } = record;
        let (seconds, thousandths) = (arrived_at_ms / 1000, arrived_at_ms % 1000);
        let (comma, data) = (if n == 0 { "" } else { "," }, STANDARD.encode(data));
        json.push_str(&format!(
            r#"{comma}{{"kinesis":{{"kinesisSchemaVersion":"1.0","partitionKey":"{partition_key}","sequenceNumber":"{sequence_number}","data":"{data}","approximateArrivalTimestamp":{seconds}.{thousandths:03}}},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"{shard_id}:{sequence_number}","eventName":"aws:kinesis:record","invokeIdentityArn":"arn:aws:iam::123456789012:role/clickledger-aggregate","awsRegion":"us-east-2","eventSourceARN":"arn:aws:kinesis:us-east-2:123456789012:stream/clickledger-clicks"}}"#
        ));
    }
    json.push_str("]}");
    json.into_bytes()
}

/// An event of this many clicks on 10,000 ads, 1,000 clicks a second, of `shardId-000000000006`.
///
/// # Errors
/// None in practice, see [`ClickRecord::to_line`].
pub fn click_event(seed: u64, records: u64) -> Result<Vec<u8>, serde_json::Error> {
    let mut clicks = ClickMaker::new(seed, 10_000, 1_767_312_000_000, 1000.0);
    let records: Result<Vec<_>, _> = (0..records)
        .map(|n| Delivered::click(n, &clicks.record()))
        .collect();
    Ok(kinesis_event("shardId-000000000006", &records?))
}

#[cfg(test)]
mod tests {
    use clickledger_core::domain::kinesis_event::KinesisEvent;
    use clickledger_core::domain::record::CountedClick;

    use super::*;

    #[test]
    fn an_event_holds_its_clicks() {
        let mut clicks = ClickMaker::new(7, 10_000, 1_767_312_000_000, 1000.0);
        let records: Vec<ClickRecord> = (0..1000).map(|_| clicks.record()).collect();
        let event = KinesisEvent::decode(&click_event(7, 1000).unwrap()).unwrap();
        assert_eq!(&**event.shard_id(), "shardId-000000000006");
        assert_eq!(event.len(), 1000);
        for (delivered, record) in event.records().zip(&records) {
            assert!(delivered.decoded);
            assert_eq!(delivered.data, record.to_line().unwrap());
            assert_eq!(delivered.arrived_at_ms, record.clicked_at_ms + 80);
            assert_eq!(
                CountedClick::parse(delivered.data),
                Ok(CountedClick::from(record))
            );
        }
    }

    #[test]
    fn clicks_look_like_production() {
        let mut clicks = ClickMaker::new(7, 10_000, 1_767_312_000_000, 1000.0);
        let records: Vec<ClickRecord> = (0..10_000).map(|_| clicks.record()).collect();
        let bytes: usize = records.iter().map(|record| record.to_line().unwrap().len()).sum();
        assert!(
            (330..370).contains(&(bytes / records.len())),
            "{} bytes",
            bytes / records.len()
        );
        let valid = records.iter().filter(|record| record.verdict.is_valid()).count();
        assert!((9300..9700).contains(&valid), "{valid}");
        let busiest = records
            .iter()
            .filter(|record| record.ad_id == AdId(73_001))
            .count();
        assert!((400..2000).contains(&busiest), "{busiest}");
        assert_eq!(click_event(3, 20).unwrap(), click_event(3, 20).unwrap());
    }
}
