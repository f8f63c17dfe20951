//! The catalogue's snapshot: what clicks lean on when the table is away.

use anyhow::{Context, Result, ensure};
use clickledger_tests::http::BROWSER;
use clickledger_tests::until;
use serde_json::{Value, json};

use crate::lake::{keys, object};
use crate::world::{PATIENCE, World};

const SNAPSHOT: &str = "catalogue/ads.ndjson";

/// Has the snapshot written, as the schedule does each minute, and reads it.
fn written(world: &World) -> Result<Vec<Value>> {
    let maintain = world.stack.output("MaintainFunctionName")?;
    world.stack.invoke(maintain, &json!({ "task": "snapshot" }))?;
    stored(world)
}

/// The lines of the snapshot that is there.
fn stored(world: &World) -> Result<Vec<Value>> {
    let body = String::from_utf8(object(world, SNAPSHOT)?.body)?;
    body.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Without anybody's doing, in a stack that has stood for a minute.
pub(crate) fn the_schedule_writes_the_snapshot(world: &World) -> Result<()> {
    let ads = world.call("GET", "/v1/ads?limit=100", None, 200)?;
    let ads = ads["items"].as_array().context("items")?.len();
    until("the schedule has written every ad", PATIENCE * 3, || {
        if keys(world, SNAPSHOT)?.is_empty() {
            return Ok(None);
        }
        Ok((stored(world)?.len() == ads + 1).then_some(()))
    })
}

pub(crate) fn the_snapshot_holds_every_ad(world: &World) -> Result<()> {
    let (_, ad, _) = world.shown_ad()?;
    let lines = written(world)?;
    let (head, ads) = lines.split_first().context("a head")?;
    ensure!(head["v"] == 1 && head["ads"] == ads.len(), "{head}");
    let written_ms = head["written_ms"].as_i64().context("when")?;
    ensure!((World::now_ms() - written_ms).abs() < 60_000, "{head}");
    ensure!(
        ads.iter().any(|line| line["ad_id"] == *ad),
        "ad {ad} is missing: {ads:?}"
    );
    Ok(())
}

pub(crate) fn an_ad_is_known_from_the_snapshot_alone(world: &World) -> Result<()> {
    let (_, ad, slot) = world.shown_ad()?;
    let token = world.show(&slot)?.token;
    written(world)?;
    // A process that starts now, and finds no table: it has loaded the snapshot when the click comes.
    let gone = [("CLICKLEDGER_ADS_TABLE", "there-is-no-such-table")];
    let before = world.with_variables("ClickFunctionName", &gone)?;
    World::redirected(&world.click(&ad, Some(&token))?)?;
    let unknown = world
        .stack
        .api
        .send("GET", "/click?adId=77", &[("User-Agent", BROWSER)], "")?;
    ensure!(unknown.status == 503, "{unknown:?}");
    ensure!(unknown.header("retry-after").is_some(), "{unknown:?}");
    world
        .stack
        .set_environment(world.stack.output("ClickFunctionName")?, &before)?;
    world.counted(&ad, &[("valid", 1)]).map(drop)
}
