//! Click: verify, claim, publish, and say where to redirect (DESIGN section 4, points 1 to 3).
//!
//! Invariant: an outcome that says [`Recorded::Stream`] or [`Recorded::Spill`] is durable, and the record is the same, byte
//! for byte and with the same partition key, on every way that it takes.

use std::net::IpAddr;
use std::sync::Arc;

use super::key_ring::{KeyRing, Keys};
use super::within::within;
use crate::domain::ad::{Ad, AdStatus};
use crate::domain::claim_life::ClaimLife;
use crate::domain::country::Country;
use crate::domain::ids::{AdId, ClickId};
use crate::domain::mutation::{Broken, Mutation};
use crate::domain::privacy::{HashedKind, address_bytes, network, referrer_host};
use crate::domain::record::{ClickRecord, RECORD_VERSION};
use crate::domain::token::Impression;
use crate::domain::verdict::Verdict;
use crate::domain::{agent, partition};
use crate::ports::{
    AdCatalog, Claim, ClaimStore, Claimed, ClickStream, Clock, Entropy, Outgoing, PortError, PortResult,
    Spill,
};

/// The ports of [`ClickService`].
#[derive(Clone)]
pub struct ClickPorts {
    /// Ads by id.
    pub catalog: Arc<dyn AdCatalog>,
    /// Who has the impression.
    pub claims: Arc<dyn ClaimStore>,
    /// Where records go.
    pub stream: Arc<dyn ClickStream>,
    /// Where they go when the stream refuses.
    pub spill: Arc<dyn Spill>,
    /// Now, and time limits.
    pub clock: Arc<dyn Clock>,
    /// For click ids.
    pub entropy: Arc<dyn Entropy>,
}

/// The numbers of [`ClickService`]. The budgets bound how long a user waits: 1 s in all.
#[derive(Debug, Clone, Copy)]
pub struct ClickConfig {
    /// Lifetimes of tokens and claims.
    pub life: ClaimLife,
    /// For reading the ad and for the claim together, milliseconds. Without the ad nobody can be redirected, without the claim
    /// the click only goes on unclaimed: so an ad that comes late takes from the claim's time.
    pub before_publish_ms: u64,
    /// For the claim at most, milliseconds; then the click goes on unclaimed.
    pub claim_budget_ms: u64,
    /// For the stream, milliseconds; then the record is spilled.
    pub publish_budget_ms: u64,
    /// For the spill, milliseconds; then the click is redirected unrecorded.
    pub spill_budget_ms: u64,
    /// How often the stream is asked within its budget.
    pub publish_tries: u32,
}

impl Default for ClickConfig {
    fn default() -> Self {
        Self {
            life: ClaimLife::default(),
            before_publish_ms: 400,
            claim_budget_ms: 250,
            publish_budget_ms: 350,
            spill_budget_ms: 200,
            publish_tries: 3,
        }
    }
}

/// What a click brings, as the edge has judged it: nothing here is trusted but `country` and `client`.
#[derive(Debug, Clone, Copy)]
pub struct ClickRequest<'a> {
    /// Which ad the link names.
    pub ad_id: AdId,
    /// The impression token, where one came.
    pub token: Option<&'a str>,
    /// The `User-Agent`, where one came.
    pub user_agent: Option<&'a str>,
    /// The client's address, where the edge knows it.
    pub client: Option<IpAddr>,
    /// The client's country.
    pub country: Country,
    /// Whether the browser only fetches ahead.
    pub prefetch: bool,
    /// Whether the client asks for privacy (`Sec-GPC: 1`): then nothing of it is kept but device class and country.
    pub private: bool,
    /// The `Referer`, where one came.
    pub referrer: Option<&'a str>,
}

/// Where a click's record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// On the stream.
    Stream,
    /// In the spill, to be put on the stream later.
    Spill,
    /// With the last resort, to be read back from there by hand.
    LastResort,
    /// Nowhere for certain: all refused. The caller says so to the client and counts it.
    Nowhere,
}

/// What to answer.
#[derive(Debug, Clone)]
pub enum ClickOutcome {
    /// There is no such ad.
    UnknownAd,
    /// Redirect to the ad's URL.
    Redirect {
        /// The ad.
        ad: Arc<Ad>,
        /// What the click was judged to be.
        verdict: Verdict,
        /// The click's id.
        click_id: ClickId,
        /// Where its record is.
        recorded: Recorded,
    },
}

/// Where a record goes that neither stream nor spill takes: a place that needs neither network nor service.
pub trait LastResort: Send + Sync {
    /// Keeps it, at once. `Ok` means as durable as this place is.
    ///
    /// # Errors
    /// It could not be kept.
    fn keep(&self, record: &Outgoing) -> PortResult<()>;
}

/// Judges and records clicks.
pub struct ClickService {
    ports: ClickPorts,
    last_resort: Option<Arc<dyn LastResort>>,
    keys: Arc<KeyRing>,
    config: ClickConfig,
    mutation: Mutation,
}

impl ClickService {
    /// A service over these ports.
    pub fn new(ports: ClickPorts, keys: Arc<KeyRing>, config: ClickConfig, mutation: Mutation) -> Self {
        Self {
            ports,
            last_resort: None,
            keys,
            config,
            mutation,
        }
    }

    /// With a last resort. Without one, a record that stream and spill refuse is [`Recorded::Nowhere`].
    #[must_use]
    pub fn with_last_resort(mut self, last_resort: Arc<dyn LastResort>) -> Self {
        self.last_resort = Some(last_resort);
        self
    }

    /// The ad that a click would lead to; nothing is judged or recorded (`HEAD`).
    ///
    /// # Errors
    /// Where the catalogue does not answer.
    pub async fn destination(&self, ad_id: AdId) -> PortResult<Option<Arc<Ad>>> {
        within(
            &*self.ports.clock,
            self.config.before_publish_ms,
            self.ports.catalog.ad(ad_id),
        )
        .await
    }

    /// Judges a click, records it, and says where it leads. Whatever the verdict, a known ad redirects.
    ///
    /// # Errors
    /// Only where the catalogue does not answer: then nobody knows where the click leads.
    pub async fn click(&self, request: &ClickRequest<'_>) -> PortResult<ClickOutcome> {
        let began_ms = self.ports.clock.now_ms();
        let Some(ad) = self.destination(request.ad_id).await? else {
            return Ok(ClickOutcome::UnknownAd);
        };
        let took_ms = u64::try_from(self.ports.clock.now_ms() - began_ms).unwrap_or(0);
        let left_ms = self.config.before_publish_ms.saturating_sub(took_ms);
        let mut record = self.judge(request, &ad);
        if record.verdict.is_valid()
            || record.verdict == Verdict::Prefetch && self.mutation.is(Broken::PrefetchClaims)
        {
            let budget_ms = self.config.claim_budget_ms.min(left_ms);
            self.claim(&mut record, budget_ms).await;
        }
        let recorded = self.record(&record).await;
        Ok(ClickOutcome::Redirect {
            ad,
            verdict: record.verdict,
            click_id: record.click_id,
            recorded,
        })
    }

    /// The record of the click, judged by everything but the claim.
    fn judge(&self, request: &ClickRequest<'_>, ad: &Ad) -> ClickRecord {
        let now_ms = self.ports.clock.now_ms();
        let keys = self.keys.keys();
        let click_id = {
            let mut random = [0; 10];
            self.ports.entropy.fill(&mut random);
            ClickId::new(now_ms, random)
        };
        let token = self.token(&keys, request, now_ms);
        let robot = agent::is_robot(request.user_agent);
        let verdict = match &token {
            _ if request.prefetch => Verdict::Prefetch,
            Err(verdict) => *verdict,
            Ok(_) if ad.status != AdStatus::Active => Verdict::InactiveAd,
            Ok(_) if robot => Verdict::Bot,
            Ok(_) => Verdict::Valid,
        };
        let impression = token.ok();
        let known = |wanted: bool| wanted && !request.private;
        let client = request.client.filter(|_| known(true));
        ClickRecord {
            v: RECORD_VERSION,
            click_id,
            impression_id: impression.map(|i| i.impression_id),
            ad_id: ad.ad_id,
            campaign_id: ad.campaign_id,
            advertiser_id: ad.advertiser_id,
            placement_id: impression.map(|i| i.placement_id),
            clicked_at_ms: now_ms,
            verdict,
            duplicate_of: None,
            claimed: false,
            partition_key: match impression {
                Some(i) => partition::of_impression(ad.ad_id, i.impression_id, ad.fan_out),
                None => partition::of_click(click_id),
            },
            device: agent::device(request.user_agent, robot),
            country: request.country,
            network: client.map(network),
            client_hash: client.map(|ip| keys.hasher.hash(HashedKind::Client, &address_bytes(ip), now_ms)),
            agent_hash: request
                .user_agent
                .filter(|_| known(true))
                .map(|agent| keys.hasher.hash(HashedKind::Agent, agent.as_bytes(), now_ms)),
            dwell_ms: impression.map(|i| (now_ms - i.impression_id.unix_ms()).max(0)),
            referrer_host: request.referrer.filter(|_| known(true)).and_then(referrer_host),
        }
    }

    /// The impression of the request's token, or why it has none.
    fn token(&self, keys: &Keys, request: &ClickRequest<'_>, now_ms: i64) -> Result<Impression, Verdict> {
        let token = request
            .token
            .filter(|token| !token.is_empty())
            .ok_or(Verdict::MissingToken)?;
        let impression = keys.ring.verify(token).map_err(|_| Verdict::BadToken)?;
        if impression.ad_id != request.ad_id {
            return Err(Verdict::BadToken);
        }
        if impression.expired(now_ms, self.config.life.token_ms) {
            return Err(Verdict::ExpiredToken);
        }
        Ok(impression)
    }

    /// Asks for the impression; where no answer comes the record stays unclaimed, and whoever counts it asks again.
    async fn claim(&self, record: &mut ClickRecord, budget_ms: u64) {
        let Some(impression_id) = record.impression_id else {
            return;
        };
        let now_ms = self.ports.clock.now_ms();
        let claim = Claim {
            impression_id,
            click_id: record.click_id,
            expires_ms: self.config.life.expires_ms(
                impression_id,
                record.clicked_at_ms,
                now_ms,
                self.mutation,
            ),
        };
        let asked = async {
            match self.ports.claims.claim(claim, now_ms).await {
                // Perhaps applied: asked again, the store names the owner, which may be this very click.
                Err(error) if error.is_retryable() => {
                    let again = self.ports.claims.claim(claim, now_ms).await;
                    if self.mutation.is(Broken::ClaimIgnoresOwner) && matches!(again, Ok(Claimed::First)) {
                        return Ok(Claimed::DuplicateOf(record.click_id));
                    }
                    again
                }
                answer => answer,
            }
        };
        match within(&*self.ports.clock, budget_ms, asked).await {
            Ok(_) if !record.verdict.is_valid() => {}
            Ok(Claimed::First) => record.claimed = true,
            Ok(Claimed::DuplicateOf(owner)) => {
                record.claimed = true;
                record.verdict = Verdict::Duplicate;
                record.duplicate_of = Some(owner);
            }
            Err(error) => tracing::warn!(%error, "a click goes on unclaimed"),
        }
    }

    /// Publishes the record, or spills it.
    async fn record(&self, record: &ClickRecord) -> Recorded {
        let data = match record.to_line() {
            Ok(data) => data,
            Err(error) => {
                tracing::error!(%error, "a click's record could not be written as JSON");
                return Recorded::Nowhere;
            }
        };
        let outgoing = Outgoing {
            partition_key: record.partition_key.clone(),
            data,
        };
        let Err(error) = within(
            &*self.ports.clock,
            self.config.publish_budget_ms,
            self.publish(record, &outgoing),
        )
        .await
        else {
            return Recorded::Stream;
        };
        tracing::warn!(%error, "a click is spilled");
        match within(
            &*self.ports.clock,
            self.config.spill_budget_ms,
            self.ports.spill.keep(outgoing.clone()),
        )
        .await
        {
            Ok(()) => Recorded::Spill,
            Err(_) if self.mutation.is(Broken::RedirectBeforeSpill) => Recorded::Spill,
            Err(error) => self.keep_at_last(&outgoing, &error),
        }
    }

    /// What stream and spill refused. It may be in either: then its copy is dropped as a repeat.
    fn keep_at_last(&self, outgoing: &Outgoing, refused: &PortError) -> Recorded {
        match self.last_resort.as_ref().map(|place| place.keep(outgoing)) {
            Some(Ok(())) => {
                tracing::error!(error = %refused, "a click is kept by the last resort alone");
                Recorded::LastResort
            }
            Some(Err(error)) => {
                tracing::error!(%error, "the last resort could not keep a click");
                Recorded::Nowhere
            }
            None => {
                tracing::error!(error = %refused, "a click could not be recorded");
                Recorded::Nowhere
            }
        }
    }

    async fn publish(&self, record: &ClickRecord, outgoing: &Outgoing) -> PortResult<()> {
        let mut last = PortError::unavailable("not tried");
        for _ in 0..self.config.publish_tries.max(1) {
            let mut outgoing = outgoing.clone();
            if self.mutation.is(Broken::SaltRecomputed)
                && let (Some(impression_id), Ok(Some(ad))) =
                    (record.impression_id, self.ports.catalog.ad(record.ad_id).await)
            {
                outgoing.partition_key = partition::of_impression(ad.ad_id, impression_id, ad.fan_out);
            }
            match self.ports.stream.publish(vec![outgoing]).await.pop() {
                Some(Ok(())) => return Ok(()),
                Some(Err(error)) if error.is_retryable() => last = error,
                Some(Err(error)) => return Err(error),
                None => return Err(PortError::ambiguous("the stream gave no outcome")),
            }
        }
        Err(last)
    }
}
