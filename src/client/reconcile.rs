//! `clickledger reconcile`: has a past range recounted, and shows what sealing found.
//!
//! Invariant: counts change only after their report was shown and somebody said yes, on the terminal or by `--yes`.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use clickledger_core::domain::time::{HOUR_MS, Hour};
use clickledger_core::ports::Clock;
use clickledger_core::service::metrics::LocalTime;
use clickledger_core::service::reconcile::Restatement;
use clickledger_embedded::SystemClock;
use clickledger_http::ReportView;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use url::Url;

use super::api::Api;
use super::output;
use crate::config::TargetArgs;
use crate::folder::Folder;
use crate::parse::{self, When};

/// How long a server may be silent between two reports.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often it is asked.
const POLL: Duration = Duration::from_millis(300);
const COLUMNS: [&str; 9] = [
    "hour",
    "clicks_in_lake",
    "clicks_counted",
    "difference",
    "corrections",
    "outcome",
    "state",
    "run",
    "detail",
];

/// What to do.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Command {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    restate: Restate,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show what sealing found in each hour
    #[command(
        after_help = "Examples:\n  clickledger reconcile report\n  clickledger reconcile report --from 2026-01-01 --to 2026-02-01 --json"
    )]
    Report(Report),
}

#[derive(Debug, Args)]
struct Restate {
    /// From which hour on: RFC 3339, a date (UTC), a time ago such as -7d, today, yesterday
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = parse::when, required = true)]
    from: Option<When>,
    /// Until which hour, exclusive; only hours that are over are recounted
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = parse::when, required = true)]
    to: Option<When>,
    /// Only show what would be corrected
    #[arg(long)]
    dry_run: bool,
    /// Take the lake as it is, though it is not proved complete, or holds less than was counted
    #[arg(long)]
    accept_lowering: bool,
    /// Don't ask before counts are changed
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    place: Place,
    /// Print the reports as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Report {
    /// From which hour on
    #[arg(long, value_name = "TIME", default_value = "-7d", allow_hyphen_values = true, value_parser = parse::when)]
    from: When,
    /// Until when, exclusive
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true, value_parser = parse::when)]
    to: When,
    /// At most so many reports
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    limit: usize,
    #[command(flatten)]
    place: Place,
    /// Print the reports as JSON
    #[arg(long)]
    json: bool,
}

/// Where: at a server, or in a data folder that no server has open.
#[derive(Debug, Args)]
struct Place {
    /// Work on this data folder instead of asking a server; no server may have it open
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    target: TargetArgs,
}

impl Command {
    /// Does it.
    pub(crate) fn run(&self) -> Result<()> {
        match &self.what {
            Some(What::Report(report)) => report.run(),
            None => self.restate.run(),
        }
    }
}

/// The hours of a range: those that it touches, as far as they are over.
fn hours(from: When, to: When) -> Result<(Hour, Hour)> {
    let now_ms = SystemClock.now_ms();
    let at_ms = |when: When| when.unix_ms(now_ms, &TimeZone::UTC);
    let (from, to) = (Hour::of(at_ms(from)?), Hour::of(at_ms(to)? + HOUR_MS - 1));
    let to = to.min(Hour::of(now_ms));
    ensure!(from < to, "there is no hour that is over from --from to --to");
    Ok((from, to))
}

impl Restate {
    fn run(&self) -> Result<()> {
        let (Some(from), Some(to)) = (self.from, self.to) else {
            bail!("--from and --to say which range");
        };
        let (from, to) = hours(from, to)?;
        let order = |dry_run| Restatement {
            from,
            to,
            dry_run,
            accept_lowering: self.accept_lowering,
            asked_at_ms: None,
        };
        let mut ledger = Ledger::open(&self.place)?;
        let shown = ledger.restate(order(true))?;
        if self.dry_run {
            return self.show(&shown);
        }
        let changed = shown.iter().filter(|report| report["corrections"] != 0).count();
        if !self.json {
            self.show(&shown)?;
        }
        if !self.yes {
            self.ask(changed)?;
        }
        let done = ledger.restate(order(false))?;
        if !self.json {
            output::line("")?;
        }
        self.show(&done)
    }

    fn ask(&self, changed: usize) -> Result<()> {
        ensure!(
            io::stdin().is_terminal(),
            "nobody can be asked here: nothing was changed; --yes goes ahead, --dry-run only shows"
        );
        let mut err = io::stderr().lock();
        write!(
            err,
            "\nSeal these hours, {changed} of them with corrections? [y/N] "
        )?;
        err.flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        ensure!(matches!(answer.trim(), "y" | "Y" | "yes"), "nothing was changed");
        Ok(())
    }

    fn show(&self, reports: &[Value]) -> Result<()> {
        show(reports, self.json)
    }
}

impl Report {
    fn run(&self) -> Result<()> {
        let now_ms = SystemClock.now_ms();
        let at_ms = |when: When| when.unix_ms(now_ms, &TimeZone::UTC);
        let (from, to) = (
            Hour::of(at_ms(self.from)?),
            Hour::of(at_ms(self.to)? + HOUR_MS - 1),
        );
        let reports = Ledger::open(&self.place)?.reports(from, to, self.limit)?;
        show(&reports, self.json)
    }
}

fn show(reports: &[Value], json: bool) -> Result<()> {
    if json {
        return output::json(&json!({ "items": reports }));
    }
    let rows = reports.iter().map(|report| {
        COLUMNS
            .iter()
            .map(|column| output::text(&report[*column]))
            .collect()
    });
    output::table(&COLUMNS, |place| (1..5).contains(&place), rows)?;
    let sum = |name: &str| {
        reports
            .iter()
            .filter_map(|report| report[name].as_i64())
            .sum::<i64>()
    };
    output::line(&format!(
        "\n{} reports: {} clicks in the lake, {} counted, {} corrections",
        reports.len(),
        sum("clicks_in_lake"),
        sum("clicks_counted"),
        sum("corrections")
    ))
}

/// What is worked on.
enum Ledger {
    Server(Api),
    Folder(Folder),
}

impl Ledger {
    fn open(place: &Place) -> Result<Self> {
        Ok(match &place.data {
            Some(data) => Self::Folder(Folder::open(data)?),
            None => Self::Server(Api::new(&place.target)?),
        })
    }

    /// The reports of the hours in `from..to`, at most `limit`.
    fn reports(&mut self, from: Hour, to: Hour, limit: usize) -> Result<Vec<Value>> {
        match self {
            Self::Server(api) => api.items(&listed(api, from, to)?, limit),
            Self::Folder(folder) => views(folder.reports(from, to, limit)?),
        }
    }

    /// Recounts, and answers the report of each hour.
    fn restate(&mut self, order: Restatement) -> Result<Vec<Value>> {
        match self {
            Self::Server(api) => restate_there(api, order),
            Self::Folder(folder) => views(folder.restate(&order)?),
        }
    }
}

fn views(reports: Vec<clickledger_core::domain::correction::HourReport>) -> Result<Vec<Value>> {
    let views = reports
        .into_iter()
        .map(|report| serde_json::to_value(ReportView::from(report)));
    views.collect::<Result<_, _>>().map_err(Into::into)
}

fn time(hour: Hour) -> String {
    LocalTime::utc(hour.start_ms()).to_string()
}

fn listed(api: &Api, from: Hour, to: Hour) -> Result<Url> {
    let mut url = api.url(&["v1", "reconciliations"])?;
    url.query_pairs_mut()
        .append_pair("from", &time(from))
        .append_pair("to", &time(to));
    Ok(url)
}

/// Starts it and waits for a report of each hour.
fn restate_there(api: &Api, order: Restatement) -> Result<Vec<Value>> {
    let body = json!({
        "from": time(order.from),
        "to": time(order.to),
        "dry_run": order.dry_run,
        "accept_lowering": order.accept_lowering,
    });
    let accepted = api
        .send("POST", &api.url(&["v1", "reconciliations"])?, Some(&body))?
        .json;
    let when = |value: &Value| -> Result<i64> {
        let at: LocalTime = value
            .as_str()
            .context("the server's answer has no time")?
            .parse()?;
        Ok(at.unix_ms)
    };
    let accepted_ms = when(&accepted["accepted_at"])?;
    let run = if order.dry_run { "dry_run" } else { "restatement" };
    let mut found: BTreeMap<i64, Value> = BTreeMap::new();
    let (mut next, mut last_seen) = (order.from, Instant::now());
    loop {
        // In the order of hours: what is before `next` is known.
        for report in api.items(&listed(api, next, order.to)?, usize::MAX)? {
            let (hour, at_ms) = (Hour::of(when(&report["hour"])?), when(&report["at"])?);
            if report["run"] == run && at_ms >= accepted_ms && found.insert(hour.0, report).is_none() {
                last_seen = Instant::now();
            }
        }
        while found.contains_key(&next.0) {
            next = Hour(next.0 + 1);
        }
        if next >= order.to {
            return Ok(found.into_values().collect());
        }
        ensure!(
            last_seen.elapsed() < PATIENCE,
            "no report of {} came within {PATIENCE:?}: `clickledger reconcile report` shows what comes later",
            time(next)
        );
        std::thread::sleep(POLL);
    }
}
