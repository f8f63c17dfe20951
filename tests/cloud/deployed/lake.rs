//! The raw clicks, as Firehose has put them into the bucket.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use clickledger_tests::until;
use serde_json::Value;

use crate::world::{PATIENCE, World};

/// An object of the bucket.
pub(crate) struct Object {
    pub(crate) key: String,
    pub(crate) body: Vec<u8>,
}

/// The names of all objects under a prefix.
pub(crate) fn keys(world: &World, prefix: &str) -> Result<Vec<String>> {
    let bucket = world.stack.output("BucketName")?;
    let s3 = world.stack.aws.s3();
    let mut found = Vec::new();
    let mut token = None;
    loop {
        let page = s3
            .list_objects_v2()
            .bucket(bucket)
            .prefix(prefix)
            .set_continuation_token(token);
        let page = world.stack.wait(page.send())?;
        found.extend(
            page.contents()
                .iter()
                .filter_map(|object| object.key().map(str::to_owned)),
        );
        token = page.next_continuation_token().map(str::to_owned);
        if token.is_none() {
            return Ok(found);
        }
    }
}

/// One object.
pub(crate) fn object(world: &World, key: &str) -> Result<Object> {
    let get = world.stack.aws.s3().get_object();
    let get = get.bucket(world.stack.output("BucketName")?).key(key);
    let body = world
        .stack
        .wait(async { anyhow::Ok(get.send().await?.body.collect().await?.to_vec()) })?;
    Ok(Object {
        key: key.to_owned(),
        body,
    })
}

/// Every object of the lake.
pub(crate) fn objects(world: &World) -> Result<Vec<Object>> {
    let keys = keys(world, "lake/")?;
    keys.iter().map(|key| object(world, key)).collect()
}

/// The click records in some objects, one for each click; what is none (garbage that a test has put on the stream) is left
/// out. A put whose answer came too late is made again, and its record then lies there twice: byte for byte, or it is an error.
pub(crate) fn records(objects: &[Object]) -> Result<Vec<Value>> {
    let lines = objects
        .iter()
        .flat_map(|object| object.body.split(|byte| *byte == b'\n'));
    let mut found: BTreeMap<String, &[u8]> = BTreeMap::new();
    for line in lines {
        let record: Value = serde_json::from_slice(line).unwrap_or_default();
        let Some(click) = record["click_id"].as_str() else {
            continue;
        };
        let first = found.entry(click.to_owned()).or_insert(line);
        ensure!(*first == line, "click {click} has two records: {record}");
    }
    let parsed = found.into_values().map(serde_json::from_slice);
    Ok(parsed.collect::<Result<_, _>>()?)
}

/// Waits until the lake holds so many clicks of this ad, and no more.
pub(crate) fn wait_for_records(world: &World, ad: &str, wanted: usize) -> Result<Vec<Value>> {
    let found = until("the clicks are in the lake", PATIENCE, || {
        let mut found = records(&objects(world)?)?;
        found.retain(|record| record["ad_id"] == *ad);
        Ok((found.len() >= wanted).then_some(found))
    })?;
    ensure!(
        found.len() == wanted,
        "{} clicks rather than {wanted}",
        found.len()
    );
    Ok(found)
}

/// The hour that a name of the lake says: `lake/dt=2026-01-02/hr=03/…`.
fn hour(key: &str) -> Option<i64> {
    let rest = key.strip_prefix("lake/dt=")?;
    let (day, rest) = rest.split_once("/hr=")?;
    let (hour, name) = rest.split_once('/')?;
    if name.is_empty() || name.contains('/') || !name.ends_with(".ndjson") || hour.len() != 2 {
        return None;
    }
    let start: jiff::Timestamp = format!("{day}T{hour}:00:00Z").parse().ok()?;
    Some(start.as_second() / 3600)
}

pub(crate) fn every_click_lies_in_the_lake_once(world: &World) -> Result<()> {
    let (_, ad, slot) = world.shown_ad()?;
    for _ in 0..5 {
        World::redirected(&world.click(&ad, Some(&world.show(&slot)?.token))?)?;
    }
    wait_for_records(world, &ad, 5)?;
    let objects = objects(world)?;
    for object in &objects {
        let hour = hour(&object.key)
            .with_context(|| format!("{} is not named as the lake's objects", object.key))?;
        let text = std::str::from_utf8(&object.body).context("the emulator compresses nothing")?;
        ensure!(
            text.ends_with('\n') && !text.contains("\n\n"),
            "{}: {text:?} is not one line a record",
            object.key
        );
        for line in text.lines() {
            let record: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
            if record["heartbeat"].is_string() {
                continue;
            }
            let clicked = record["clicked_at_ms"].as_i64().context("clicked_at_ms")? / 3_600_000;
            // It arrives when it was clicked, or up to a minute later.
            ensure!(hour == clicked || hour == clicked + 1, "{}: {line}", object.key);
        }
    }
    // As many as were answered by then: those of this step's ad, and of those before.
    let clicks = records(&objects)?.len() as u64;
    let total = world.metrics(&world.admin, "total", "")?["totals"]["gross_clicks"].as_u64();
    ensure!(total == Some(clicks), "{clicks} in the lake, {total:?} counted");
    ensure!(
        keys(world, "lake-errors/")?.is_empty(),
        "Firehose could not deliver something"
    );
    Ok(())
}
