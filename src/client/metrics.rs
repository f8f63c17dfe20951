//! `clickledger metrics`: an entity's counts as a table, CSV or JSON.

use std::io::{self, Write};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use clickledger_core::domain::time::MINUTE_MS;
use clickledger_core::ports::Clock;
use clickledger_core::service::metrics::{Cell, LocalTime, MetricsPage, MetricsTotals, write_csv};
use clickledger_embedded::SystemClock;
use jiff::tz::TimeZone;
use url::Url;

use super::api::Api;
use super::output;
use crate::config::TargetArgs;
use crate::parse::{self, When};

/// Whose clicks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// One ad's
    Ad,
    /// A campaign's
    Campaign,
    /// An advertiser's
    Advertiser,
    /// A placement's, by its id
    Placement,
    /// All clicks
    Total,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Granularity {
    Minute,
    Hour,
    Day,
    /// One row for the whole range
    Total,
}

/// Another range.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Beside {
    /// As long, up to the beginning of this one
    PreviousPeriod,
    /// The same dates of the year before
    PreviousYear,
}

/// Counts by the minute, hour, day or in one row, valid and invalid. Times are whole minutes; rows have the time zone's offset.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  clickledger metrics ad 731 --from -1h\n  \
    clickledger metrics advertiser 9 --from yesterday --to today --granularity hour --tz Europe/Berlin\n  \
    clickledger metrics ad 731 --from 2026-01-01 --to 2026-02-01 --granularity day --group-by device,country --csv\n  \
    clickledger metrics advertiser 9 --from -7d --granularity total --group-by ad --order=-clicks --limit 10\n  \
    clickledger metrics advertiser 9 --from -7d --granularity total --group-by placement --order=-clicks\n  \
    clickledger metrics campaign 12 --from -30d --granularity day --device mobile,tablet --compare previous-period")]
pub(crate) struct Command {
    /// Whose clicks
    #[arg(value_name = "ENTITY")]
    kind: Kind,
    /// The entity's id; none for total
    #[arg(value_name = "ID", required_if_eq_any = [("kind", "ad"), ("kind", "campaign"), ("kind", "advertiser"), ("kind", "placement")])]
    id: Option<u64>,
    /// From when on: RFC 3339, a date, a time ago such as -90m, -1h or -7d, now, today, yesterday
    #[arg(long, value_name = "TIME", default_value = "-1h", allow_hyphen_values = true, value_parser = parse::when)]
    from: When,
    /// Until when, exclusive; now includes the running minute
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true, value_parser = parse::when)]
    to: When,
    /// How long a row is; at most 31 days by the minute, 366 by the hour
    #[arg(long, value_name = "UNIT", default_value = "minute")]
    granularity: Granularity,
    /// Break rows down by device, country, device,country or verdict; of campaigns and advertisers by ad too, of advertisers by
    /// placement (sealed hours only)
    #[arg(long, value_name = "COLUMNS")]
    group_by: Option<String>,
    /// Only valid clicks of these device classes, such as mobile,tablet
    #[arg(long, value_name = "CLASSES")]
    device: Option<String>,
    /// Only valid clicks of these countries, such as DE,FR; ZZ where it is not known
    #[arg(long, value_name = "COUNTRIES")]
    country: Option<String>,
    /// What rows and totals carry: some of gross_clicks, clicks, invalid_clicks, invalid_click_rate, invalid_by_verdict, peak_minute
    #[arg(long, value_name = "METRICS")]
    metrics: Option<String>,
    /// The most clicks first: with one row for the whole range and a breakdown
    #[arg(long, value_name = "ORDER", value_parser = ["-clicks"], allow_hyphen_values = true)]
    order: Option<String>,
    /// Only the first rows
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: Option<u32>,
    /// Put the same of another range beside it
    #[arg(long, value_name = "RANGE", conflicts_with = "csv")]
    compare: Option<Beside>,
    /// IANA name of the time zone whose days and hours are meant
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    tz: String,
    /// Make each row a trailing sum over this time, such as 15m, 1h or 7d
    #[arg(long, value_name = "TIME")]
    window: Option<String>,
    /// Print JSON: one document, of all pages
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print comma-separated values
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    target: TargetArgs,
}

impl Command {
    /// Asks for every page and shows the rows.
    pub(crate) fn run(&self) -> Result<()> {
        let api = Api::new(&self.target)?;
        let url = self.question(&api)?;
        let pages = if self.limit.is_some() {
            Pages::First
        } else {
            Pages::All
        };
        if self.csv {
            return each_page(&api, &url, pages, |page, first| {
                let mut text = String::new();
                write_csv(page, first, &mut text)?;
                Ok(io::stdout().lock().write_all(text.as_bytes())?)
            });
        }
        let mut whole: Option<MetricsPage> = None;
        each_page(&api, &url, pages, |page, _| {
            match &mut whole {
                Some(whole) => whole.rows.extend_from_slice(&page.rows),
                None => whole = Some(page.clone()),
            }
            Ok(())
        })?;
        let mut whole = whole.context("the server answered no page")?;
        whole.meta.next_cursor = None;
        if self.json {
            return output::json(&serde_json::to_value(&whole)?);
        }
        show(&whole)
    }

    fn question(&self, api: &Api) -> Result<Url> {
        let path: &[&str] = match self.kind {
            Kind::Ad => &["v1", "ads"],
            Kind::Campaign => &["v1", "campaigns"],
            Kind::Advertiser => &["v1", "advertisers"],
            Kind::Placement => &["v1", "placements"],
            Kind::Total => &["v1", "metrics", "total"],
        };
        let id = self
            .id
            .filter(|_| self.kind != Kind::Total)
            .map(|id| id.to_string());
        let rest = id.as_deref().map(|id| [id, "metrics"]);
        let path: Vec<&str> = path.iter().copied().chain(rest.into_iter().flatten()).collect();
        let mut url = api.url(&path)?;
        let zone = TimeZone::get(&self.tz)
            .with_context(|| format!("{:?} is not the name of a time zone", self.tz))?;
        let now_ms = SystemClock.now_ms();
        let from_ms = self.from.unix_ms(now_ms, &zone)?.div_euclid(MINUTE_MS) * MINUTE_MS;
        // The running minute is part of what is asked for.
        let to_ms = -(-self.to.unix_ms(now_ms, &zone)?).div_euclid(MINUTE_MS) * MINUTE_MS;
        let granularity = self.granularity.to_possible_value();
        let mut query = url.query_pairs_mut();
        query
            .append_pair("from", &LocalTime::utc(from_ms).to_string())
            .append_pair("to", &LocalTime::utc(to_ms).to_string())
            .append_pair(
                "granularity",
                granularity.as_ref().map_or("minute", |value| value.get_name()),
            )
            .append_pair("tz", &self.tz);
        let limit = self.limit.map(|limit| limit.to_string());
        let compare = self.compare.map(|compare| match compare {
            Beside::PreviousPeriod => "previous_period",
            Beside::PreviousYear => "previous_year",
        });
        for (name, value) in [
            ("group_by", self.group_by.as_deref()),
            ("window", self.window.as_deref()),
            ("device", self.device.as_deref()),
            ("country", self.country.as_deref()),
            ("metrics", self.metrics.as_deref()),
            ("order", self.order.as_deref()),
            ("limit", limit.as_deref()),
            ("compare", compare),
        ] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        drop(query);
        Ok(url)
    }
}

/// How much of an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pages {
    First,
    All,
}

fn each_page(
    api: &Api,
    url: &Url,
    pages: Pages,
    mut each: impl FnMut(&MetricsPage, bool) -> Result<()>,
) -> Result<()> {
    let (mut cursor, mut first) = (None::<String>, true);
    loop {
        let mut page_url = url.clone();
        if let Some(cursor) = &cursor {
            // What it is put beside comes with the first page.
            let kept: Vec<(String, String)> = url
                .query_pairs()
                .filter(|(name, _)| name != "compare")
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect();
            let mut query = page_url.query_pairs_mut();
            query.clear().extend_pairs(kept).append_pair("cursor", cursor);
        }
        let page: MetricsPage = serde_json::from_value(api.get(&page_url)?.json)
            .context("the server's answer is not a page of metrics")?;
        each(&page, first)?;
        first = false;
        cursor = page.meta.next_cursor;
        if cursor.is_none() || pages == Pages::First {
            return Ok(());
        }
    }
}

/// A table: the columns of a verdict that never occurs are left out, and below it the totals.
fn show(page: &MetricsPage) -> Result<()> {
    let names = page.columns();
    let rows: Vec<Vec<Cell>> = page.table().collect();
    let shown: Vec<usize> = (0..names.len())
        .filter(|place| {
            !names[*place].starts_with("invalid_")
                || matches!(names[*place], "invalid_clicks" | "invalid_click_rate")
                || rows.iter().any(|row| row[*place] != Cell::Count(0))
        })
        .collect();
    let heads: Vec<&str> = shown.iter().map(|place| names[*place]).collect();
    let counts = |place: usize| {
        let column = shown[place];
        rows.first()
            .is_some_and(|row| matches!(row[column], Cell::Count(_) | Cell::Share(_)))
    };
    let cells = rows
        .iter()
        .map(|row| shown.iter().map(|place| row[*place].to_string()).collect());
    output::table(&heads, counts, cells)?;
    output::line(&format!("\n{}", sums(&page.totals)))?;
    match &page.comparison {
        Some(beside) => output::line(&format!(
            "{} to {}: {}",
            beside.from,
            beside.to,
            sums(&beside.totals)
        )),
        None => Ok(()),
    }
}

/// Totals in one line: what there is of them.
fn sums(totals: &MetricsTotals) -> String {
    let mut sums = match *totals {
        MetricsTotals {
            gross_clicks: Some(gross),
            clicks: Some(valid),
            invalid_clicks: Some(invalid),
            invalid_click_rate: Some(rate),
            ..
        } => format!(
            "{gross} clicks: {valid} valid, {invalid} invalid ({:.2} %)",
            rate.as_f64() * 100.0
        ),
        _ => {
            let counts = [
                totals.gross_clicks.map(|gross| format!("{gross} clicks")),
                totals.clicks.map(|valid| format!("{valid} valid")),
                totals.invalid_clicks.map(|invalid| format!("{invalid} invalid")),
                totals
                    .invalid_click_rate
                    .map(|rate| format!("{:.2} % invalid", rate.as_f64() * 100.0)),
            ];
            let counts: Vec<String> = counts.into_iter().flatten().collect();
            counts.join(", ")
        }
    };
    for (verdict, count) in totals.invalid_by_verdict.unwrap_or_default().iter() {
        sums.push_str(&format!(", {} {count}", verdict.as_str()));
    }
    if let Some(Some(peak)) = totals.peak_minute {
        sums.push_str(&format!(
            "; most in one minute: {} at {}",
            peak.clicks, peak.start
        ));
    }
    sums
}
