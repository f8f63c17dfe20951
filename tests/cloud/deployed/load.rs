//! `clickledger load` against the deployed API.

use anyhow::{Context, Result, ensure};
use clickledger_tests::server::command;
use serde_json::Value;

use crate::lake::{objects, records};
use crate::world::World;

pub(crate) fn nothing_is_lost_and_nothing_counted_twice(world: &World) -> Result<()> {
    let output = command()?
        .args(["load", "--rate", "50", "--duration", "40s", "--ads", "20"])
        .args(["--repeats", "5", "--forged", "1", "--patience", "120s", "--json"])
        .env("CLICKLEDGER_TARGET", world.stack.api.url())
        .env("CLICKLEDGER_KEY", &world.admin)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).with_context(|| said.into_owned())?;
    ensure!(
        output.status.success() && report["ok"] == true,
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
