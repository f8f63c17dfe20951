//! `clickledger serve`: the whole pipeline in one process, on an embedded store.
//!
//! Invariant: the services know nothing of each other but their ports; this module alone joins them. On the way out the
//! order is: no new connections, requests finished, loops ended, stream worked, store closed.

mod exposition;
mod listener;
mod loops;
mod reconcile;
mod signals;
mod start;

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use clickledger_core::domain::mutation::Mutation;
use clickledger_core::ports::{AdCatalog, TokenKeys};
use clickledger_core::service::ads::AdsService;
use clickledger_core::service::click::{ClickConfig, ClickPorts, ClickService};
use clickledger_core::service::delays::{Delays, Timed};
use clickledger_core::service::impressions::ImpressionsService;
use clickledger_core::service::key_ring::KeyRing;
use clickledger_core::service::keys::KeysService;
use clickledger_core::service::metrics::{CountStores, MetricsConfig, MetricsService};
use clickledger_core::service::operations::{OperationsPorts, OperationsService};
use clickledger_core::service::placements::PlacementsService;
use clickledger_core::service::pump::LakeDelivery;
use clickledger_core::service::rate_limit::RateLimits;
use clickledger_core::service::reconciliations::ReconciliationsService;
use clickledger_embedded::{Embedded, OpenOptions, SystemClock, SystemEntropy};
use clickledger_http::{EdgeConfig, Readiness, Restatements, Services};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing_subscriber::EnvFilter;

use self::loops::{Loops, Pumping};
use self::reconcile::{Compaction, Sealing};
use self::signals::Signals;
use self::start::AdminKey;
use crate::config::{Config, LogFormat, ServeArgs};
use crate::{pipeline, sealing};

/// How often a shard's clicks are counted: often enough that a click is visible within a second.
const COUNT_EVERY: Duration = Duration::from_millis(200);
/// How often a shard's clicks are delivered to the lake.
const DELIVER_EVERY: Duration = Duration::from_secs(1);
/// How long the catalogue may take to show that the process is ready.
const READY_LIMIT: Duration = Duration::from_millis(500);
/// An age that nothing reaches, and that can be added to any time.
const NEVER_MS: i64 = i64::MAX / 4;

/// Serves until a signal says stop.
pub(crate) fn run(args: &ServeArgs) -> Result<ExitCode> {
    let config = Config::load(args)?;
    log_to_stderr(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(serve(config))?;
    Ok(ExitCode::SUCCESS)
}

fn log_to_stderr(config: &Config) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&config.log))
        .with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).init(),
        LogFormat::Text => log.with_ansi(false).init(),
    }
}

async fn serve(config: Config) -> Result<()> {
    // Before anything else, so that the address is known and a taken one changes nothing.
    let listener =
        listener::bind(config.listen).with_context(|| format!("listening on {}", config.listen))?;
    let address = listener.local_addr()?;
    let signals = Signals::new()?;
    // Before the services: they take their counters from it.
    let recorder = exposition::install()?;

    let (folder, shards) = (config.data.clone(), config.shards);
    let store = tokio::task::spawn_blocking(move || {
        let options = OpenOptions {
            shards,
            ..OpenOptions::default()
        };
        Embedded::open(folder, options)
    })
    .await??;
    let ready = Arc::new(Ready {
        stopping: AtomicBool::new(false),
        catalog: Arc::new(store.catalog()),
    });
    let keys = KeyRing::load(Arc::new(store.token_keys()))
        .await
        .context("loading the token keys")?;
    let keys = Arc::new(keys);
    let (orders, ordered) = reconcile::orders();
    let delays = Delays::default();
    let services = services(
        &store,
        &keys,
        &delays,
        config.rate_limits,
        Arc::clone(&ready),
        Arc::new(orders),
    );

    let own_url = format!("http://{address}");
    let (admin_key, first) = start::admin_key(&services, config.admin_key.as_ref(), address).await?;
    let demo = if address.ip().is_loopback() {
        let secret = store.token_keys().load().await?.hashing;
        start::demo(&services, first, &own_url, &secret).await?
    } else {
        None
    };
    let has_demo = demo.is_some();
    let defaults = EdgeConfig::default();
    let edge = EdgeConfig {
        trusted_proxy: config.proxy.clone(),
        country_header: config.country_header.clone().unwrap_or(defaults.country_header),
        demo,
        limits: defaults.limits,
    };
    let router = exposition::route(recorder, Arc::clone(&services.keys))
        .fallback_service(clickledger_http::router(services, edge));

    let mut loops = loops(&store, &keys, &delays).await?;
    loops.seal(Sealing {
        reconcile: Arc::new(sealing::reconcile_that_closes(
            &store,
            Arc::new(SystemClock),
            config.close_after.map_or(NEVER_MS, |after| {
                i64::try_from(after.as_millis()).map_or(NEVER_MS, |ms| ms.min(NEVER_MS))
            }),
        )),
        compaction: config.compact_after.map(|after| Compaction {
            lake: store.lake_reader(),
            after,
        }),
        every: config.reconcile_every,
        orders: ordered,
    });
    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(listener::serve(listener, router, config.max_connections, stopped));
    tracing::info!(%address, shards, "serving");
    announce(address, has_demo, &config.data, &admin_key);
    drop(admin_key);

    signals.first().await;
    tracing::info!("stopping; a second signal ends at once");
    ready.stopping.store(true, Ordering::Release);
    stop.send_replace(true);
    server.await.context("the server")?;
    loops.stop().await;
    drop(keys);
    drop(ready);
    store.close().await;
    tracing::info!("stopped");
    Ok(())
}

fn services(
    store: &Embedded,
    keys: &Arc<KeyRing>,
    delays: &Delays,
    limits: RateLimits,
    ready: Arc<Ready>,
    restatements: Arc<dyn Restatements>,
) -> Services {
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let ports = ClickPorts {
        catalog: Arc::new(store.catalog()),
        claims: Arc::new(store.claims()),
        stream: Arc::new(store.stream()),
        spill: Arc::new(store.spill()),
        clock: clock.clone(),
        entropy: entropy.clone(),
    };
    let config = ClickConfig::default();
    let catalog: Arc<dyn AdCatalog> = Arc::new(store.catalog());
    let placements = PlacementsService::new(Arc::clone(&catalog), clock.clone(), entropy.clone());
    let impressions = ImpressionsService::new(
        Arc::clone(&catalog),
        Arc::clone(keys),
        clock.clone(),
        entropy.clone(),
        config.life.token_ms,
    );
    let seals = Arc::new(store.seals());
    let stores = CountStores {
        buckets: Arc::new(store.buckets()),
        manifests: seals.clone(),
        sealed: seals.clone(),
    };
    Services {
        click: Arc::new(ClickService::new(
            ports,
            Arc::clone(keys),
            config,
            Mutation::default(),
        )),
        ads: Arc::new(AdsService::new(catalog, clock.clone(), entropy.clone())),
        placements: Arc::new(placements),
        impressions: Arc::new(impressions),
        keys: Arc::new(KeysService::new(Arc::new(store.keys()), clock.clone(), entropy).limited(limits)),
        metrics: MetricsService::new(stores, clock.clone(), MetricsConfig::default()),
        operations: operations(store, delays),
        reconciliations: ReconciliationsService::new(seals.clone(), seals),
        restatements,
        clock,
        ready,
    }
}

fn operations(store: &Embedded, delays: &Delays) -> OperationsService {
    let seals = Arc::new(store.seals());
    let ports = OperationsPorts {
        buckets: Arc::new(store.buckets()),
        manifests: seals.clone(),
        reports: seals,
        gauges: Arc::new(store.gauges()),
        measurements: Arc::new(delays.clone()),
        clock: Arc::new(SystemClock),
    };
    OperationsService::new(ports)
}

async fn loops(store: &Embedded, keys: &Arc<KeyRing>, delays: &Delays) -> Result<Loops> {
    let clock = Arc::new(SystemClock);
    let aggregate = Arc::new(pipeline::aggregate(store, clock.clone()));
    let consumers = vec![
        Pumping {
            consumer: Arc::new(Timed::new(aggregate, delays.clone(), clock.clone())),
            batch: pipeline::BATCH,
            pace: COUNT_EVERY,
        },
        Pumping {
            consumer: Arc::new(LakeDelivery::new(Arc::new(store.lake()))),
            batch: pipeline::BATCH,
            pace: DELIVER_EVERY,
        },
    ];
    let mut loops = Loops::pump(Arc::new(store.stream()), store.published(), consumers).await?;
    loops.settle(Arc::new(pipeline::settle(store, clock.clone())));
    loops.refresh(Arc::clone(keys));
    let (maintenance, step) = pipeline::maintenance(store, clock);
    loops.maintain(Arc::new(maintenance), step);
    Ok(loops)
}

/// Says on standard output where everything is. Whoever closed it has no need of it.
fn announce(address: SocketAddr, has_demo: bool, data: &Path, admin_key: &AdminKey) {
    let data = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    let mut lines = vec![
        format!("clickledger serves http://{address}"),
        format!("  data folder  {}", data.display()),
        format!("  dashboard    http://{address}/dashboard"),
    ];
    if has_demo {
        lines.push(format!("  demo page    http://{address}/demo"));
    }
    if let AdminKey::Made(key) = admin_key {
        lines.push(format!("  admin key    {key}"));
        lines.push(
            "               It is shown only this once. The client commands take it from CLICKLEDGER_KEY."
                .to_owned(),
        );
    }
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", lines.join("\n"));
    let _ = out.flush();
}

/// Ready as long as the catalogue answers and nobody said stop.
struct Ready {
    stopping: AtomicBool,
    catalog: Arc<dyn AdCatalog>,
}

#[async_trait]
impl Readiness for Ready {
    async fn ready(&self) -> Result<(), String> {
        if self.stopping.load(Ordering::Acquire) {
            return Err("the server is stopping".to_owned());
        }
        match timeout(READY_LIMIT, self.catalog.list_placements(None, 1)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err("the data folder does not answer".to_owned()),
        }
    }
}
