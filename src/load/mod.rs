//! `clickledger load`: clicks over real HTTP at a given rate, then compares what was sent with what is counted.
//!
//! Invariant: the clock runs only while clicks are sent; ads, slots and impressions are ready before.

mod clicks;
mod plan;
mod prepare;
mod report;
mod watch;
mod wire;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use clickledger_core::ports::{Clock, Entropy};
use clickledger_embedded::{SystemClock, SystemEntropy};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use self::clicks::Run;
use self::plan::{Plan, Popularity};
use self::prepare::Prepare;
use self::report::{Report, Setup};
use self::watch::Question;
use self::wire::Site;
use crate::config::TargetArgs;
use crate::parse;

/// A browser's: what calls itself otherwise may be on the robots list, and its clicks are not valid then.
const USER_AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// Between the last impression and the first click.
const BREATH: Duration = Duration::from_millis(200);

/// Makes ads and slots of an advertiser of its own, fetches signed impressions, then clicks over real HTTP with
/// keep-alive on an open schedule: a late answer delays no other click, and latency counts from when a click was due.
/// Afterwards it asks the metrics API until everything is visible, and compares. Exits with 1 if anything is lost or
/// counted twice.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  clickledger load --rate 2000 --duration 30s --repeats 5 --forged 1 --ads 1000 --zipf 1.1\n\n\
    Use it against a server of your own. Its ads and slots stay in the catalogue."
)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Clicks per second
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// For how long, such as 30s, 5m or 1h
    #[arg(long, value_name = "D", default_value = "10s", value_parser = parse::duration)]
    duration: Duration,
    /// Share of clicks on impressions that were clicked already, percent
    #[arg(long, value_name = "P%", default_value = "0", value_parser = parse::percent)]
    repeats: f64,
    /// Share of clicks with a forged token, percent
    #[arg(long, value_name = "P%", default_value = "0", value_parser = parse::percent)]
    forged: f64,
    /// How many ads
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    ads: u32,
    /// How unequal the ads are: the n-th is shown in proportion to 1/n^S; 0 makes them equal
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = parse::exponent)]
    zipf: f64,
    /// Connections; by default one for every 40 clicks per second, from 8 to 256
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: Option<u32>,
    /// How long to wait after the last click until everything is visible
    #[arg(long, value_name = "D", default_value = "30s", value_parser = parse::duration)]
    patience: Duration,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Runs it; the exit code says whether the counts are right.
pub(crate) fn run(args: &LoadArgs) -> Result<ExitCode> {
    anyhow::ensure!(
        args.repeats + args.forged < 100.0,
        "--repeats and --forged together must be less than 100 %"
    );
    // One thread: the machine is shared with the server that is measured.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(load(args))?;
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        report.write(&mut out)?;
    }
    Ok(if report.ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn load(args: &LoadArgs) -> Result<Report> {
    let mut random = [0; 8];
    SystemEntropy.fill(&mut random);
    let run_id = u64::from_be_bytes(random) >> 16;
    let advertiser_id = run_id | 1 << 48;
    let site = Arc::new(Site::resolve(&args.target.url()?).await?);
    let authorization = format!("Authorization: Bearer {}\r\n", args.target.key()?);
    let connections = args.connections.unwrap_or_else(|| (args.rate / 40).clamp(8, 256)) as usize;
    let count = (f64::from(args.rate) * args.duration.as_secs_f64())
        .round()
        .max(1.0);
    anyhow::ensure!(
        count <= f64::from(u32::MAX),
        "a run has at most {} clicks",
        u32::MAX
    );
    let plan = Plan::new(count as usize, args.repeats / 100.0, args.forged / 100.0, run_id);

    let prepare = Prepare {
        site: Arc::clone(&site),
        authorization: authorization.clone(),
        connections: connections.max(32),
        run: run_id,
    };
    let popularity = Arc::new(Popularity::new(args.ads as usize, args.zipf));
    let ads = prepare.ads(advertiser_id, args.ads as usize).await?;
    prepare.slots(Arc::clone(&popularity), ads).await?;
    let impressions = prepare
        .impressions(&popularity, plan.impressions as usize)
        .await?;

    let question = Question {
        site: Arc::clone(&site),
        authorization,
        advertiser_id,
        began_ms: SystemClock.now_ms(),
    };
    let interval = Duration::from_secs(1) / args.rate;
    let start = Instant::now() + BREATH;
    let run = Arc::new(Run::new(Arc::clone(&site), plan, impressions, interval, start)?);
    let clicking = Arc::new(AtomicBool::new(true));
    let watcher = tokio::spawn(watch::watch(
        question,
        Arc::clone(&run),
        start,
        Arc::clone(&clicking),
        args.patience,
    ));
    let cpu_before = cpu_time();
    let clicked = run.click(connections).await;
    let cpu = cpu_time().saturating_sub(cpu_before);
    clicking.store(false, Ordering::Release);
    clicked?;
    let watched = watcher.await?;
    anyhow::ensure!(
        watched.totals.is_some(),
        "the metrics API never answered: nothing can be said about the counts"
    );
    let setup = Setup {
        target: args.target.url()?.to_string(),
        advertiser_id: advertiser_id.to_string(),
        rate_per_s: args.rate,
        duration_s: args.duration.as_secs_f64(),
        repeats_percent: args.repeats,
        forged_percent: args.forged,
        ads: args.ads as usize,
        zipf: args.zipf,
        connections,
    };
    Ok(Report::new(setup, &run.tally(), &watched, cpu)?)
}

/// CPU time of this process.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
