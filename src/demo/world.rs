//! The services of the demo, on a data folder and on a clock that runs through the past.
//!
//! Invariant: whatever is clicked goes the way of every click: judged, claimed, published, counted by the pump, delivered to the
//! lake, and sealed from there.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clickledger_core::domain::ad::SlotEntry;
use clickledger_core::domain::api_key::Scope;
use clickledger_core::domain::correction::{HourReport, Outcome};
use clickledger_core::domain::country::Country;
use clickledger_core::domain::ids::{AdId, SlotName};
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::ports::ShardReader;
use clickledger_core::service::ads::{AdPatch, AdsService, NewAd};
use clickledger_core::service::click::{
    ClickConfig, ClickOutcome, ClickPorts, ClickRequest, ClickService, Recorded,
};
use clickledger_core::service::impressions::{ImpressionsService, Shown};
use clickledger_core::service::key_ring::KeyRing;
use clickledger_core::service::keys::KeysService;
use clickledger_core::service::maintenance::Maintenance;
use clickledger_core::service::placements::{Expect, PlacementsService};
use clickledger_core::service::pump::{Consumer, LakeDelivery, Pump};
use clickledger_core::service::reconcile::Reconcile;
use clickledger_core::service::settle::Settle;
use clickledger_embedded::{Embedded, OpenOptions, Stream, SystemClock, SystemEntropy};
use tokio::task::JoinSet;

use super::clock::{self, DemoClock, SeededEntropy};
use super::outage::Refusing;
use super::story::Story;
use crate::{pipeline, sealing};

/// Spilled clicks that are put back at once.
const SETTLE_AT_ONCE: usize = 500;

/// One click, as a browser sends it.
#[derive(Debug, Clone)]
pub(super) struct Click {
    pub(super) at_ms: i64,
    pub(super) ad_id: AdId,
    pub(super) token: Option<String>,
    pub(super) user_agent: Option<&'static str>,
    pub(super) client: IpAddr,
    pub(super) country: Country,
    pub(super) prefetch: bool,
    pub(super) private: bool,
    pub(super) referrer: Option<&'static str>,
}

/// The open folder with its services.
pub(super) struct World {
    store: Embedded,
    clock: Arc<DemoClock>,
    stream: Arc<Stream>,
    click: Arc<ClickService>,
    ads: AdsService,
    placements: PlacementsService,
    impressions: ImpressionsService,
    pumps: [Pump; 2],
    settle: Settle,
    maintenance: Maintenance,
    reconcile: Reconcile,
    spilled: bool,
}

impl World {
    /// In a folder that is made now.
    pub(super) async fn new(data: &Path, story: &Story, seed: u64) -> Result<Self> {
        let clock = Arc::new(DemoClock::new(story.from_ms));
        let options = OpenOptions {
            clock: clock.clone(),
            ..OpenOptions::default()
        };
        let store = Embedded::open(data, options)?;
        let (catalog, stream) = (Arc::new(store.catalog()), Arc::new(store.stream()));
        let keys = Arc::new(KeyRing::load(Arc::new(store.token_keys())).await?);
        let entropy = Arc::new(SeededEntropy::new(seed));
        let config = ClickConfig::default();
        let ports = ClickPorts {
            catalog: catalog.clone(),
            claims: Arc::new(store.claims()),
            stream: Arc::new(Refusing {
                port: store.stream(),
                clock: clock.clone(),
                times: vec![story.outage.clone(), story.restart.clone()],
            }),
            spill: Arc::new(Refusing {
                port: store.spill(),
                clock: clock.clone(),
                times: vec![story.restart.clone()],
            }),
            clock: clock.clone(),
            entropy: Arc::new(SystemEntropy),
        };
        let consumers: [Arc<dyn Consumer>; 2] = [
            Arc::new(pipeline::aggregate(&store, clock.clone())),
            Arc::new(LakeDelivery::new(Arc::new(store.lake()))),
        ];
        Ok(Self {
            click: Arc::new(ClickService::new(
                ports,
                Arc::clone(&keys),
                config,
                Mutation::default(),
            )),
            ads: AdsService::new(catalog.clone(), clock.clone(), entropy.clone()),
            placements: PlacementsService::new(catalog.clone(), clock.clone(), entropy.clone()),
            impressions: ImpressionsService::new(catalog, keys, clock.clone(), entropy, config.life.token_ms),
            pumps: consumers.map(|consumer| Pump::new(stream.clone(), consumer, pipeline::BATCH)),
            settle: pipeline::settle(&store, clock.clone()),
            maintenance: pipeline::maintenance(&store, clock.clone()).0,
            reconcile: sealing::reconcile(&store, clock.clone()),
            spilled: false,
            stream,
            clock,
            store,
        })
    }

    /// Makes an ad.
    pub(super) async fn ad(&self, ad: NewAd) -> Result<AdId> {
        Ok(self.ads.create(&Scope::Admin, ad).await?.ad_id)
    }

    /// Pauses, or changes otherwise, an ad.
    pub(super) async fn change(&self, ad_id: AdId, patch: &AdPatch) -> Result<()> {
        self.ads.update(&Scope::Admin, ad_id, patch, None).await?;
        Ok(())
    }

    /// Fills a slot.
    pub(super) async fn fill(&self, slot: &SlotName, entries: &[SlotEntry], site: &str) -> Result<()> {
        let site = Some(site.to_owned());
        self.placements
            .put(&Scope::Admin, slot, entries, site, Expect::Any)
            .await?;
        Ok(())
    }

    /// Shows an ad in a slot, at this time.
    pub(super) async fn show(&self, slot: &SlotName, at_ms: i64) -> Result<Shown> {
        let shown = clock::at(at_ms, self.impressions.show(slot)).await?;
        shown.with_context(|| format!("{} shows nothing", slot.as_str()))
    }

    /// Time passes up to `now_ms`, and these clicks are made: those of one visit one after another, visits at once. Says of each,
    /// in their order, whether it was recorded.
    pub(super) async fn click(&mut self, now_ms: i64, visits: Vec<Vec<Click>>) -> Result<Vec<Vec<bool>>> {
        // Records arrive at the end of the step, so that arrival times only rise.
        self.clock.set(now_ms);
        let mut recorded: Vec<Vec<bool>> = vec![Vec::new(); visits.len()];
        let mut tasks = JoinSet::new();
        for (place, clicks) in visits.into_iter().enumerate() {
            let service = Arc::clone(&self.click);
            tasks.spawn(async move {
                let mut outcomes = Vec::with_capacity(clicks.len());
                for click in clicks {
                    outcomes.push(send(&service, &click).await?);
                }
                anyhow::Ok((place, outcomes))
            });
        }
        while let Some(done) = tasks.join_next().await {
            let (place, outcomes) = done??;
            self.spilled |= outcomes.contains(&Recorded::Spill);
            let kept = outcomes.into_iter().map(|outcome| outcome != Recorded::Nowhere);
            recorded[place] = kept.collect();
        }
        Ok(recorded)
    }

    /// Puts spilled clicks back, where some are.
    pub(super) async fn settle(&mut self) -> Result<()> {
        while self.spilled {
            let settled = self.settle.round(SETTLE_AT_ONCE).await?;
            ensure!(settled.waiting == 0, "spilled clicks could not be put back");
            self.spilled = settled.published > 0;
        }
        Ok(())
    }

    /// Counts what is on the stream, and delivers it to the lake.
    pub(super) async fn pump(&self) -> Result<()> {
        for shard in self.stream.shards().await? {
            for pump in &self.pumps {
                loop {
                    let pumped = pump.shard(&shard).await?;
                    ensure!(!pumped.failed, "clicks could not be counted or delivered");
                    if !pumped.more {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// What `serve` does every minute: seals what is over, forgets what nobody needs.
    pub(super) async fn seal(&self) -> Result<Vec<HourReport>> {
        let mut reports = self.reconcile.hourly().await?;
        if self.reconcile.is_daily_due().await? {
            reports.extend(self.reconcile.daily().await?.reports);
        }
        for report in &reports {
            ensure!(
                matches!(report.outcome, Outcome::Sealed | Outcome::Unchanged),
                "an hour could not be sealed: {} {}",
                report.outcome.as_str(),
                report.detail
            );
        }
        self.maintenance.round().await?;
        Ok(reports)
    }

    /// Makes keys of these scopes, at the time of the machine's clock, and closes the folder.
    pub(super) async fn close(self, scopes: Vec<Scope>) -> Result<Vec<String>> {
        let keys = KeysService::new(
            Arc::new(self.store.keys()),
            Arc::new(SystemClock),
            Arc::new(SystemEntropy),
        );
        let mut texts = Vec::new();
        for scope in scopes {
            texts.push(keys.create(scope).await?.1);
        }
        let store = self.store.clone();
        drop((keys, self));
        store.close().await;
        Ok(texts)
    }

    /// The id of a slot that was filled.
    pub(super) async fn placement_id(
        &self,
        slot: &SlotName,
    ) -> Result<clickledger_core::domain::ids::PlacementId> {
        let found = self.placements.get(slot).await?;
        Ok(found.context("a slot of the demo")?.placement_id)
    }
}

async fn send(service: &ClickService, click: &Click) -> Result<Recorded> {
    let request = ClickRequest {
        ad_id: click.ad_id,
        token: click.token.as_deref(),
        user_agent: click.user_agent,
        client: Some(click.client),
        country: click.country,
        prefetch: click.prefetch,
        private: click.private,
        referrer: click.referrer,
    };
    match clock::at(click.at_ms, service.click(&request)).await? {
        ClickOutcome::Redirect { recorded, .. } => Ok(recorded),
        ClickOutcome::UnknownAd => anyhow::bail!("an ad of the demo is not there"),
    }
}
