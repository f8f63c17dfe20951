//! The dashboard's first view of a month, in Chromium: `scripts/bench dashboard`.
//!
//! A folder of a month's traffic (`clickledger demo`), a server on it, and an administrator who opens the page: with nothing kept
//! by the browser, then with its files kept. Times are from the beginning of the navigation, as the page's own marks tell them:
//! `counts` when figures and chart are drawn, `breakdowns` when all lists are. Medians of so many rounds, and the slowest.
#![allow(clippy::print_stdout)] // a benchmark says what it found

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clickledger_tests::browser::{Chromium, Tab};
use clickledger_tests::server::{Server, command};
use clickledger_tests::until;
use serde_json::Value;

const ROUNDS: usize = 15;
const PATIENCE: Duration = Duration::from_secs(30);
const MARKS: [&str; 2] = ["counts", "breakdowns"];

fn main() -> Result<()> {
    let data = tempfile::tempdir()?;
    let folder = data.path().join("demo");
    let key = month(&folder)?;
    let server = Server::start_with(&folder, "127.0.0.1:0", &[])?;
    let chromium = Chromium::launch()?;
    let page = chromium.open(&format!("{}/dashboard", server.url()))?;
    page.show_as(1280, 900, false)?;
    until("the form", PATIENCE, || {
        Ok((page.value("document.activeElement?.id === 'key'")? == true).then_some(()))
    })?;
    page.write("#key", &key)?;
    page.press("Enter")?;
    drawn(&page)?;
    for (name, fresh) in [("first visit", true), ("files kept", false)] {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            if fresh {
                page.reload_fresh()?;
            } else {
                page.reload_kept()?;
            }
            let [counts, breakdowns] = drawn(&page)?;
            let (bytes, answers) = page.transferred();
            rounds.push((counts, breakdowns, bytes, answers));
        }
        let of = |at: fn(&(f64, f64, u64, u64)) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(at).collect();
            values.sort_by(f64::total_cmp);
            (values[values.len() / 2], values[values.len() - 1])
        };
        let (counts, breakdowns) = (of(|round| round.0), of(|round| round.1));
        let (bytes, answers) = (of(|round| round.2 as f64), of(|round| round.3 as f64));
        println!(
            "{name:12} counts drawn {:4.0} ms (slowest {:4.0}), lists drawn {:4.0} ms (slowest {:4.0}), {:.1} kB in {} answers",
            counts.0,
            counts.1,
            breakdowns.0,
            breakdowns.1,
            bytes.0 / 1000.0,
            answers.0,
        );
    }
    Ok(())
}

/// Fills the folder with a month; an administrator's key.
fn month(folder: &Path) -> Result<String> {
    let made = command()?
        .args(["demo", "--json", "--data"])
        .arg(folder)
        .output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let told: Value = serde_json::from_slice(&made.stdout)?;
    let key = told["admin_key"].as_str();
    key.map(str::to_owned).context("an administrator's key")
}

/// When the page had drawn what it marks, milliseconds since it was asked for.
fn drawn(page: &Tab<'_>) -> Result<[f64; 2]> {
    let mut times = [0.0; 2];
    for (time, mark) in times.iter_mut().zip(MARKS) {
        let found = format!("performance.getEntriesByName('{mark}')[0]?.startTime ?? null");
        *time = until(mark, PATIENCE, || Ok(page.value(&found)?.as_f64()))?;
    }
    Ok(times)
}
