//! `clickledger load` against the deployed API.

use std::fs::{File, read, read_to_string};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clickledger_tests::server::command;
use clickledger_tests::until;
use serde_json::Value;

use crate::lake::{objects, records};
use crate::world::{PATIENCE, World};

/// How often the log is read meanwhile.
const LOOK: Duration = Duration::from_secs(5);

pub(crate) fn nothing_is_lost_and_nothing_counted_twice(world: &World) -> Result<()> {
    let said = tempfile::tempdir()?;
    let (report, errors) = (said.path().join("report"), said.path().join("errors"));
    let mut load = command()?
        .args(["load", "--rate", "50", "--duration", "40s", "--ads", "20"])
        .args(["--repeats", "5", "--forged", "1", "--patience", "120s", "--json"])
        .env("CLICKLEDGER_TARGET", world.stack.api.url())
        .env("CLICKLEDGER_KEY", &world.admin)
        .stdin(Stdio::null())
        .stdout(File::create(&report)?)
        .stderr(File::create(&errors)?)
        .spawn()?;
    // What neither stream nor spill took in time is redriven, as the alarm tells an operator to do.
    let (mut redriven, mut looked) = (0, Instant::now());
    let ended = until("the load's end", PATIENCE * 10, || {
        let ended = load.try_wait()?;
        if ended.is_none() && looked.elapsed() >= LOOK {
            if world.last_resort()?.len() > redriven {
                redriven = world.redrive()?;
            }
            looked = Instant::now();
        }
        Ok(ended)
    });
    if ended.is_err() {
        load.kill()?;
        load.wait()?;
    }
    let status = ended.with_context(|| read_to_string(&errors).unwrap_or_default())?;
    let report: Value = serde_json::from_slice(&read(&report)?)
        .with_context(|| read_to_string(&errors).unwrap_or_default())?;
    eprintln!("{report}; {redriven} redriven");
    ensure!(
        status.success() && report["ok"] == true,
        "{report}\n{}",
        world.warnings()
    );
    let count = |of: &Value| of.as_u64().with_context(|| report.to_string());
    let (sent, acknowledged) = (count(&report["sent"])?, count(&report["acknowledged"])?);
    ensure!(sent == 2000, "{report}");
    // A machine that is busy with other things may turn some away (503, come again): told to the user, and not counted.
    ensure!(acknowledged >= 1900, "{report}\n{}", world.warnings());
    ensure!(report["lost"] == 0 && report["counted_twice"] == 0, "{report}");

    // The lake has them too, as many as are counted.
    let mut counted = 0;
    for (verdict, clicks) in report["counted"].as_object().context("counted")? {
        counted += clicks.as_u64().with_context(|| verdict.clone())?;
    }
    let clicks = records(&objects(world)?)?.len() as u64;
    ensure!(
        clicks == counted,
        "{clicks} clicks in the lake, {counted} counted"
    );
    Ok(())
}
