//! The click record: one JSON line, the same on the stream, in the spill and in the lake.
//!
//! Invariant: a record is written once, when the click is judged, and copied byte for byte from then on.

mod plain;

use serde::{Deserialize, Serialize};

pub(in crate::domain) use plain::plain_text;

use super::country::Country;
use super::device::Device;
use super::ids::{AdId, AdvertiserId, CampaignId, ClickId, ImpressionId, PlacementId};
use super::verdict::Verdict;

/// The schema version that this code writes, and the only one that it reads.
pub const RECORD_VERSION: u8 = 1;

/// One click, as it is logged. About 350 bytes of JSON; absent rather than null; campaign and advertiser are copied
/// from the ad at click time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClickRecord {
    /// Schema version, [`RECORD_VERSION`].
    pub v: u8,
    /// This click.
    pub click_id: ClickId,
    /// The impression of its token, where the token is ours and this ad's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impression_id: Option<ImpressionId>,
    /// The ad of the request's `adId`.
    pub ad_id: AdId,
    /// The ad's campaign.
    pub campaign_id: CampaignId,
    /// The ad's advertiser.
    pub advertiser_id: AdvertiserId,
    /// The placement of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement_id: Option<PlacementId>,
    /// When the request came, Unix milliseconds: the minute that it is counted in.
    pub clicked_at_ms: i64,
    /// What it was judged to be when it came.
    pub verdict: Verdict,
    /// For `duplicate`: the click that has the impression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<ClickId>,
    /// Whether the claim was asked for and answered. A `valid` record that is not claimed is claimed by whoever counts it.
    pub claimed: bool,
    /// What orders it on the stream, see [`super::partition`].
    pub partition_key: String,
    /// Device class.
    pub device: Device,
    /// Country.
    pub country: Country,
    /// The client's network, truncated to /24 (IPv4) or /48 (IPv6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Keyed hash of the client's address; the key changes daily.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_hash: Option<String>,
    /// Keyed hash of the user agent; the key changes daily.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_hash: Option<String>,
    /// Milliseconds from the impression to the click.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dwell_ms: Option<i64>,
    /// Host of the page that the click came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referrer_host: Option<String>,
}

impl ClickRecord {
    /// The JSON line, ending in a newline.
    ///
    /// # Errors
    /// None in practice: every field has a JSON form.
    pub fn to_line(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut line = Vec::with_capacity(448);
        serde_json::to_writer(&mut line, self)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// What counting needs of a record: plain data, nothing borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedClick {
    /// This click.
    pub click_id: ClickId,
    /// The impression, where a token of ours came.
    pub impression_id: Option<ImpressionId>,
    /// The ad.
    pub ad_id: AdId,
    /// The ad's campaign.
    pub campaign_id: CampaignId,
    /// The ad's advertiser.
    pub advertiser_id: AdvertiserId,
    /// The placement of the token.
    pub placement_id: Option<PlacementId>,
    /// When it was clicked, Unix milliseconds.
    pub clicked_at_ms: i64,
    /// As it was judged when it came.
    pub verdict: Verdict,
    /// Whether its claim was answered.
    pub claimed: bool,
    /// Device class.
    pub device: Device,
    /// Country.
    pub country: Country,
}

/// Why bytes are not a record. They are quarantined with this reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not JSON of a record's shape.
    #[error("not a click record: {0}")]
    Malformed(String),
    /// Of a schema version that this code does not read.
    #[error("schema version {0} is not known")]
    UnknownVersion(u64),
    /// Valid and unclaimed, but without the impression that would have to be claimed.
    #[error("an unclaimed click without an impression")]
    NothingToClaim,
}

impl From<&ClickRecord> for CountedClick {
    fn from(record: &ClickRecord) -> Self {
        Self {
            click_id: record.click_id,
            impression_id: record.impression_id,
            ad_id: record.ad_id,
            campaign_id: record.campaign_id,
            advertiser_id: record.advertiser_id,
            placement_id: record.placement_id,
            clicked_at_ms: record.clicked_at_ms,
            verdict: record.verdict,
            claimed: record.claimed,
            device: record.device,
            country: record.country,
        }
    }
}

impl CountedClick {
    /// Reads what counting needs from a record's JSON.
    ///
    /// Takes exactly what [`ClickRecord`] deserializes from; our own spelling of it ([`ClickRecord::to_line`]) is read
    /// several times faster than any other.
    ///
    /// # Errors
    /// [`RecordError`] when the bytes can never be counted.
    pub fn parse(json: &[u8]) -> Result<Self, RecordError> {
        let click = match plain::read(json) {
            Some(click) => click,
            None => Self::parse_json(json)?,
        };
        if click.verdict.is_valid() && !click.claimed && click.impression_id.is_none() {
            return Err(RecordError::NothingToClaim);
        }
        Ok(click)
    }

    /// In any spelling that JSON allows. Not inlined: it is the rare case, and large.
    #[cold]
    #[inline(never)]
    fn parse_json(json: &[u8]) -> Result<Self, RecordError> {
        /// A later version may have fields that we don't know: its number is what is wrong with it then.
        #[derive(Deserialize)]
        struct Versioned {
            v: u64,
        }

        match serde_json::from_slice::<ClickRecord>(json) {
            Ok(record) if record.v == RECORD_VERSION => Ok(Self::from(&record)),
            Ok(record) => Err(RecordError::UnknownVersion(record.v.into())),
            Err(error) => match serde_json::from_slice::<Versioned>(json) {
                Ok(Versioned { v }) if v != u64::from(RECORD_VERSION) => Err(RecordError::UnknownVersion(v)),
                _ => Err(RecordError::Malformed(error.to_string())),
            },
        }
    }
}

#[cfg(test)]
mod tests;
