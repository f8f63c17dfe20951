//! Ads: made, read, listed and changed, each by those who may.
//!
//! Invariants: an advertiser's key reaches its own ads only, and another's look as if they did not exist; a campaign belongs
//! to the one advertiser whose ads carry it, and keeps at least one ad once it has one, so that its counts have an owner.

mod owners;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::domain::ad::{Ad, AdStatus, MAX_FAN_OUT, MAX_TITLE_CHARS, RedirectUrl, UrlError};
use crate::domain::api_key::Scope;
use crate::domain::ids::{AdId, AdvertiserId, CampaignId};
use crate::ports::{AdCatalog, AdFilter, Changed, Clock, Entropy, PortError, PortResult};

/// How often an id is drawn anew, and an unconditional change tried on a newer version.
const TRIES: usize = 4;
/// Ads of one read where archived ones are left out.
const READ_AT_ONCE: usize = 500;

/// What is wrong with one field of what was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Its name, such as `title` or `entries[2].weight`.
    pub parameter: Cow<'static, str>,
    /// What it must be: the end of a sentence that begins with the name.
    pub reason: String,
}

impl FieldError {
    /// An error of this field.
    pub fn new(parameter: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> Self {
        Self {
            parameter: parameter.into(),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.parameter, self.reason)
    }
}

/// Why nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChangeError {
    /// These fields cannot be accepted.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<FieldError>),
    /// The destination cannot be accepted.
    #[error("redirect_url {0}")]
    RedirectUrl(#[from] UrlError),
    /// The caller may not do this; the text says what.
    #[error("{0}")]
    Forbidden(&'static str),
    /// There is nothing of this id, or it is another's.
    #[error("there is nothing of this id")]
    NotFound,
    /// It is another version by now.
    #[error("the stored version is another")]
    Conflict,
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] PortError),
}

/// A time-sortable id: 42 bits of Unix milliseconds (until the year 2109) and 21 random bits; never 0, never negative as a
/// signed 64-bit integer.
pub(super) fn new_id(clock: &dyn Clock, entropy: &dyn Entropy) -> u64 {
    let mut random = [0_u8; 4];
    entropy.fill(&mut random);
    let ms = clock.now_ms().max(0).cast_unsigned() & ((1 << 42) - 1);
    (ms << 21 | u64::from(u32::from_be_bytes(random) >> 11)).max(1)
}

/// An ad to be made.
#[derive(Debug, Clone)]
pub struct NewAd {
    /// Whose.
    pub advertiser_id: AdvertiserId,
    /// In which campaign.
    pub campaign_id: CampaignId,
    /// Where a click leads; see [`RedirectUrl::parse`].
    pub redirect_url: String,
    /// What the anchor says, at most [`MAX_TITLE_CHARS`] characters.
    pub title: Option<String>,
    /// What the anchor shows.
    pub image_url: Option<String>,
    /// Active, if nothing is said.
    pub status: Option<AdStatus>,
    /// A power of two up to [`MAX_FAN_OUT`], 1 if nothing is said; only an administrator says.
    pub fan_out: Option<u32>,
}

/// A change of an ad: `None` leaves the field as it is, `Some(None)` removes it.
#[derive(Debug, Clone, Default)]
pub struct AdPatch {
    /// May only repeat what it is.
    pub advertiser_id: Option<AdvertiserId>,
    /// Another campaign of the same advertiser, unless the ad is the last of its own.
    pub campaign_id: Option<CampaignId>,
    /// Another destination.
    pub redirect_url: Option<String>,
    /// Another title.
    pub title: Option<Option<String>>,
    /// Another image.
    pub image_url: Option<Option<String>>,
    /// Another status.
    pub status: Option<AdStatus>,
    /// Another fan-out; only by an administrator.
    pub fan_out: Option<u32>,
}

/// Makes, reads and changes ads.
pub struct AdsService {
    catalog: Arc<dyn AdCatalog>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl AdsService {
    /// A service over this catalogue.
    pub fn new(catalog: Arc<dyn AdCatalog>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            catalog,
            clock,
            entropy,
        }
    }

    /// Makes an ad under a new id.
    ///
    /// # Errors
    /// [`ChangeError`], except `NotFound`.
    pub async fn create(&self, by: &Scope, new: NewAd) -> Result<Ad, ChangeError> {
        may_write(by)?;
        if !owns(by, new.advertiser_id) {
            return Err(ChangeError::Forbidden(
                "a key makes ads of its own advertiser only",
            ));
        }
        let fan_out = fan_out(by, new.fan_out)?.unwrap_or(1);
        let redirect_url = RedirectUrl::parse(&new.redirect_url)?;
        let mut invalid = Vec::new();
        let title = new.title.and_then(|title| checked_title(title, &mut invalid));
        let image_url = new.image_url.and_then(|url| checked_image(&url, &mut invalid));
        self.check_campaign(new.campaign_id, new.advertiser_id, &mut invalid)
            .await?;
        if !invalid.is_empty() {
            return Err(ChangeError::Invalid(invalid));
        }
        let mut ad = Ad {
            ad_id: AdId(0),
            campaign_id: new.campaign_id,
            advertiser_id: new.advertiser_id,
            redirect_url,
            title,
            image_url,
            status: new.status.unwrap_or(AdStatus::Active),
            fan_out,
            version: 1,
            created_ms: self.clock.now_ms(),
        };
        for _ in 0..TRIES {
            ad.ad_id = AdId(new_id(&*self.clock, &*self.entropy));
            match self.catalog.create_ad(&ad).await? {
                Changed::Done => return Ok(ad),
                // The id is taken.
                Changed::Conflict | Changed::NotFound => {}
            }
        }
        Err(ChangeError::Conflict)
    }

    /// The ad, if there is one that the caller may see.
    ///
    /// # Errors
    /// Where the catalogue does not answer.
    pub async fn get(&self, by: &Scope, ad_id: AdId) -> PortResult<Option<Arc<Ad>>> {
        let found = self.catalog.ad(ad_id).await?;
        Ok(found.filter(|ad| owns(by, ad.advertiser_id)))
    }

    /// The ads after `after` that the caller may see, in the order of their ids; archived ones only where they are asked for.
    ///
    /// # Errors
    /// Where the catalogue does not answer.
    pub async fn list(
        &self,
        by: &Scope,
        mut filter: AdFilter,
        archived: bool,
        mut after: Option<AdId>,
        limit: usize,
    ) -> PortResult<Vec<Ad>> {
        match by {
            Scope::Admin => {}
            Scope::Advertiser { advertiser_id, .. }
                if filter.advertiser_id.is_none_or(|asked| asked == *advertiser_id) =>
            {
                filter.advertiser_id = Some(*advertiser_id);
            }
            Scope::Advertiser { .. } | Scope::Publisher { .. } => return Ok(Vec::new()),
        }
        let mut found = Vec::new();
        loop {
            let read = if archived { limit } else { limit.max(READ_AT_ONCE) };
            let ads = self.catalog.list_ads(filter, after, read).await?;
            let more = ads.len() == read;
            after = ads.last().map(|ad| ad.ad_id);
            let listed = ads
                .into_iter()
                .filter(|ad| archived || ad.status != AdStatus::Archived);
            found.extend(listed.take(limit - found.len()));
            if !more || found.len() == limit {
                return Ok(found);
            }
        }
    }

    /// Whose campaign it is: the advertiser of the ads that carry it; `None` where no ad does.
    ///
    /// # Errors
    /// Where the catalogue does not answer.
    pub async fn campaign_owner(&self, campaign_id: CampaignId) -> PortResult<Option<AdvertiserId>> {
        let first = self.catalog.list_ads(of_campaign(campaign_id), None, 1).await?;
        Ok(first.first().map(|ad| ad.advertiser_id))
    }

    /// Changes an ad: the version that is `expected`, or whatever it is.
    ///
    /// # Errors
    /// [`ChangeError`]
    pub async fn update(
        &self,
        by: &Scope,
        ad_id: AdId,
        patch: &AdPatch,
        expected: Option<u64>,
    ) -> Result<Ad, ChangeError> {
        let mut tries = 0;
        loop {
            let old = self.get(by, ad_id).await?.ok_or(ChangeError::NotFound)?;
            may_write(by)?;
            if expected.is_some_and(|expected| expected != old.version) {
                return Err(ChangeError::Conflict);
            }
            let mut ad = self.patched(by, &old, patch).await?;
            if ad == *old {
                return Ok(ad);
            }
            ad.version += 1;
            tries += 1;
            match self.catalog.update_ad(&ad, old.version).await? {
                Changed::Done => return Ok(ad),
                Changed::NotFound => return Err(ChangeError::NotFound),
                Changed::Conflict if expected.is_some() || tries == TRIES => {
                    return Err(ChangeError::Conflict);
                }
                Changed::Conflict => {}
            }
        }
    }

    async fn patched(&self, by: &Scope, old: &Ad, patch: &AdPatch) -> Result<Ad, ChangeError> {
        let mut ad = old.clone();
        if let Some(fan_out) = fan_out(by, patch.fan_out)? {
            ad.fan_out = fan_out;
        }
        if let Some(url) = &patch.redirect_url {
            ad.redirect_url = RedirectUrl::parse(url)?;
        }
        let mut invalid = Vec::new();
        if patch.advertiser_id.is_some_and(|id| id != old.advertiser_id) {
            invalid.push(FieldError::new("advertiser_id", "cannot be changed"));
        }
        if let Some(title) = &patch.title {
            ad.title = title.clone().and_then(|title| checked_title(title, &mut invalid));
        }
        if let Some(url) = &patch.image_url {
            ad.image_url = url.as_ref().and_then(|url| checked_image(url, &mut invalid));
        }
        if let Some(status) = patch.status {
            ad.status = status;
        }
        if let Some(campaign_id) = patch.campaign_id.filter(|id| *id != old.campaign_id) {
            ad.campaign_id = campaign_id;
            self.check_campaign(campaign_id, old.advertiser_id, &mut invalid)
                .await?;
            let others = self
                .catalog
                .list_ads(of_campaign(old.campaign_id), None, 2)
                .await?;
            if others.iter().all(|other| other.ad_id == old.ad_id) {
                let reason = "cannot be changed for the last ad of a campaign: its counts would be nobody's";
                invalid.push(FieldError::new("campaign_id", reason));
            }
        }
        if invalid.is_empty() {
            Ok(ad)
        } else {
            Err(ChangeError::Invalid(invalid))
        }
    }

    /// A campaign is one advertiser's: mixed counts would tell one of them about the other. Whoever's ad is the older owns it,
    /// should two advertisers ever begin the same one in the same moment.
    async fn check_campaign(
        &self,
        campaign_id: CampaignId,
        advertiser_id: AdvertiserId,
        invalid: &mut Vec<FieldError>,
    ) -> PortResult<()> {
        if self
            .campaign_owner(campaign_id)
            .await?
            .is_some_and(|owner| owner != advertiser_id)
        {
            invalid.push(FieldError::new("campaign_id", "belongs to another advertiser"));
        }
        Ok(())
    }
}

fn of_campaign(campaign_id: CampaignId) -> AdFilter {
    AdFilter {
        advertiser_id: None,
        campaign_id: Some(campaign_id),
    }
}

/// Whether the key reaches what is this advertiser's.
fn owns(by: &Scope, owner: AdvertiserId) -> bool {
    match by {
        Scope::Admin => true,
        Scope::Advertiser { advertiser_id, .. } => *advertiser_id == owner,
        Scope::Publisher { .. } => false,
    }
}

fn may_write(by: &Scope) -> Result<(), ChangeError> {
    match by {
        Scope::Admin | Scope::Advertiser { read_only: false, .. } => Ok(()),
        Scope::Advertiser { read_only: true, .. } => Err(ChangeError::Forbidden("this key is read-only")),
        Scope::Publisher { .. } => Err(ChangeError::Forbidden("a publisher's key changes no ads")),
    }
}

fn fan_out(by: &Scope, asked: Option<u32>) -> Result<Option<u32>, ChangeError> {
    match asked {
        None => Ok(None),
        Some(_) if *by != Scope::Admin => {
            Err(ChangeError::Forbidden("only an administrator sets the fan-out"))
        }
        Some(asked) if asked.is_power_of_two() && asked <= MAX_FAN_OUT => Ok(Some(asked)),
        Some(_) => Err(ChangeError::Invalid(vec![FieldError::new(
            "fan_out",
            format!("must be a power of two from 1 to {MAX_FAN_OUT}"),
        )])),
    }
}

/// The text as it is shown to people, or an error in `invalid`: nothing that could break or reorder the line around it.
pub(super) fn checked_text(
    parameter: &'static str,
    text: String,
    invalid: &mut Vec<FieldError>,
) -> Option<String> {
    let deceives = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let reason = if text.chars().count() > MAX_TITLE_CHARS {
        format!("must be at most {MAX_TITLE_CHARS} characters")
    } else if text.chars().any(deceives) {
        "must not contain control characters or marks that change the direction of text".to_owned()
    } else if text.trim().is_empty() {
        "must not be empty".to_owned()
    } else {
        return Some(text);
    };
    invalid.push(FieldError::new(parameter, reason));
    None
}

fn checked_title(title: String, invalid: &mut Vec<FieldError>) -> Option<String> {
    checked_text("title", title, invalid)
}

fn checked_image(url: &str, invalid: &mut Vec<FieldError>) -> Option<RedirectUrl> {
    RedirectUrl::parse(url)
        .map_err(|error| invalid.push(FieldError::new("image_url", error.to_string())))
        .ok()
}
