//! `kill -9` of the server while it is clicked on: whatever was acknowledged is counted, and nothing twice.
//!
//! `load` goes on through the kills: it waits for the server to come back, and a click whose answer was lost may count or
//! not. Its own check is the test's: acknowledged ≤ counted ≤ sent, of every verdict.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test suite: a panic is its way to say no, and a seed must be told

use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use clickledger_tests::server::{Server, command};
use clickledger_tests::until;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// Ends the process with the test.
struct Running(Option<Child>);

impl Running {
    fn child(&mut self) -> Result<&mut Child> {
        self.0.as_mut().context("load was waited for")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// All clicks that are counted so far.
fn counted(server: &Server, key: &str) -> Result<u64> {
    let output = command()?
        .args([
            "metrics",
            "total",
            "--from",
            "-1d",
            "--granularity",
            "day",
            "--json",
        ])
        .env("CLICKLEDGER_TARGET", server.url())
        .env("CLICKLEDGER_KEY", key)
        .output()?;
    let page: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    page["totals"]["gross_clicks"]
        .as_u64()
        .context("a number of clicks")
}

#[allow(clippy::disallowed_methods)] // a seed that differs from run to run, and is printed
fn seed() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}

/// Kills the server so many times at random moments of a run of `load`.
fn kill_under_load(kills: u32, rate: u32) -> Result<()> {
    let seed = seed();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let data = tempfile::tempdir()?;
    let mut server = Server::start_with(data.path(), "127.0.0.1:0", &[])?;
    let key = server.printed_key().context("a first start prints a key")?;
    let listen = server.url().trim_start_matches("http://").to_owned();
    let duration = format!("{}s", 4 + 4 * kills);
    let mut load = Running(Some(
        command()?
            .args([
                "load",
                "--target",
                server.url(),
                "--rate",
                &rate.to_string(),
                "--duration",
                &duration,
            ])
            .args([
                "--repeats",
                "10",
                "--forged",
                "2",
                "--ads",
                "200",
                "--zipf",
                "1.1",
                "--patience",
                "60s",
                "--json",
            ])
            .env("CLICKLEDGER_KEY", &key)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?,
    ));
    let mut before = 0;
    for kill in 0..kills {
        until("clicks are counted", PATIENCE, || {
            if load.child()?.try_wait()?.is_some() {
                bail!("load ended before kill {kill}");
            }
            let now = counted(&server, &key)?;
            Ok((now > before).then(|| before = now))
        })?;
        std::thread::sleep(Duration::from_millis(random.random_range(0..1500)));
        server.kill()?;
        server = Server::start_with(data.path(), &listen, &[])?;
        let kept = counted(&server, &key)?;
        ensure!(
            kept >= before,
            "kill {kill}: {before} clicks were counted, now {kept}"
        );
        before = kept;
    }
    let output = load.0.take().context("load runs")?.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).with_context(|| said.clone().into_owned())?;
    println!("{report}");
    let count = |name: &str| report[name].as_u64().context("a count");
    ensure!(output.status.success(), "{report} {said}");
    ensure!(count("lost")? == 0 && count("counted_twice")? == 0, "{report}");
    // The kills were felt: without lost answers there was nothing to be got wrong.
    ensure!(count("unknown")? > 0, "{report}");
    ensure!(count("acknowledged")? > 0, "{report}");

    let all = counted(&server, &key)?;
    ensure!(
        (count("acknowledged")?..=count("sent")?).contains(&all),
        "{all} {report}"
    );
    ensure!(server.stop()?.success());
    let again = Server::start_with(data.path(), "127.0.0.1:0", &[])?;
    ensure!(
        counted(&again, &key)? == all,
        "a quiet restart changed the counts"
    );
    Ok(())
}

#[test]
fn no_click_is_lost_or_counted_twice_by_two_kills_under_load() -> Result<()> {
    kill_under_load(2, 1000)
}

#[test]
#[ignore = "long: twenty kills at random moments, about two minutes"]
fn no_click_is_lost_or_counted_twice_by_twenty_kills_under_load() -> Result<()> {
    kill_under_load(20, 3000)
}
