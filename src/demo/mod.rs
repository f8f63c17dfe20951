//! `clickledger demo`: fills a new data folder with weeks of believable traffic, through the services that count real clicks.
//!
//! Invariant: only a new folder is filled; what is printed as clicked is what was done, not what was counted.

mod cast;
mod clock;
mod outage;
mod people;
mod season;
mod stage;
mod story;
mod tally;
mod traffic;
mod world;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use clickledger_core::domain::api_key::Scope;
use clickledger_core::domain::correction::{HourReport, Outcome};
use clickledger_core::domain::ids::AdvertiserId;
use clickledger_core::domain::time::{HOUR_MS, MINUTE_MS};
use clickledger_core::ports::Clock;
use clickledger_core::service::metrics::LocalTime;
use clickledger_embedded::SystemClock;
use jiff::tz::TimeZone;
use serde_json::json;

use self::stage::Stage;
use self::story::Story;
use self::tally::Tally;
use self::traffic::Traffic;
use self::world::World;
use crate::parse::{self, When};
use crate::progress;

/// Minutes after an hour's end at which it is sealed: whatever was on time has come by then.
const SEALED_AFTER_MS: i64 = 7 * MINUTE_MS;

/// Fills a new data folder with weeks of believable traffic: busy evenings and quiet nights, campaigns that begin and pause, an ad
/// that grows hot, forged, repeated and stale clicks, a robot, an outage whose clicks come late, a restart that loses some. It
/// goes through the same services as every click, hours and days are sealed, so that `clickledger serve` can show it at once.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Folder to be filled; it must be new or empty
    #[arg(long, value_name = "DIR", default_value = "./clickledger-demo")]
    data: PathBuf,
    /// How many days, the last of them today
    #[arg(long, value_name = "N", default_value_t = 31, value_parser = clap::value_parser!(u32).range(i64::from(Story::LEAST_DAYS)..=366))]
    days: u32,
    /// About how many clicks
    #[arg(long, value_name = "N", default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1000..=20_000_000))]
    clicks: u64,
    /// The same seed, days, clicks and end give the same counts
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Where it ends: a time such as 2026-01-02T00:00:00Z, -1h or now
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true, value_parser = parse::when)]
    until: When,
    /// Print keys and what was clicked as JSON
    #[arg(long)]
    json: bool,
}

/// Fills it.
pub(crate) fn run(args: &DemoArgs) -> Result<ExitCode> {
    let now_ms = SystemClock.now_ms();
    let until_ms = args.until.unix_ms(now_ms, &TimeZone::UTC)?;
    anyhow::ensure!(until_ms <= now_ms, "--until must not lie in the future");
    refuse_old(&args.data)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let story = Story::new(until_ms, args.days);
    let world = runtime.block_on(World::new(&args.data, &story, args.seed))?;
    let filled = runtime.block_on(fill(args, &story, world)).with_context(|| {
        format!(
            "{} is filled by half now and of no use: remove it",
            args.data.display()
        )
    })?;
    filled.print(args, &story)?;
    Ok(ExitCode::SUCCESS)
}

fn refuse_old(data: &Path) -> Result<()> {
    let name = data.display();
    let mut entries = match std::fs::read_dir(data) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("{name} can't be read")),
    };
    anyhow::ensure!(
        entries.next().is_none(),
        "{name} is not empty: the demo fills a new folder (--data)"
    );
    Ok(())
}

/// What was made.
struct Filled {
    admin_key: String,
    advertiser_key: String,
    publisher_key: String,
    tally: Tally,
    hours: usize,
    corrected: usize,
    corrections: u64,
}

async fn fill(args: &DemoArgs, story: &Story, mut world: World) -> Result<Filled> {
    let mut stage = Stage::new(story.clone())?;
    let mut traffic = Traffic::new(story.clone(), args.seed, args.clicks)?;
    let hours = (story.until_ms - story.from_ms) / HOUR_MS;
    let bar = progress::bar("hours", hours.unsigned_abs());
    let mut reports: Vec<HourReport> = Vec::new();
    let mut now_ms = story.from_ms;
    while now_ms < story.until_ms {
        let end_ms = (now_ms + MINUTE_MS).min(story.until_ms);
        stage.act(&world, now_ms).await?;
        traffic.shows(&world, now_ms, end_ms).await?;
        traffic.clicks(&mut world, end_ms, stage.paused()).await?;
        if !story.outage.contains(&end_ms) {
            world.settle().await?;
        }
        if end_ms % HOUR_MS == SEALED_AFTER_MS {
            world.pump().await?;
            reports.extend(world.seal().await?);
            bar.inc(1);
        }
        now_ms = end_ms;
    }
    world.pump().await?;
    bar.finish_and_clear();

    let slot = world.placement_id(&stage::first_slot()?).await?;
    let scopes = vec![
        Scope::Admin,
        Scope::Advertiser {
            advertiser_id: AdvertiserId(cast::MAIN_ADVERTISER),
            read_only: true,
        },
        Scope::Publisher {
            placement_ids: vec![slot],
        },
    ];
    let keys: [String; 3] = world
        .close(scopes)
        .await?
        .try_into()
        .map_err(|_| anyhow::anyhow!("as many keys as scopes"))?;
    let [admin_key, advertiser_key, publisher_key] = keys;
    let corrected = reports.iter().filter(|report| report.corrections > 0);
    Ok(Filled {
        admin_key,
        advertiser_key,
        publisher_key,
        tally: traffic.tally,
        hours: reports
            .iter()
            .filter(|report| report.outcome == Outcome::Sealed)
            .count(),
        corrected: corrected.clone().count(),
        corrections: corrected.map(|report| report.corrections).sum(),
    })
}

impl Filled {
    fn print(&self, args: &DemoArgs, story: &Story) -> Result<()> {
        let [from, until] = [story.from_ms, story.until_ms].map(LocalTime::utc);
        let mut out = std::io::stdout().lock();
        if args.json {
            let advertiser = cast::MAIN_ADVERTISER.to_string();
            let document = json!({
                "data": args.data,
                "from": from.to_string(),
                "until": until.to_string(),
                "seed": args.seed,
                "admin_key": self.admin_key,
                "advertiser_id": advertiser,
                "advertiser_key": self.advertiser_key,
                "publisher_slot": cast::SLOTS[0].name,
                "publisher_key": self.publisher_key,
                "hours_sealed": self.hours,
                "corrections": self.corrections,
                "clicked": self.tally,
            });
            serde_json::to_writer_pretty(&mut out, &document)?;
            return Ok(writeln!(out)?);
        }
        let total = &self.tally.total;
        let invalid = total.invalid_by_verdict.iter();
        let invalid: Vec<String> = invalid
            .map(|(verdict, clicks)| format!("{clicks} {verdict}"))
            .collect();
        let data = args.data.display();
        writeln!(
            out,
            "{data} holds {} days of clicks, {from} to {until}\n  \
             clicks          {}, of which {} are valid\n  \
             invalid         {}\n  \
             hours sealed    {}; {} changed a count, {} corrections in all\n  \
             admin key       {}\n  \
             advertiser key  {}  (advertiser {}, reads only)\n  \
             publisher key   {}  (slot {})\n\
             The keys are shown only this once. Now:\n  \
             clickledger serve --data {data}\n\
             and open http://127.0.0.1:8080/dashboard with one of them.",
            args.days,
            total.gross_clicks,
            total.clicks,
            invalid.join(", "),
            self.hours,
            self.corrected,
            self.corrections,
            self.admin_key,
            self.advertiser_key,
            cast::MAIN_ADVERTISER,
            self.publisher_key,
            cast::SLOTS[0].name,
        )?;
        Ok(())
    }
}
