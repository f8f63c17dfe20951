//! Ads and placements as they are stored, and what an ad's destination may be.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::ids::{AdId, AdvertiserId, CampaignId, PlacementId, SlotName};

/// Longest accepted destination, bytes.
pub const MAX_URL_BYTES: usize = 2048;
/// Longest accepted title or site, characters.
pub const MAX_TITLE_CHARS: usize = 200;
/// Most ads in one slot.
pub const MAX_SLOT_ENTRIES: usize = 50;
/// Largest weight of an ad in a slot.
pub const MAX_WEIGHT: u32 = 1_000_000;
/// Largest fan-out of an ad; a power of two.
pub const MAX_FAN_OUT: u32 = 1024;

/// Why a text may not be an ad's destination or image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Longer than [`MAX_URL_BYTES`].
    #[error("must be at most 2048 bytes")]
    TooLong,
    /// Not an absolute URL as every reader would understand it.
    #[error("must be an absolute URL of plain characters: http://host/… or https://host/…")]
    NotAbsolute,
    /// Another scheme.
    #[error("must be http or https")]
    Scheme,
    /// A user name or password in it.
    #[error("must not contain a user name or password")]
    Credentials,
    /// No host, or one that is written to deceive.
    #[error("must have a host: a domain name or a plain IP address")]
    Host,
}

/// An ad's destination: an absolute http or https URL without credentials, printable ASCII only, so that it can be a
/// `Location` header as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct RedirectUrl(String);

impl RedirectUrl {
    /// Accepts a destination, or says why not. The text is kept in the URL standard's own serialisation.
    ///
    /// The standard's parser is lenient where browsers are (backslashes, tabs, missing slashes, `http:host`): texts that
    /// need that leniency are refused, because another reader might understand them otherwise.
    ///
    /// # Errors
    /// [`UrlError`]
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong);
        }
        if text
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || c == '\\')
        {
            return Err(UrlError::NotAbsolute);
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(UrlError::NotAbsolute);
        };
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(UrlError::Scheme);
        }
        let Some(rest) = rest.strip_prefix("//").filter(|rest| !rest.starts_with('/')) else {
            return Err(UrlError::NotAbsolute);
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(UrlError::Credentials);
        }
        if authority.contains('%') {
            return Err(UrlError::Host);
        }
        let url = Url::parse(text).map_err(|_| UrlError::NotAbsolute)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::Credentials);
        }
        match url.host() {
            Some(Host::Domain(domain)) if plain_domain(domain) => {}
            // The parser turns 0x7f.1, 017700000001 and 2130706433 into 127.0.0.1: take only the plain spelling.
            Some(Host::Ipv4(address))
                if authority.split(':').next() == Some(address.to_string().as_str()) => {}
            Some(Host::Ipv6(_)) => {}
            _ => return Err(UrlError::Host),
        }
        let text = String::from(url);
        if text.len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong);
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(UrlError::NotAbsolute);
        }
        Ok(Self(text))
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn plain_domain(domain: &str) -> bool {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    !domain.is_empty()
        && domain.len() <= 253
        && domain.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

impl fmt::Display for RedirectUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RedirectUrl {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Whether an ad is shown and its clicks are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdStatus {
    /// Shown, and its clicks count.
    Active,
    /// Not shown; clicks redirect with verdict `inactive_ad`.
    Paused,
    /// As paused, and no longer listed by default.
    Archived,
}

/// An ad.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ad {
    /// Which ad.
    pub ad_id: AdId,
    /// Its campaign.
    pub campaign_id: CampaignId,
    /// Its advertiser; never changes.
    pub advertiser_id: AdvertiserId,
    /// Where a click leads.
    pub redirect_url: RedirectUrl,
    /// What the anchor says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What the anchor shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_url: Option<RedirectUrl>,
    /// Whether it is shown and counted.
    pub status: AdStatus,
    /// Over how many partition keys its clicks are spread; a power of two.
    pub fan_out: u32,
    /// Rises by one with every change: the ad's ETag.
    pub version: u64,
    /// When it was made, Unix milliseconds.
    pub created_ms: i64,
}

/// One ad of a slot, and how often it is chosen compared with the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotEntry {
    /// Which ad.
    pub ad_id: AdId,
    /// Its share is weight / sum of weights; 1 to [`MAX_WEIGHT`].
    #[serde(default = "one")]
    pub weight: u32,
}

fn one() -> u32 {
    1
}

/// A placement: a slot on a publisher's page, and the ads that may fill it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Its name.
    pub slot: SlotName,
    /// Its id.
    pub placement_id: PlacementId,
    /// The ads that may fill it, at most [`MAX_SLOT_ENTRIES`].
    pub entries: Vec<SlotEntry>,
    /// The publisher's page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Rises by one with every change.
    pub version: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_destinations_are_taken() {
        for (given, kept) in [
            ("https://example.com/", "https://example.com/"),
            ("https://example.com", "https://example.com/"),
            (
                "HTTP://Example.COM:8080/a?b=c#d",
                "http://example.com:8080/a?b=c#d",
            ),
            (
                "https://bücher.example/ü?q=ü",
                "https://xn--bcher-kva.example/%C3%BC?q=%C3%BC",
            ),
            ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x"),
            ("http://[::1]:8080/x", "http://[::1]:8080/x"),
            (
                "https://shop.example/?next=https://other.example/@x",
                "https://shop.example/?next=https://other.example/@x",
            ),
            ("https://shop.example/a%0d%0ab", "https://shop.example/a%0d%0ab"),
        ] {
            assert_eq!(
                RedirectUrl::parse(given).map(|u| u.to_string()).as_deref(),
                Ok(kept),
                "{given}"
            );
        }
    }

    #[test]
    fn sixty_redirect_tricks_are_refused() {
        let long = format!("https://example.com/{}", "a".repeat(2048));
        let label = format!("https://{}.example/", "a".repeat(64));
        let name = format!("https://{}example/", "abcdefghi.".repeat(26));
        let grows = format!("https://example.com/{}", "ü".repeat(600));
        let mut tricks: Vec<String> =
            serde_json::from_str(include_str!("../../../../tests/fixtures/redirect_tricks.json")).unwrap();
        assert!(tricks.len() >= 60);
        tricks.extend([long, label, name, grows]);
        for trick in tricks {
            let parsed = RedirectUrl::parse(&trick);
            assert!(parsed.is_err(), "{trick:?} was taken as {parsed:?}");
        }
    }
}
